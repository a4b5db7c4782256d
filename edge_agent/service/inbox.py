"""What the links bring, until the next turn takes it. Bounded: when a turn is late, the oldest readings go, counted.

A reading that passes a limit is urgent, once: it asks for a turn at once, and again only when it was within between.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping

from edge_agent.model.reading import GOOD, Reading
from edge_agent.model.record import Entry
from edge_agent.model.site import Source

CAPACITY = 50_000
"""Readings. A turn of a thousand variables a second may be fifty seconds late; that is some 15 MB."""

Limits = Mapping[tuple[str, str], tuple[float, float]]
"""By (source, point): below and above which a reading is urgent."""
NONE: Limits = {}


class Inbox:
    """One for the agent; every link puts, the loop takes. Used from the event loop alone."""

    def __init__(self, capacity: int = CAPACITY, limits: Limits = NONE) -> None:
        self._readings: deque[Reading] = deque(maxlen=capacity)
        self._dropped: Counter[str] = Counter()
        self._news = asyncio.Event()
        self._limits = limits
        self._beyond: set[tuple[str, str]] = set()
        self.urgent = asyncio.Event()
        """Set when a turn should be made at once; whoever makes it clears it."""
        self.received = 0
        """Readings put since start."""

    def put(self, readings: Iterable[Reading]) -> None:
        """Add readings; the oldest give way when there is no room."""
        readings = list(readings)
        self.received += len(readings)
        lost = len(self._readings) + len(readings) - (self._readings.maxlen or 0)
        if lost > 0:
            self._dropped["inbox full"] += lost
        self._readings.extend(readings)
        self._news.set()
        if self._limits:
            self._look_at(readings)

    def renew(self, sources: Iterable[Source], kept: frozenset[str]) -> None:
        """Go over to other sources; readings of those not in `kept` are dropped and counted."""
        held = [reading for reading in self._readings if reading.anchor.source in kept]
        lost = len(self._readings) - len(held)
        if lost:
            self._dropped["read before its source was changed"] += lost
        self._readings = deque(held, self._readings.maxlen)
        self._limits = limits_of(sources)
        self._beyond = {place for place in self._beyond if place[0] in kept}

    async def news(self) -> None:
        """Wait until something is put after this call."""
        self._news.clear()
        await self._news.wait()

    def take(self) -> tuple[list[Reading], list[Entry]]:
        """Return what came since the last call, and an entry for what was lost meanwhile."""
        readings = list(self._readings)
        self._readings.clear()
        entries = [Entry("drop", {"reason": reason, "count": count}) for reason, count in self._dropped.items()]
        self._dropped.clear()
        return readings, entries

    def _look_at(self, readings: Iterable[Reading]) -> None:
        for reading in readings:
            place = (reading.anchor.source, reading.point)
            limits = self._limits.get(place)
            if limits is None or reading.quality != GOOD or not isinstance(reading.value, (int, float)):
                continue
            if limits[0] <= reading.value <= limits[1]:
                self._beyond.discard(place)
            elif place not in self._beyond:
                self._beyond.add(place)
                self.urgent.set()


def limits_of(sources: Iterable[Source]) -> Limits:
    """Return the limits of all points that have one."""
    return {
        (source.name, point.name): (
            -math.inf if point.alarm_below is None else point.alarm_below,
            math.inf if point.alarm_above is None else point.alarm_above,
        )
        for source in sources
        for point in source.points
        if (point.alarm_above, point.alarm_below) != (None, None)
    }
