"""One request and the answer that is its own, on whatever a Modbus bus runs on.

Over TCP an answer that comes after its deadline is dropped by its transaction number. A serial line has none: after
a fault it is drained until it has been quiet, and an answer that might be a late one is not believed. One short
read whose answer has another length brings a unit back in step.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Sequence

from edge_agent.model.errors import LinkError, SpoiltError, WireError
from edge_agent.model.reading import Instant
from edge_agent.sources import Clock
from edge_agent.sources.modbus.address import Address
from edge_agent.sources.modbus.device import Device
from edge_agent.sources.modbus.wire import Frame, Wire
from edge_agent.twin.codec import BIT_FUNCTIONS
from edge_agent.twin.patience import Shape

_NO_ANSWER = 11
"""A gateway says so of a unit that did not answer it."""
_REFUSALS = {
    1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure", 5: "acknowledged",
    6: "device busy", 8: "memory parity error", 10: "gateway path unavailable",
}  # fmt: skip
"""Modbus Application Protocol 1.1b3, 7."""
_EXCEPTION = 0x80
_NOISY_S = 1.0
"""How long a line may go on talking before the request that waits for its silence is given up."""


class Exchange:
    """The connection or port of a bus, and the order in which it is used."""

    def __init__(self, address: Address, devices: Sequence[Device], tls: ssl.SSLContext | None, now: Clock) -> None:
        self.dropped: Counter[str] = Counter()
        self.line = None if address.numbered else address.line
        self._address, self._tls, self._now = address, tls, now
        self.devices = devices
        self._wire: Wire | None = None
        self._turn = asyncio.Lock()
        self._unanswered = False
        """Whether the last request is, or was when it was given up, without its answer."""
        self._fault_at: float | None = None
        """In the time of the event loop: when a serial line was last in disorder, until it was quiet."""

    async def open(self) -> None:
        """Connect, or take the port. Raises LinkError."""
        self.close()
        wire = Wire(self._address, self._tls)
        wire.dropped = self.dropped
        try:
            await wire.open()
        except LinkError as error:
            raise LinkError(f"{self._address.bus}: {error}") from error
        self._wire, self._unanswered = wire, False
        self._fault_at = asyncio.get_running_loop().time()  # what was going on before nobody knows

    def close(self) -> None:
        """Let go of the connection; may be called when it is not open."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def exchange(
        self,
        device: Device,
        request: bytes,
        size: int | None,
        where: str,
        spare: bytes | None = None,
        echo: bytes | None = None,
    ) -> tuple[bytes, Instant]:
        """Send a request, and return what stands behind the function code of its own answer, and when that came.

        `size` is the length of the right answer, when it is known. `spare` is a read with an answer of another
        length, for a unit that may still owe an answer of this one; `echo` is an answer that can be no other's.
        """
        async with self._turn:
            wanted = Shape(request[0], size or 0)
            if spare is not None and device.owed.may_be(wanted, asyncio.get_running_loop().time()):
                await self._ask(device, spare, Shape(spare[0], _answer_length(spare)), where, None)
            return await self._ask(device, request, wanted, where, echo)

    async def _ask(
        self, device: Device, request: bytes, wanted: Shape, where: str, echo: bytes | None
    ) -> tuple[bytes, Instant]:
        loop = asyncio.get_running_loop()
        await self._silence(device, where)
        wire = self._usable_wire(where)
        wait_s = device.patience.wait_s(self._usual_s())
        self._unanswered = True
        sent_at = loop.time()
        try:
            number = wire.ask(device.unit, request)
            async with asyncio.timeout(wait_s + device.wire_s(len(request), wanted.size)):
                frame = await self._believable(wire, device, number, echo)
            body = self._body(request, frame, number, device, where)
        except TimeoutError:
            device.patience.was_silent()
            self._disordered(device, wanted)
            reason = "garbage" if wire.heard and self.line is not None else "timeout"
            raise LinkError(f"{where}: no answer within {wait_s:.3g} s", reason) from None
        except RefusedError:
            self._answered(device, sent_at, wanted)
            raise
        except WireError:
            self._disordered(device, wanted)
            raise
        except LinkError as error:
            raise LinkError(f"{where}: {error}", error.reason) from error
        except asyncio.CancelledError:
            self._disordered(device, wanted)
            raise
        else:
            at = self._answered(device, sent_at, wanted)
            if wanted.size not in (0, len(frame.pdu)):
                self._disordered(device, wanted)  # whoever reads it refuses it, and the right one may yet come
            return body, at
        finally:
            device.free_at = loop.time() + device.limits.pause

    async def _believable(self, wire: Wire, device: Device, number: int, echo: bytes | None) -> Frame:
        """Wait for a frame that is meant for this request: one from another unit or another time is passed over."""
        loop = asyncio.get_running_loop()
        while True:
            frame = await wire.next_frame()
            if frame.unit != device.unit or frame.number not in (0, number):
                self.dropped["another's answer"] += 1
            elif (
                self.line is not None
                and frame.pdu != echo
                and device.owed.may_be(Shape(frame.pdu[0], len(frame.pdu)), loop.time())
            ):
                self.dropped["answer that may be a late one"] += 1
            else:
                return frame

    def _answered(self, device: Device, sent_at: float, wanted: Shape) -> Instant:
        """Take note of an answer, and of the moment."""
        at = self._now()
        latency_s = asyncio.get_running_loop().time() - sent_at - device.wire_s(5, wanted.size)
        device.patience.answered(max(latency_s, 0.0))
        device.owed.settled()
        self._unanswered = False
        return at

    def _disordered(self, device: Device, wanted: Shape) -> None:
        """Take note that an answer may come to which nobody listens."""
        now = asyncio.get_running_loop().time()
        if self.line is not None:
            self._fault_at = now
            device.owed.given_up(wanted, now)

    def _usual_s(self) -> float | None:
        usual = [device.patience.usual_s for device in self.devices if device.patience.usual_s is not None]
        return max(usual, default=None)

    async def _silence(self, device: Device, where: str) -> None:
        """Keep the pause that the device asks for, and that of the line; after a fault, until nothing comes any more."""
        loop = asyncio.get_running_loop()
        if device.free_at > loop.time():
            await asyncio.sleep(device.free_at - loop.time())
        if self.line is None or self._wire is None:
            return
        latest = loop.time() + _NOISY_S + self.line.quiet_s
        while True:
            heard_at = self._wire.heard_at
            until = heard_at + self.line.silence_s
            if self._fault_at is not None:
                until = max(heard_at, self._fault_at) + self.line.quiet_s
            if until <= loop.time():
                break
            if until > latest:
                raise LinkError(f"{where}: the line was not quiet for {_NOISY_S:g} s", "garbage")
            await asyncio.sleep(until - loop.time())
        self._fault_at = None

    def _usable_wire(self, where: str) -> Wire:
        wire = self._wire
        if wire is None or not wire.is_open:
            raise LinkError(f"{where}: the connection is closed")
        if self._address.numbered and self._unanswered and wire.holds_half_a_frame:
            # Its other half would be read as the beginning of the next answer.
            wire.close()
            raise SpoiltError(f"{where}: half of another answer is on the connection")
        return wire

    def _body(self, request: bytes, frame: Frame, number: int, device: Device, where: str) -> bytes:
        """Return what stands behind the function code. Raises when it is not an answer to the request, or a no."""
        code, body = frame.pdu[0], frame.pdu[1:]
        if (frame.number, code) == (number, request[0]):
            return body
        if (frame.number, code) != (number, request[0] | _EXCEPTION) or len(body) != 1:
            got, wanted = (frame.number, frame.unit, code), (number, device.unit, request[0])
            raise WireError(f"{where}: got transaction, unit and function {got}, wanted {wanted}", "mismatch")
        if body[0] == _NO_ANSWER:
            raise LinkError(f"the gateway got no answer from the device (exception {body[0]})", "timeout")
        words = _REFUSALS.get(body[0], "of no known meaning")
        raise RefusedError(f"{where}: refused with exception {body[0]}, {words}", body[0])


class RefusedError(WireError):
    """The device answered with an exception of this code."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words, "refused")
        self.code = code


def _answer_length(read: bytes) -> int:
    count = int.from_bytes(read[3:5])
    return 2 + ((count + 7) // 8 if read[0] in BIT_FUNCTIONS else 2 * count)
