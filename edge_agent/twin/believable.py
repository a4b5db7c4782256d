"""Whether a value can have moved as far as it says: a spike in a counter spoils its totals for ever.

A value that jumped is bad until a second reading agrees with it: then the device was right, a counter was reset or
a sensor moved. Time is that of the readings.
"""

from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.model.profile import Point
from edge_agent.model.reading import GOOD, Reading, bad, uncertain

_SPAN_S = {"counter": 60.0, "gauge": 1.0, "state": 1.0}
"""The shortest time over which a rate is taken: counters move in steps, and meters publish late."""


class _Seen(NamedTuple):
    value: float
    at_ns: int


class Believable:
    """Of one source: the last believed value of each point that has a bound, and the one that is doubted."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = {str(p.name): p for p in points if p.max_rate is not None or p.kind == "counter"}
        self._believed: dict[str, _Seen] = {}
        self._doubted: dict[str, _Seen] = {}

    def take(self, readings: Sequence[Reading]) -> Sequence[Reading]:
        """Return the readings, those that jumped without their value."""
        if not self._points:
            return readings
        return [self._judged(r) if r.point in self._points and r.quality == GOOD else r for r in readings]

    def _judged(self, reading: Reading) -> Reading:
        value, name = reading.value, reading.point
        if isinstance(value, (str, bool)) or value is None:
            return reading
        now = _Seen(value, reading.anchor.at.mono_ns)
        point, believed, doubted = self._points[name], self._believed.get(name), self._doubted.get(name)
        if any(seen is not None and _may_follow(point, seen, now) for seen in (believed, doubted)) or (
            believed is None and point.max_rate is None
        ):
            self._believed[name] = now
            self._doubted.pop(name, None)
            return reading
        self._doubted[name] = now
        if believed is None:
            return Reading(reading.anchor, name, value, uncertain("unconfirmed"))
        return Reading(reading.anchor, name, None, bad("jump"))


def _may_follow(point: Point, before: _Seen, now: _Seen) -> bool:
    moved = now.value - before.value
    if point.kind == "counter" and moved < 0:
        return False
    if point.max_rate is None:
        return True
    return abs(moved) <= point.max_rate * max((now.at_ns - before.at_ns) / 1e9, _SPAN_S[point.kind])
