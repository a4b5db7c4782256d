"""Modbus over TCP: one socket for each gateway, shared by all its units, one request at a time.

The library frames, numbers and sends; what an answer says is checked here, against the request and to the byte,
because the library accepts other functions, other lengths and transaction 0. It never connects again and never
repeats a request: the runner does the one, and a write sent twice would be a second act.

An answer that comes after its deadline belongs to no request any more and is dropped by its transaction number.
When a device calls an address of a block illegal, the block is asked in halves from then on: `polls` changes, and
the caller reads it again after each failure. That is kept as long as the link is.
"""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import msgspec
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from edge_agent.model.checked import shown
from edge_agent.model.errors import ConfigError, LinkError, Problem, TrustError, WireError
from edge_agent.model.profile import BusLimits, RegisterPoint
from edge_agent.model.reading import Anchor, Instant, Reading, Value
from edge_agent.model.site import ModbusSettings, Source
from edge_agent.sources import Clock, Link, Poll
from edge_agent.twin.codec import BlockDecoder, encode
from edge_agent.twin.planner import Block, plan, split

# The library logs each failure by itself; the runner tells of each change of state, once.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

_CONNECT_S = 3.0
"""TCP sends its first packet again after one second, and after three."""
_ILLEGAL_ADDRESS = 2
_NO_ANSWER = 11
"""A gateway says so of a unit that did not answer it."""
_REFUSALS = {
    1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure", 5: "acknowledged",
    6: "device busy", 8: "memory parity error", 10: "gateway path unavailable",
}  # fmt: skip
"""Modbus Application Protocol 1.1b3, 7."""
_READS: Mapping[int, type[ModbusPDU]] = {
    1: ReadCoilsRequest, 2: ReadDiscreteInputsRequest, 3: ReadHoldingRegistersRequest, 4: ReadInputRegistersRequest,
}  # fmt: skip


def links(sources: Sequence[Source], now: Clock) -> list[Link]:
    """Return one link for each host and port. Raises ConfigError with all that is wrong with urls and points."""
    problems: list[Problem] = []
    buses: dict[tuple[str, int], list[_Device]] = {}
    for source in sources:
        assert isinstance(source.settings, ModbusSettings)
        place = f"sources.{source.name}"
        address = _address(source.settings.url, f"{place}.url", problems)
        points = [point for point in source.points if isinstance(point, RegisterPoint)]
        device = _Device(source.name, source.settings, source.limits, plan(points, source.limits, place, problems))
        if address is not None:
            buses.setdefault(address, []).append(device)
    if problems:
        raise ConfigError(problems)
    return [ModbusTcp(host, port, devices, now) for (host, port), devices in buses.items()]


def _address(url: str, place: str, problems: list[Problem]) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number, a bracket left open
        host, port = None, None
    else:
        if parts.scheme != "tcp" or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
            host = None
    if not host or port == 0:
        problems.append(Problem(place, shown(url), "tcp://host[:502], the one transport served for Modbus"))
        return None
    return host, port or 502


class _Device:
    """One source: a unit of the bus, its points, and when it may be spoken to again."""

    def __init__(self, name: str, settings: ModbusSettings, limits: BusLimits, blocks: list[Block]) -> None:
        self.name = name
        self.unit = settings.unit
        self.poll_s = settings.poll
        self.limits = limits
        self.blocks = blocks
        self.points: dict[str, RegisterPoint] = {point.name: point for block in blocks for point in block.points}
        self.free_at = 0.0
        """In the time of the event loop: the end of the silence that the device asks for."""


class _Read(msgspec.Struct, frozen=True):
    """What stands behind a `Poll`, compiled."""

    device: _Device
    block: Block
    request: ModbusPDU
    decoder: BlockDecoder


