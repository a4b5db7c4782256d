"""The days of a plant: where one begins and ends. Which ones people there live by, a calendar tells from outside."""

from collections.abc import Callable
from typing import NamedTuple

DAY_MS = 86_400_000


class Day(NamedTuple):
    """A day."""

    number: int
    """Since 1970: 0 is a Thursday."""
    begins_ms: int
    """Wall time of its first millisecond."""
    ends_ms: int
    """Wall time of the first of the next."""


DayOf = Callable[[int], Day]
"""From a wall time in milliseconds since 1970 to the day that it belongs to."""


def utc_day(at_ms: int) -> Day:
    """Return the day in UTC."""
    number = at_ms // DAY_MS
    return Day(number, number * DAY_MS, (number + 1) * DAY_MS)
