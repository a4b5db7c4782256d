"""Facts about pymodbus that sources/modbus/wire.py is built on or stays away from; a new version is tried with this.

Each test says what the library does, not what we would like it to do.
"""

import asyncio
import logging
import struct

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException
from pymodbus.framer import FramerAscii, FramerRTU, FramerSocket, FramerTLS
from pymodbus.logging import Log
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import WriteMultipleCoilsRequest, WriteSingleCoilRequest
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest
from pymodbus.pdu.register_message import WriteMultipleRegistersRequest, WriteSingleRegisterRequest
from pymodbus.transport import CommParams, CommType, ModbusProtocol


class Peer:
    """A server that takes whole frames and sends what `answer(tid, unit, pdu)` returns, or nothing."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.heard = asyncio.Event()
        self.serving = {}

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for writer in self.serving.values():
            writer.transport.abort()
        await asyncio.gather(*self.serving, return_exceptions=True)
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        self.serving[asyncio.current_task()] = writer
        try:
            while True:
                tid, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                self.requests.append(await reader.readexactly(length - 1))
                self.heard.set()
                writer.write(self.answer(tid, unit, self.requests[-1]) or b"")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def frame(tid, unit, pdu):
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu


GOOD = b"\x04\x04\x00\x01\x00\x02"


def ask(answer, ask_client, timeout=5.0, retries=0, max_no_responses=None, **rest):
    """Connect to a peer that answers so, and return what `ask_client(client, peer)` does."""

    async def scenario():
        async with Peer(answer) as peer:
            client = AsyncModbusTcpClient(
                "127.0.0.1", port=peer.port, timeout=timeout, retries=retries, reconnect_delay=0, **rest
            )
            if max_no_responses is not None:
                client.set_max_no_responses(max_no_responses)
            assert await client.connect()
            try:
                return await ask_client(client, peer)
            finally:
                client.close()

    return asyncio.run(scenario())


async def two_registers(client, _peer):
    return await client.read_input_registers(0, count=2, device_id=1)


# --- why its transactions are left out: what they let pass


@pytest.mark.parametrize(
    ("pdu", "registers"),
    [(b"\x04\x02\x00\x01", [1]), (b"\x04\x06\x00\x01\x00\x02\x00\x03", [1, 2, 3]), (b"\x04\x00", [])],
)
def test_another_number_of_registers_than_asked_for_passes(pdu, registers):
    found = ask(lambda tid, unit, _: frame(tid, unit, pdu), two_registers)
    assert not found.isError()
    assert found.registers == registers


def test_bytes_beyond_the_byte_count_and_an_odd_byte_count_pass():
    assert ask(lambda tid, unit, _: frame(tid, unit, GOOD + b"\xff\xff"), two_registers).registers == [1, 2]
    assert ask(lambda tid, unit, _: frame(tid, unit, b"\x04\x05" + GOOD[2:] + b"\xff"), two_registers).registers[
        :2
    ] == [1, 2]


def test_another_function_than_asked_for_passes():
    found = ask(lambda tid, unit, _: frame(tid, unit, b"\x03" + GOOD[1:]), two_registers)
    assert not found.isError()
    assert found.function_code == 3


def test_transaction_0_passes():
    found = ask(lambda _, unit, __: frame(0, unit, GOOD), two_registers)
    assert (found.transaction_id, found.registers) == (0, [1, 2])


def test_a_request_to_unit_0_takes_an_answer_of_any_unit():
    async def ask_unit_0(client, _peer):
        return await client.read_input_registers(0, count=2, device_id=0)

    assert ask(lambda tid, _, __: frame(tid, 7, GOOD), ask_unit_0).dev_id == 7


@pytest.mark.parametrize(("tid_off", "unit_off"), [(1, 0), (0, 1)])
def test_another_transaction_or_unit_is_skipped_and_what_follows_is_read(tid_off, unit_off):
    def answer(tid, unit, _pdu):
        return frame(tid + tid_off, unit + unit_off, b"\x04\x04\xff\xff\xff\xff") + frame(tid, unit, GOOD)

    assert ask(answer, two_registers).registers == [1, 2]


def test_transactions_are_numbered_from_1_and_each_request_has_its_own():
    async def three(client, _peer):
        return [(await two_registers(client, _peer)).transaction_id for _ in range(3)]

    assert ask(lambda tid, unit, _: frame(tid, unit, GOOD), three) == [1, 2, 3]


def test_an_answer_of_an_unknown_function_breaks_the_connection(caplog):
    """The decoder returns None, and the framer raises where only the event loop can see it."""

    async def ask_and_look(client, peer):
        with pytest.raises(ModbusIOException):
            await two_registers(client, peer)
        return client.connected

    with caplog.at_level(logging.CRITICAL, "asyncio"):
        assert ask(lambda tid, unit, _: frame(tid, unit, b"\x63\x00"), ask_and_look, timeout=0.05) is False


# --- why its transactions are left out: what they do by themselves


def test_with_retries_a_write_is_sent_more_than_once():
    async def write(client, peer):
        with pytest.raises(ModbusIOException):
            await client.write_register(0, 7, device_id=1)
        return len(peer.requests)

    assert ask(lambda *_: None, write, timeout=0.02, retries=3) == 4
    assert ask(lambda *_: None, write, timeout=0.02, retries=0) == 1


def test_a_silent_unit_closes_the_connection_unless_the_counter_is_set_out_of_reach():
    async def be_ignored(client, peer):
        for i in range(8):
            if not client.connected:
                return i
            with pytest.raises(ModbusIOException):
                await two_registers(client, peer)
        return None

    assert ask(lambda *_: None, be_ignored, timeout=0.01) == 5
    assert ask(lambda *_: None, be_ignored, timeout=0.01, max_no_responses=2**31) is None


# --- what is built upon: framers


def decoded(framer, raw):
    return framer(DecodePDU(is_server=False)).decode(raw)


RTU = b"\x01" + GOOD
RTU += FramerRTU.compute_CRC(RTU).to_bytes(2, "big")


def test_each_framer_gives_length_unit_number_and_the_bytes_from_the_function_code_on():
    assert decoded(FramerSocket, frame(7, 1, GOOD) + b"more") == (13, 1, 7, GOOD)
    assert decoded(FramerRTU, RTU) == (len(RTU), 1, 0, GOOD)
    framed = FramerAscii(DecodePDU(is_server=False)).encode(GOOD, 1, 0)
    assert decoded(FramerAscii, framed) == (len(framed), 1, 0, GOOD)


@pytest.mark.parametrize(
    ("framer", "raw"),
    [(FramerSocket, frame(7, 1, GOOD)), (FramerRTU, RTU), (FramerAscii, b":0104040001000" + b"2F4\r\n")],
)
def test_a_frame_that_is_not_whole_waits_for_its_rest(framer, raw):
    for end in range(1, len(raw)):
        length, _, _, pdu = decoded(framer, raw[:end])
        assert (length, pdu) == (0, b"")
    assert decoded(framer, raw)[3] == GOOD


def test_an_rtu_frame_with_a_wrong_sum_takes_all_bytes_with_it_and_so_does_one_with_bytes_behind():
    assert decoded(FramerRTU, RTU[:-1] + b"\0") == (len(RTU), 0, 0, b"")
    assert decoded(FramerRTU, RTU + RTU) == (2 * len(RTU), 1, 0, GOOD)


def test_rtu_sizes_are_known_for_every_answer_that_is_asked_for():
    for pdu in (b"\x01\x01\x05", b"\x05\x00\x01\xff\x00", b"\x10\x00\x01\x00\x02", b"\x84\x02",
                b"\x2b\x0e\x01\x01\x00\x00\x01\x00\x02Me"):  # fmt: skip
        raw = b"\x01" + pdu
        raw += FramerRTU.compute_CRC(raw).to_bytes(2, "big")
        assert decoded(FramerRTU, raw) == (len(raw), 1, 0, pdu)


def test_a_framer_may_stumble_over_what_is_no_frame():
    """That is why wire.py catches it: in the library's own callback it would end the connection."""
    with pytest.raises(ValueError, match="base 16"):
        decoded(FramerAscii, b":zz030000FF\r\n")


