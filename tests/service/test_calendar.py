"""The days of a time zone: they follow each other without a hole, and are of 23 and 25 hours when summer time turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sites import METER, site

from edge_agent.judge.days import DAY_MS, utc_day
from edge_agent.service.calendar import days_in
from edge_agent.service.learned import watch_over
from edge_agent.twin.baseline import baseline, empty_world

HOUR_MS = 3_600_000
BERLIN, APIA, KOLKATA = "Europe/Berlin", "Pacific/Apia", "Asia/Kolkata"
NEW_YEAR = 1_704_067_200_000
"""2024-01-01T00:00Z, a Monday."""


@pytest.mark.parametrize(
    ("zone", "at_ms", "begins_ms", "hours"),
    [
        (BERLIN, NEW_YEAR, NEW_YEAR - HOUR_MS, 24),
        (BERLIN, NEW_YEAR - HOUR_MS, NEW_YEAR - HOUR_MS, 24),
        (BERLIN, NEW_YEAR - HOUR_MS - 1, NEW_YEAR - 25 * HOUR_MS, 24),
        (BERLIN, 1_711_854_000_000, 1_711_839_600_000, 23),  # 31 March 2024
        (BERLIN, 1_730_030_400_000, 1_729_980_000_000, 25),  # 27 October 2024
        (KOLKATA, NEW_YEAR, NEW_YEAR - 5 * HOUR_MS - HOUR_MS // 2, 24),
    ],
)
def test_a_day_begins_at_midnight_on_the_spot(zone, at_ms, begins_ms, hours):
    day = days_in(zone)(at_ms)
    assert (day.begins_ms, day.ends_ms) == (begins_ms, begins_ms + hours * HOUR_MS)


def test_days_have_the_numbers_of_the_calendar():
    assert days_in(BERLIN)(NEW_YEAR).number == utc_day(NEW_YEAR).number
    assert days_in(BERLIN)(NEW_YEAR - HOUR_MS).number == utc_day(NEW_YEAR).number


@given(st.sampled_from([BERLIN, APIA, KOLKATA, "America/Sao_Paulo"]), st.integers(0, 2**41))
def test_days_follow_each_other(zone, at_ms):
    day_of = days_in(zone)
    day = day_of(at_ms)
    assert day.begins_ms <= at_ms < day.ends_ms
    after = day_of(day.ends_ms)
    assert after.begins_ms == day.ends_ms
    assert after.number - day.number in (1, 2), "Samoa left out a day"


@pytest.mark.parametrize("at_ms", [2**62, -(2**62)])
def test_where_no_calendar_goes_days_are_those_of_utc(at_ms):
    assert days_in(BERLIN)(at_ms).ends_ms - days_in(BERLIN)(at_ms).begins_ms == DAY_MS


@pytest.mark.parametrize(("zone", "begins_ms"), [("UTC", NEW_YEAR), (BERLIN, NEW_YEAR - HOUR_MS)])
def test_the_monitors_of_a_site_live_by_its_days(tmp_path, zone, begins_ms):
    found = site(tmp_path, METER + f'\n[drift]\ntimezone = "{zone}"\n')
    watch = watch_over(found, baseline(found, empty_world("w")), None)
    assert [monitor._profile.day_of(NEW_YEAR).begins_ms for monitor in watch.monitors.values()] == [begins_ms]
