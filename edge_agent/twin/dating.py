"""When something was true, by the device's own time: a value that is only told again is never dated anew.

Devices and the programs between us and them (a bridge that starts again, a broker that retains) repeat what they said
before. Where a device says when it read a value, that time dates it, and what is not newer than the last is not new.
Comparing a device's times with one another needs no clock of ours; judging its age does, and a true one.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Literal, NamedTuple

from edge_agent.model.reading import GOOD, Instant, uncertain

AHEAD_MS = 120_000
"""How far a device's clock may be ahead of ours. Beyond it the time is a mistake, and would shut out all true ones."""
_KEYS = 10_000
"""Devices and topics whose last time is remembered."""


class Date(NamedTuple):
    """How something that came is to be taken."""

    verdict: Literal["new", "known", "older"]
    """"known": as old as the last. "older": than that."""
    at: Instant
    quality: str
    """Of a value that is good in itself."""


class Dating:
    """Remembers the newest own time of each thing that has one."""

    def __init__(self) -> None:
        self._newest: OrderedDict[Hashable, int] = OrderedDict()

    def date(self, key: Hashable, own_ms: int | None, now: Instant, stale_s: float) -> Date:
        """Date something that came now; `own_ms` is when the device says it was true, None when it does not say.

        Good when it is no older than `stale_s`. While our own clock is not true the first is of an unknown age.
        """
        if own_ms is None:
            return Date("new", now, GOOD)
        if now.synced and own_ms > now.at_ms + AHEAD_MS:
            return Date("new", now, uncertain("clock"))
        newest = self._newest.get(key)
        if newest is not None and now.synced and newest > now.at_ms + AHEAD_MS:
            newest = None  # taken for true before our own clock was
        if newest is not None and own_ms <= newest:
            age = "known" if own_ms == newest else "older"
            return Date(age, *_aged(own_ms, now, stale_s, first=False))  # type: ignore[arg-type]
        self._newest[key] = own_ms
        self._newest.move_to_end(key)
        if len(self._newest) > _KEYS:
            self._newest.popitem(last=False)
        return Date("new", *_aged(own_ms, now, stale_s, first=newest is None))


def _aged(own_ms: int, now: Instant, stale_s: float, *, first: bool) -> tuple[Instant, str]:
    if not now.synced:
        return Instant(own_ms, now.mono_ns, synced=False), uncertain("stale") if first else GOOD
    age_ms = max(0, now.at_ms - own_ms)
    at = Instant(now.at_ms - age_ms, now.mono_ns - age_ms * 1_000_000, synced=True)
    return at, GOOD if age_ms <= stale_s * 1000 else uncertain("stale")
