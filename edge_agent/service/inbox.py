"""What the links bring, until the next turn takes it. Bounded: when a turn is late, the oldest readings go, counted."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable

from edge_agent.model.reading import Reading
from edge_agent.model.record import Entry

CAPACITY = 50_000
"""Readings. A turn of a thousand variables a second may be fifty seconds late; that is some 15 MB."""


class Inbox:
    """One for the agent; every link puts, the loop takes. Used from the event loop alone."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._readings: deque[Reading] = deque(maxlen=capacity)
        self._dropped: Counter[str] = Counter()
        self._news = asyncio.Event()
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