class ModbusTcp:
    """The single owner of a connection to one gateway."""

    def __init__(self, host: str, port: int, devices: Sequence[_Device], now: Clock) -> None:
        self.bus = f"tcp://{host}:{port}" if ":" not in host else f"tcp://[{host}]:{port}"
        self._host, self._port, self._now = host, port, now
        self._devices = {device.name: device for device in devices}
        self._client: AsyncModbusTcpClient | None = None
        self._turn = asyncio.Lock()
        self._waiting = False
        """Whether the last request is, or was when it was given up, without its answer."""
        self._reads: dict[Poll, _Read] = {}
        self.dropped: Counter[str] = Counter()  # nothing comes that was not asked for
        self.polls: Sequence[Poll] = [self._poll(device, block) for device in devices for block in device.blocks]

    async def open(self) -> None:
        """Connect. Raises LinkError."""
        await self.close()
        slowest = max(device.limits.timeout for device in self._devices.values())
        client = AsyncModbusTcpClient(
            self._host,
            port=self._port,
            retries=0,
            reconnect_delay=0,
            timeout=max(_CONNECT_S, 2 * slowest),  # our own deadline is the one that counts: this must not come first
            trace_connect=self._on_connection,
        )
        # The second line, should the library's deadline come first after all: it counts silences, and would close
        # the connection of all units for one that is switched off.
        client.set_max_no_responses(sys.maxsize)
        client.ctx.framer.decoder = _Whole(is_server=False)
        self._waiting = False
        if not await client.connect():
            raise LinkError(f"{self.bus}: cannot connect")
        self._client = client

    async def read(self, poll: Poll) -> list[Reading]:
        """Make one request and return what it brought. Raises LinkError or WireError."""
        read = self._reads[poll]
        where = f"{self.bus} {poll.detail}"
        try:
            body, at = await self._exchange(read.device, read.request, where)
        except _RefusedError as refusal:
            if refusal.code != _ILLEGAL_ADDRESS or not self._split(poll):
                raise
            raise WireError(f"{refusal}; from now on asked in two halves", refusal.reason) from refusal
        if not body or body[0] != len(body) - 1:
            raise WireError(f"{where}: got a length of {body[:1].hex() or 'nothing'} on {len(body)} bytes", "mismatch")
        decoded = read.decoder.decode_bytes(body[1:])
        anchor = Anchor(poll.source, poll.detail, at)
        return [Reading(anchor, name, *found) for name, found in zip(poll.points, decoded, strict=True)]

    async def write(self, source: str, point: str, value: Value, hold_s: float | None = None) -> None:
        """Write one point and compare the echo. Raises LinkError, WireError or TrustError.

        After a LinkError with the reason "timeout" it is not known whether the write was done.
        """
        device = self._devices.get(source)
        target = None if device is None else device.points.get(point)
        where = f"{source}.{point}"
        if device is None or target is None:
            raise TrustError(f"{where}: got a write to a point that this bus does not have")
        if hold_s is not None:
            raise TrustError(f"{where}: got a write that shall hold for {hold_s:g} s, which this bus cannot ask for")
        if device.unit == 0:
            raise TrustError(f"{where}: got a write to unit 0, which every device of a bus obeys")
        request = _write_request(device.unit, target, value, where)
        body, _ = await self._exchange(device, request, f"{self.bus} {where}")
        if body != request.encode()[:4]:
            raise WireError(f"{self.bus} {where}: got the echo {body[:16].hex()} of another write", "mismatch")

    async def close(self) -> None:
        """Let go of the connection; may be called when it is not open."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _poll(self, device: _Device, block: Block) -> Poll:
        poll = Poll(
            source=device.name,
            unit=str(device.unit),
            points=tuple(point.name for point in block.points),
            period_s=device.poll_s * block.every,
            timeout_s=device.limits.pause + device.limits.timeout,
            detail=f"fc{block.function} {block.start}+{block.count} unit {device.unit}",
        )
        request = _READS[block.function](address=block.start, count=block.count, dev_id=device.unit)
        decoder = BlockDecoder(block.points, block.function, block.start, block.count)
        self._reads[poll] = _Read(device, block, request, decoder)
        return poll

    def _split(self, poll: Poll) -> bool:
        """Put the halves of a block in its place; whether it had any."""
        read = self._reads[poll]
        if len(read.block.points) == 1 or poll not in self.polls:
            return False
        at = self.polls.index(poll)
        halves = [self._poll(read.device, half) for half in split(read.block)]
        self.polls = [*self.polls[:at], *halves, *self.polls[at + 1 :]]
        return True

    async def _exchange(self, device: _Device, request: ModbusPDU, where: str) -> tuple[bytes, Instant]:
        """Send a request, and return the body of the one answer that is its own, and when that came."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            if device.free_at > loop.time():
                await asyncio.sleep(device.free_at - loop.time())
            client = self._usable_client(where)
            self._waiting = True
            try:
                async with asyncio.timeout(device.limits.timeout):
                    answer = await client.execute(False, request)
            except TimeoutError:
                raise LinkError(f"{where}: no answer within {device.limits.timeout:g} s", "timeout") from None
            except (ModbusException, ConnectionError) as error:
                raise LinkError(f"{where}: {error}") from error
            finally:
                device.free_at = loop.time() + device.limits.pause
            at = self._now()
            self._waiting = False
        return _body(request, answer, where), at

    def _usable_client(self, where: str) -> AsyncModbusTcpClient:
        client = self._client
        if client is not None and self._waiting and client.ctx.recv_buffer:
            # Half of a late answer: its other half would be read as the beginning of the next one.
            client.close()
        if client is None or not client.connected:
            raise LinkError(f"{where}: the connection is closed")
        return client

    def _on_connection(self, up: bool) -> None:  # noqa: FBT001 - the library's contract
        """Let a request whose connection broke fail at once; the library would wait for its deadline."""
        if up or not self._waiting or self._client is None:
            return
        answer = self._client.ctx.response_future
        if not answer.done():
            answer.set_exception(ConnectionResetError("the connection was closed by the other end"))


