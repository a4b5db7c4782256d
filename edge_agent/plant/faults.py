"""What can be wrong with a simulated device, whatever it speaks.

A fault is of the wire (what is said does not arrive as it should) or of the device (what it says of itself is not so).
Each kind of device draws the first upon its own messages; the second is the same for all.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from edge_agent.model.profile import Point
from edge_agent.model.reading import Value

FaultKind = Literal[
    "dead", "late", "wrong-length", "exception", "busy", "garbage", "slow-drip", "unplugged",
    "drift", "stuck", "jump", "firmware-change",
]  # fmt: skip
WIRE_FAULTS: Final[Mapping[FaultKind, str]] = {
    "dead": "it says nothing",
    "late": "what it says comes late",
    "wrong-length": "what it says is cut short, or too long, though its checksum holds where there is one",
    "exception": "it says that it failed: Modbus exception 4, HTTP 500; others say an error text",
    "busy": "it says that it is busy: Modbus exception 6, HTTP 503; others are silent",
    "garbage": "random bytes come in place of what it says",
    "slow-drip": "what it says comes byte by byte",
    "unplugged": "its connection, port or adapter is gone",
}
DEVICE_FAULTS: Final[Mapping[FaultKind, str]] = {
    "drift": "its gauges creep upwards, by one hundredth of their value a second",
    "stuck": "its values stay what they were",
    "jump": "its numbers are ten times what they should be, and 1000 more",
    "firmware-change": "it runs another firmware",
}
_DRIP_S = 0.05
_DRIFT_PER_S = 0.01
_JUMP_FACTOR, _JUMP_STEP = 10, 1000
_NEXT_FIRMWARE = 101


class Trouble:
    """What is wrong with one device now. `late_s` is by how much it is late when it is."""

    def __init__(self, points: Sequence[Point], *, late_s: float = 2.0, seed: int = 1) -> None:
        self._points = {str(point.name): point for point in points}
        self._late_s = late_s
        self._rng = random.Random(seed)  # noqa: S311 - noise, not keys
        self._since_s: dict[FaultKind, float] = {}
        self._only: dict[FaultKind, str | None] = {}
        self._held: dict[str, Value] = {}

    def begin(self, kind: FaultKind, now_s: float = 0.0, point: str | None = None) -> None:
        """Let a fault begin, of the device or of one point alone."""
        self._since_s[kind], self._only[kind] = now_s, point
        if kind == "stuck":
            self._held.clear()

    def end(self, kind: FaultKind) -> None:
        """Let it end; it need not be there."""
        self._since_s.pop(kind, None)

    def has(self, kind: FaultKind) -> bool:
        """Whether a fault is there."""
        return kind in self._since_s

    def pieces(self, message: bytes) -> Iterator[tuple[float, bytes]]:
        """Yield what arrives of a message: after how many seconds, and which bytes."""
        if self.has("dead") or self.has("unplugged"):
            return
        delay_s = self._late_s if self.has("late") else 0.0
        if self.has("garbage"):
            message = self._rng.randbytes(len(message))
        if self.has("slow-drip"):
            yield from ((delay_s + i * _DRIP_S, message[i : i + 1]) for i in range(len(message)))
        else:
            yield delay_s, message

    def shown(self, values: Mapping[str, Value], now_s: float) -> dict[str, Value]:
        """Return what the device says of its true values."""
        return {name: self._one(name, value, now_s) for name, value in values.items()}

    def _one(self, name: str, value: Value, now_s: float) -> Value:
        point = self._points.get(name)
        if point is None:
            return value
        if point.identity == "firmware" and self._hits("firmware-change", name):
            return f"{value}-next" if isinstance(value, str) else _NEXT_FIRMWARE
        if self._hits("stuck", name):
            value = self._held.setdefault(name, value)
        if isinstance(value, (bool, str)) or value is None or point.kind == "state":
            return value
        if point.kind == "gauge" and self._hits("drift", name):
            value = value + abs(value) * _DRIFT_PER_S * max(0.0, now_s - self._since_s["drift"])
        if self._hits("jump", name):
            value = value * _JUMP_FACTOR + _JUMP_STEP
        return value

    def _hits(self, kind: FaultKind, name: str) -> bool:
        return self.has(kind) and self._only[kind] in (None, name)
