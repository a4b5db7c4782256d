"""The one file that knows the Modbus library: its requests, its framers and its transports, and nothing else of it.

The library's transactions are left out: they repeat requests, close a connection that several units share when one
of them is silent, and believe answers that are not to the request. `Wire` hands on whole frames as they came; what
they are worth is for bus.py to say. Which of the library's habits this relies on is held in
tests/test_what_we_rely_on.py.
"""

import asyncio
import logging
import os
import ssl
import struct
from collections import Counter, deque
from collections.abc import Mapping
from typing import NamedTuple

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerAscii, FramerBase, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)
from pymodbus.transport import CommParams, CommType, ModbusProtocol

from edge_agent.model.errors import LinkError
from edge_agent.sources.modbus.address import Address

# The library logs each failure by itself; the runner tells of each change of state, once.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

_CONNECT_S = 8.0
"""The runner's own deadline is longer, so that a name that cannot be resolved is told as such."""
_FRAMES = 16
"""Frames that wait to be looked at; a line that talks without being asked is not worth more memory."""
_READS: Mapping[int, type[ModbusPDU]] = {
    1: ReadCoilsRequest, 2: ReadDiscreteInputsRequest, 3: ReadHoldingRegistersRequest, 4: ReadInputRegistersRequest,
}  # fmt: skip


class Frame(NamedTuple):
    """An answer as it came. `number` is its transaction, 0 where the framing has none."""

    unit: int
    number: int
    pdu: bytes
    """Function code, and all that stands behind it."""


def read_request(function: int, address: int, count: int) -> bytes:
    """Return the bytes of a read, from its function code on."""
    return _bytes(_READS[function](address=address, count=count))


def write_request(function: int, address: int, values: list[int]) -> bytes:
    """Return the bytes of a write with one of the functions 5, 6, 15 and 16."""
    if function in (5, 15):
        bits = [bool(value) for value in values]
        single = function == 5  # noqa: PLR2004 - the number of a function
        return _bytes((WriteSingleCoilRequest if single else WriteMultipleCoilsRequest)(address=address, bits=bits))
    form = WriteSingleRegisterRequest if function == 6 else WriteMultipleRegistersRequest  # noqa: PLR2004 - likewise
    return _bytes(form(address=address, registers=values))


def pulse_request(address: int, ticks: int) -> bytes:
    """Return the bytes of a function 5 that says for how long, where the standard knows on and off only."""
    return write_request(5, address, [0])[:3] + struct.pack(">H", ticks)


def identification_request(code: int, first: int) -> bytes:
    """Return the bytes of a request for device identification (2B/0E), from an object on."""
    return _bytes(ReadDeviceInformationRequest(read_code=code, object_id=first))


def _bytes(request: ModbusPDU) -> bytes:
    return bytes((request.function_code,)) + request.encode()


class Wire(ModbusProtocol):
    """One connection or port. It opens once; a new one is made to open again."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        super().__init__(_parameters(address, tls), is_server=False)
        self._framer = _framer(address)
        self._numbered = isinstance(self._framer, FramerSocket)
        self._number = 0
        self._frames: deque[Frame] = deque(maxlen=_FRAMES)
        self._waiting: asyncio.Future[None] | None = None
        self._loss = ""
        self.dropped: Counter[str] = Counter()
        self.heard_at = 0.0
        """In the time of the event loop: when the last byte came."""
        self.heard = False
        """Whether a byte came since the last request was sent."""

    async def open(self) -> None:
        """Connect, or take the port. Raises LinkError."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                self.transport, _ = await self.call_create()
                await asyncio.sleep(0)  # a port is set up in the loop's next turn, and must not be closed before
        except (OSError, ValueError) as error:  # TimeoutError is one of the former; a port that is no terminal
            raise LinkError(f"cannot connect: {_plainly(error)}") from error

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self.is_active() and not self._loss

    @property
    def holds_half_a_frame(self) -> bool:
        """Whether bytes wait for the rest of their frame."""
        return bool(self.recv_buffer)

    def ask(self, unit: int, request: bytes) -> int:
        """Send a request and return its number; whatever came before is forgotten."""
        if self._frames or self.recv_buffer:
            self.dropped["late or uncalled answer"] += 1
        self._frames.clear()
        self.heard = False
        self._number = (self._number + 1 if self._number < 0xFFFF else 1) if self._numbered else 0  # noqa: PLR2004
        self.send(self._framer.encode(request, unit, self._number))
        return self._number

    async def next_frame(self) -> Frame:
        """Wait for the next frame. Raises LinkError when the connection is lost."""
        while not self._frames:
            if self._loss:
                raise LinkError(self._loss)
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._frames.popleft()

    def callback_data(self, data: bytes, addr: tuple[object, ...] | None = None) -> int:  # noqa: ARG002 - the library's
        """Take bytes as they come, and return how many of them are done with."""
        self.heard_at = self.loop.time()
        self.heard = True
        used = 0
        while used < len(data):
            try:
                length, unit, number, pdu = self._framer.decode(data[used:])
            except (ValueError, IndexError, ModbusException):  # a framer that stumbles over what is no frame
                self.dropped["garbage"] += 1
                return len(data)
            if not length:
                break
            used += length
            if pdu:
                self._frames.append(Frame(unit, number, pdu))
                self._wake()
            else:
                self.dropped["garbage"] += 1
        return used

    def callback_connected(self) -> None:
        """Know nothing yet."""

    def callback_new_connection(self) -> ModbusProtocol:
        """Be nobody's server: the library asks for this of those that listen, and demands that it be there."""
        raise AssertionError("a connection that was opened by us listens for nobody")

    def callback_disconnected(self, exc: Exception | None) -> None:
        """Let a request whose connection broke fail at once."""
        self._loss = f"the connection was closed by the other end{f': {exc}' if exc else ''}"
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _plainly(error: OSError | ValueError) -> str:
    """Return why a connection failed; where asyncio only repeats the address, the system's word for it."""
    if isinstance(error, OSError) and error.errno is not None and "Connect call failed" in str(error):
        return os.strerror(error.errno)
    return str(error) or "no answer"


def _parameters(address: Address, tls: ssl.SSLContext | None) -> CommParams:
    if address.path is not None:
        line = address.line
        return CommParams(
            comm_name="modbus", comm_type=CommType.SERIAL, host=address.path, baudrate=line.baud, bytesize=line.bits,
            parity=line.parity, stopbits=line.stop, timeout_connect=0,  # type: ignore[arg-type]  # 1.5 is one of them
        )  # fmt: skip
    kind = CommType.TCP if tls is None else CommType.TLS
    return CommParams(comm_name="modbus", comm_type=kind, host=address.host, port=address.port, sslctx=tls)


def _framer(address: Address) -> FramerBase:
    # Over TLS too: the library's framer for it wants each frame in one piece, and the frames are the same.
    forms = {"rtu": FramerRTU, "ascii": FramerAscii}
    return forms.get(address.framing, FramerSocket)(DecodePDU(is_server=False))