def test_the_framer_for_tls_wants_each_frame_in_one_piece():
    """That is why TLS gets the framer for TCP: the frames are the same."""
    raw = frame(7, 1, GOOD)
    assert decoded(FramerTLS, raw[:5]) == (5, 0, 0, b"")
    assert decoded(FramerTLS, raw) == decoded(FramerSocket, raw)


# --- what is built upon: transports


class Listening(ModbusProtocol):
    """The library's transport with nothing of its transactions."""

    def __init__(self, port):
        super().__init__(CommParams(comm_type=CommType.TCP, host="127.0.0.1", port=port), is_server=False)
        self.calls, self.lost = asyncio.Queue(), asyncio.Event()

    def callback_connected(self):
        self.calls.put_nowait("connected")

    def callback_new_connection(self):
        raise NotImplementedError

    def callback_disconnected(self, exc):
        self.lost.set()

    def callback_data(self, data, addr=None):
        self.calls.put_nowait(bytes(data))
        return 2 if len(data) == 5 else 0


def test_a_transport_hands_on_all_bytes_that_wait_forgets_them_at_a_send_and_tells_of_its_end():
    async def scenario():
        async def serve(reader, writer):
            for said in (b"abc", b"de"):
                writer.write(said)
                await reader.readexactly(1)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        listening = Listening(server.sockets[0].getsockname()[1])
        listening.transport, _ = await listening.call_create()
        said = [await listening.calls.get(), await listening.calls.get()]
        assert listening.recv_buffer == b"abc"
        listening.transport.write(b"!")  # not `send`, which forgets
        said.append(await listening.calls.get())
        assert listening.recv_buffer == b"cde"
        listening.send(b"!")
        assert listening.recv_buffer == b""
        await listening.lost.wait()
        assert not listening.is_active()
        server.close()
        return said

    assert asyncio.run(scenario()) == ["connected", b"abc", b"abcde"]


# --- what is built upon: requests


def test_writes_encode_to_what_their_echo_begins_with():
    coil = WriteSingleCoilRequest(address=3, bits=[True], dev_id=1)
    register = WriteSingleRegisterRequest(address=0, registers=[0], dev_id=1)
    several = WriteMultipleRegistersRequest(address=2, registers=[0, 7], dev_id=1)
    assert [coil.encode().hex(), register.encode().hex()] == ["0003ff00", "00000000"]
    assert several.encode().hex() == "00020002040000" + "0007"
    assert WriteMultipleCoilsRequest(address=1, bits=[True, False, True]).encode().hex() == "000100030105"
    assert ReadDeviceInformationRequest(read_code=1, object_id=0).encode().hex() == "0e0100"


def test_all_that_the_library_logs_goes_through_one_logger():
    assert Log._logger is logging.getLogger("pymodbus.logging")
