"""The days that people at the plant live by: those of a time zone, of 23 and 25 hours where summer time begins and ends.

What weekdays change, they change at midnight on the spot; by the days of UTC a weekend would begin as a shift each time.
"""

import functools
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta

from edge_agent.judge.days import Day, DayOf, utc_day

EPOCH = date(1970, 1, 1).toordinal()


def days_in(timezone: str) -> DayOf:
    """Return how the days of a time zone lie; its name was checked with the configuration."""
    return functools.partial(_day_in, zoneinfo.ZoneInfo(timezone))


def _day_in(zone: zoneinfo.ZoneInfo, at_ms: int) -> Day:
    try:
        here = datetime.fromtimestamp(at_ms / 1000, zone).date()
        begins_ms, ends_ms = (_midnight_ms(each, zone) for each in (here, here + timedelta(days=1)))
    except (OverflowError, ValueError, OSError):  # a clock that stands where no calendar goes
        return utc_day(at_ms)
    return Day(here.toordinal() - EPOCH, begins_ms, ends_ms)


def _midnight_ms(day: date, zone: zoneinfo.ZoneInfo) -> int:
    # By way of UTC: where summer time skips midnight, the day begins when it ends.
    return int(datetime.combine(day, time(), zone).astimezone(UTC).timestamp() * 1000)
