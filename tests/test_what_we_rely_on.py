"""Facts about pymodbus that sources/modbus.py is built on or protects itself from; a new version is tried with this.

Each test says what the library does, not what we would like it to do. When one fails after an upgrade, look for its
name in sources/modbus.py and in tests/sources/test_modbus_source.py.
"""

import asyncio
import logging
import struct

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusIOException
from pymodbus.logging import Log
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import WriteSingleCoilRequest
from pymodbus.pdu.register_message import WriteMultipleRegistersRequest, WriteSingleRegisterRequest


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


# --- why every answer is checked


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


# --- why retries, reconnection and the counter of failures are switched off


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


def test_a_lost_connection_leaves_the_request_waiting_and_says_so_through_trace_connect():
    """That is why the link fails `ctx.response_future` itself."""
    states, lost = [], asyncio.Event()

    def on_connection(up):
        states.append(up)
        if not up:
            lost.set()

    async def be_dropped(client, peer):
        waiting = asyncio.ensure_future(two_registers(client, peer))
        await peer.heard.wait()
        next(iter(peer.serving.values())).close()
        await lost.wait()
        assert not client.connected
        assert not client.ctx.response_future.done()
        client.ctx.response_future.set_exception(ConnectionResetError("ours"))
        with pytest.raises(ConnectionResetError, match="ours"):
            await waiting
        with pytest.raises(ConnectionException):
            await two_registers(client, peer)

    ask(lambda *_: None, be_dropped, trace_connect=on_connection)
    assert states == [True, False]


def test_half_a_frame_stands_in_recv_buffer_after_its_request_was_given_up():
    async def half(client, peer):
        with pytest.raises(ModbusIOException):
            await two_registers(client, peer)
        return client.ctx.recv_buffer

    def answer(tid, unit, _pdu):
        return frame(tid, unit, GOOD)[:9]

    assert ask(answer, half, timeout=0.1) == frame(1, 1, GOOD)[:9]


# --- what is built upon


def test_the_decoder_of_answers_can_be_replaced():
    class Whole(DecodePDU):
        def decode(self, frame):
            seen.append(frame)
            return super().decode(frame)

    async def with_ours(client, peer):
        client.ctx.framer.decoder = Whole(is_server=False)
        return await two_registers(client, peer)

    seen = []
    assert ask(lambda tid, unit, _: frame(tid, unit, GOOD), with_ours).registers == [1, 2]
    assert seen == [GOOD]


def test_writes_encode_to_what_their_echo_begins_with():
    coil = WriteSingleCoilRequest(address=3, bits=[True], dev_id=1)
    register = WriteSingleRegisterRequest(address=0, registers=[0], dev_id=1)
    several = WriteMultipleRegistersRequest(address=2, registers=[0, 7], dev_id=1)
    assert [coil.encode().hex(), register.encode().hex()] == ["0003ff00", "00000000"]
    assert several.encode().hex() == "00020002040000" + "0007"


def test_all_that_the_library_logs_goes_through_one_logger():
    assert Log._logger is logging.getLogger("pymodbus.logging")
