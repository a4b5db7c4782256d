"""The single owner of one Modbus bus, whatever it runs on.

What an answer says is checked here, against the request and to the byte. Nothing is asked twice by itself and
nothing connects again by itself: the runner does both, and a write sent twice would be a second act.
"""

import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.profile import RegisterPoint
from edge_agent.model.reading import GOOD, Anchor, Instant, Reading, Value, bad
from edge_agent.sources import Clock, Poll
from edge_agent.sources.modbus import writing
from edge_agent.sources.modbus.address import Address
from edge_agent.sources.modbus.device import Device
from edge_agent.sources.modbus.exchange import Exchange, RefusedError
from edge_agent.sources.modbus.wire import (
    identification_request,
    pulse_request,
    read_request,
)
from edge_agent.twin.bustime import Load, outlook
from edge_agent.twin.codec import BIT_FUNCTIONS, BlockDecoder, Decoded, decode
from edge_agent.twin.identification import Objects, access_code, parse_objects
from edge_agent.twin.meaning import text
from edge_agent.twin.planner import Block
from edge_agent.twin.soundness import IDENTIFICATION
from edge_agent.twin.sunspec import MARKER, PLACES, next_model

_ILLEGAL_ADDRESS = 2
_OBJECT_REQUESTS = 8
"""Requests in which a device must have told its objects."""
_ECHO_SIZE = 5
"""Function code, address, and a value or a count: the answer to a write."""


class _Read(NamedTuple):
    """What stands behind a `Poll`, compiled; no block behind the walk along the chain of models."""

    device: Device
    block: Block | None
    decoder: BlockDecoder | None