class _RefusedError(WireError):
    """The device answered with an exception of this code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text, "refused")
        self.code = code


class _Answer(ModbusPDU):
    """An answer as it came: `function_code`, and all that stood behind it."""

    def __init__(self, frame: bytes) -> None:
        super().__init__()
        self.function_code = frame[0]
        self.body = frame[1:]


class _Whole(DecodePDU):
    """Hands answers on as bytes: the library's own reading of them drops what does not fit, and costs more."""

    def decode(self, frame: bytes) -> ModbusPDU:
        return _Answer(frame)


def _body(request: ModbusPDU, answer: ModbusPDU, where: str) -> bytes:
    """Return what stands behind the function code of an answer. Raises when it is not one to the request, or a no."""
    assert isinstance(answer, _Answer)
    got = (answer.transaction_id, answer.dev_id, answer.function_code)
    wanted = (request.transaction_id, request.dev_id, request.function_code)
    if got == wanted:
        return answer.body
    if got != (*wanted[:2], request.function_code | 0x80) or len(answer.body) != 1:
        raise WireError(f"{where}: got transaction, unit and function {got}, wanted {wanted}", "mismatch")
    code = answer.body[0]
    if code == _NO_ANSWER:
        raise LinkError(f"{where}: the gateway got no answer from the device (exception {code})", "timeout")
    raise _RefusedError(f"{where}: refused with exception {code}, {_REFUSALS.get(code, 'of no known meaning')}", code)


def _write_request(unit: int, point: RegisterPoint, value: Value, where: str) -> ModbusPDU:
    """Return the request that writes the point. Raises TrustError when the profile does not allow it."""
    rule = point.write
    if rule is None or point.function not in (1, 3):
        raise TrustError(f"{where}: got a write to a point that its profile does not make writable")
    if value is None or isinstance(value, str) or not rule.range[0] <= value <= rule.range[1]:
        raise TrustError(f"{where}: got {shown(value)}, wanted {rule.range[0]:g} to {rule.range[1]:g}")
    try:
        registers = encode(point, value)
    except ValueError as error:
        raise TrustError(f"{where}: {error}") from error
    if point.function == 1:
        return WriteSingleCoilRequest(address=point.address, bits=[bool(registers[0])], dev_id=unit)
    form = WriteSingleRegisterRequest if len(registers) == 1 else WriteMultipleRegistersRequest
    return form(address=point.address, registers=registers, dev_id=unit)