class ModbusBus:
    """One socket or port, and all units behind it."""

    def __init__(self, address: Address, devices: Sequence[Device], tls: ssl.SSLContext | None, now: Clock) -> None:
        self.bus = address.bus
        self.address = address
        self._exchange = Exchange(address, devices, tls, now)
        self.line = self._exchange.line
        self.dropped = self._exchange.dropped
        self.devices = {device.name: device for device in devices}
        self._reads: dict[Poll, _Read] = {}
        self.polls: Sequence[Poll] = []
        self._plan()

    # --- the contract of a link

    async def open(self) -> None:
        """Connect, or take the port. Raises LinkError."""
        await self._exchange.open()

    async def close(self) -> None:
        """Let go of the connection; may be called when it is not open."""
        self._exchange.close()

    async def read(self, poll: Poll) -> list[Reading]:
        """Make one request and return what it brought. Raises LinkError or WireError."""
        where = f"{self.bus} {poll.detail}"
        if poll not in self._reads:
            raise WireError(f"{where}: the unit was taken off this bus while it was asked", "missing")
        device, block, decoder = self._reads[poll]
        if block is None:
            await self._walk(device, where)
            return []
        if block.function == IDENTIFICATION:
            decoded, at = await self._identification(device, block, where)
        else:
            assert decoder is not None
            try:
                decoded, at = await self._values(device, block, decoder, where)
            except RefusedError as refusal:
                lesson = device.refused(block) if refusal.code == _ILLEGAL_ADDRESS else ""
                if lesson:
                    self._plan()
                    raise WireError(f"{refusal}; {lesson}", refusal.reason) from refusal
                raise
        if (poll.identity or not block.every) and device.answered(block, decoded):
            self._plan()
        anchor = Anchor(poll.source, poll.detail, at)
        return [Reading(anchor, name, *found) for name, found in zip(poll.points, decoded, strict=True)]

    async def write(self, source: str, point: str, value: Value, hold_s: float | None = None) -> None:
        """Write one point and compare the echo. Raises LinkError, WireError or TrustError.

        After a LinkError with the reason "timeout" it is not known whether the write was done.
        """
        device = self.devices.get(source)
        target = None if device is None else device.points.get(point)
        where = f"{source}.{point}"
        if device is None or target is None:
            raise TrustError(f"{where}: got a write to a point that this bus does not have")
        if device.unit == 0:
            raise TrustError(f"{where}: got a write to unit 0, which every device of a bus obeys")
        rule = writing.allowed(target, value, hold_s, where)
        if hold_s is not None and rule.reverts is not None and rule.reverts.by == "pulse":
            assert rule.reverts.address is not None
            ticks = round(hold_s / rule.reverts.tick)
            await self._send(device, pulse_request(rule.reverts.address, ticks), where)
            return
        exponent = await self._exponent(device, target)
        request = writing.request(target, rule, value, exponent, self._base(device, target), where)
        if hold_s is not None and rule.reverts is not None:
            timer = device.points[str(rule.reverts.point)]
            ticks = round(hold_s / rule.reverts.tick)
            await self._send(device, writing.timer_request(timer, ticks, self._base(device, timer), where), where)
        await self._send(device, request, where)

    def loads(self) -> list[Load]:
        """Return what its polls ask of the bus."""
        return [load for device in self.devices.values() for load in device.loads()]

    def outlook(self) -> list[str]:
        """Return lines for `check`."""
        path = self.address.path or ""
        lines = outlook(self.loads(), self.line)
        if path.startswith(("/dev/ttyUSB", "/dev/ttyACM")):
            lines.append(f"{path} may be another adapter after a restart: /dev/serial/by-id/ has names that stay")
        return lines

    def lessons(self) -> dict[str, Any]:
        """Return what the devices taught, as plain values."""
        return {key: lesson for device in self.devices.values() for key, lesson in device.lessons().items()}

    def recall(self, kept: Mapping[str, Any]) -> None:
        """Take up what they taught in another run."""
        for device in self.devices.values():
            device.recall(kept)
        self._plan()

    def renew(self, successor: object, kept: frozenset[str]) -> bool:
        """Take on the units of another plan for this bus, and keep the connection; see sources.Renewable."""
        if not isinstance(successor, ModbusBus) or successor.address != self.address:
            return False
        # It was opened with what its first unit says of TLS.
        if self.address.scheme == "tls" and not {next(iter(self.devices)), next(iter(successor.devices))} <= kept:
            return False
        self.devices = {name: self.devices[name] if name in kept else d for name, d in successor.devices.items()}
        self._exchange.devices = list(self.devices.values())
        self._reads = {poll: read for poll, read in self._reads.items() if poll.source in kept}
        self._plan()
        return True

    # --- reading

    def _plan(self) -> None:
        """Make polls of what the devices' blocks are now. What was a poll before can still be read."""
        planned = [(device, poll, block) for device in self.devices.values() for poll, block in device.polls().items()]
        for device, poll, block in planned:
            plain = block is None or block.function == IDENTIFICATION
            self._reads[poll] = _Read(device, block, None if plain or block is None else _decoder(block))
        self.polls = [poll for _, poll, _ in planned]

    async def _values(
        self, device: Device, block: Block, decoder: BlockDecoder, where: str
    ) -> tuple[list[Decoded], Instant]:
        start = block.start + self._base_of(device, block.model, where)
        request = read_request(block.function, start, block.count)
        size = (block.count + 7) // 8 if block.function in BIT_FUNCTIONS else 2 * block.count
        body, at = await self._exchange.exchange(device, request, 2 + size, where, _spare_read(block, start))
        raw = _counted(body, where)
        if len(raw) != size:
            raise WireError(f"{where}: got {len(raw)} bytes, wanted {size}", "mismatch")
        return decoder.decode_bytes(raw), at

    def _base(self, device: Device, point: RegisterPoint) -> int:
        return self._base_of(device, point.model, f"{device.name}.{point.name}")

    def _base_of(self, device: Device, model: int | None, where: str) -> int:
        if model is None:
            return 0
        if device.models is None:
            raise WireError(f"{where}: the chain of SunSpec models was not walked yet", "missing")
        if model not in device.models:
            raise WireError(f"{where}: the device has no SunSpec model {model}", "missing")
        return device.models[model]

    async def _walk(self, device: Device, where: str) -> None:
        """Find where the SunSpec models of a device begin."""
        for place in PLACES:
            try:
                marker = await self._two_registers(device, place, where)
            except RefusedError:
                continue
            if marker == MARKER:
                break
        else:
            raise WireError(f"{where}: got no SunSpec marker at {', '.join(map(str, PLACES))}", "missing")
        models: dict[int, int] = {}
        at: int | None = place + 2
        while at is not None:
            at = next_model(models, at, await self._two_registers(device, at, where))
        device.models = models

    async def _two_registers(self, device: Device, address: int, where: str) -> tuple[int, int]:
        body, _ = await self._exchange.exchange(device, read_request(3, address, 2), 6, where)
        raw = _counted(body, where)
        if len(raw) != 4:  # noqa: PLR2004 - two registers
            raise WireError(f"{where}: got {len(raw)} bytes, wanted 4", "mismatch")
        return int.from_bytes(raw[:2]), int.from_bytes(raw[2:])

    async def _identification(self, device: Device, block: Block, where: str) -> tuple[list[Decoded], Instant]:
        """Ask for objects until the device has told all of the block, or no more follow."""
        found: dict[int, bytes] = {}
        following = block.start
        for _ in range(_OBJECT_REQUESTS):
            request = identification_request(access_code(block.start), following)
            body, at = await self._exchange.exchange(device, request, None, where)
            objects: Objects = parse_objects(body, where)
            found |= objects.texts
            if objects.following is None or objects.following >= block.start + block.count:
                break
            following = objects.following
        missing: Decoded = (None, bad("missing"))
        return [text(found[p.address]) if p.address in found else missing for p in block.points], at

    # --- writing

    async def _exponent(self, device: Device, target: RegisterPoint) -> int | None:
        """Read what scales a point, right before it is written."""
        if target.scale_point is None:
            return None
        scale = device.points[target.scale_point]
        where = f"{device.name}.{scale.name}"
        request = read_request(scale.function, scale.address + self._base(device, scale), 1)
        body, _ = await self._exchange.exchange(device, request, 4, where)
        raw = _counted(body, where)
        value, quality = decode(scale, [int.from_bytes(raw)]) if len(raw) == 2 else (None, bad("mismatch"))  # noqa: PLR2004 - one register
        if quality != GOOD or not isinstance(value, int):
            raise WireError(f"{where}: got no scale ({quality}): nothing was written", "scale")
        return value

    async def _send(self, device: Device, request: bytes, where: str) -> None:
        """Make one write, and compare what the device says it did."""
        where = f"{self.bus} {where}"
        body, _ = await self._exchange.exchange(device, request, _ECHO_SIZE, where, echo=request[:_ECHO_SIZE])
        if body != request[1:_ECHO_SIZE]:
            raise WireError(f"{where}: got the echo {body[:16].hex()} of another write", "mismatch")


def _decoder(block: Block) -> BlockDecoder:
    return BlockDecoder(block.points, block.function, block.start, block.count)


def _counted(body: bytes, where: str) -> bytes:
    """Return what stands behind the byte count of an answer. Raises WireError when it counts wrong."""
    if not body or body[0] != len(body) - 1:
        raise WireError(f"{where}: got a length of {body[:1].hex() or 'nothing'} on {len(body)} bytes", "mismatch")
    return body[1:]


def _spare_read(block: Block, start: int) -> bytes | None:
    """Return a read within a block whose answer has another length; None when there is none.

    It is of whole points, for a device may refuse half of one.
    """
    sizes: Iterable[int] = sorted({point.address - block.start for point in block.points} - {0})
    if block.function in BIT_FUNCTIONS:
        sizes = [1] if block.count > 8 else []  # noqa: PLR2004 - bits of a byte
    return next((read_request(block.function, start, size) for size in sizes), None)
