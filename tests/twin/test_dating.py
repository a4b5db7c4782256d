import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.reading import Instant
from edge_agent.twin.civil import days_before, iso_ms
from edge_agent.twin.dating import AHEAD_MS, Dating

NOW = Instant(1_795_624_800_000, 5_000_000_000, synced=True)
UNSURE = Instant(1_000, 5_000_000_000, synced=False)


def test_what_has_no_time_of_its_own_is_of_now():
    dating = Dating()
    assert dating.date("t", None, NOW, 30) == ("new", NOW, "good")
    assert dating.date("t", None, NOW, 30) == ("new", NOW, "good")


def test_what_has_one_is_dated_by_it_on_both_clocks():
    date = Dating().date("t", NOW.at_ms - 2000, NOW, 30)
    assert date == ("new", Instant(NOW.at_ms - 2000, NOW.mono_ns - 2_000_000_000, synced=True), "good")


def test_pain_5_what_is_told_again_is_not_new_and_what_is_older_is_said_to_be():
    dating = Dating()
    assert dating.date("t", NOW.at_ms - 1000, NOW, 30).verdict == "new"
    assert dating.date("t", NOW.at_ms - 1000, NOW, 30).verdict == "known"
    assert dating.date("t", NOW.at_ms - 1001, NOW, 30).verdict == "older"
    assert dating.date("other", NOW.at_ms - 1001, NOW, 30).verdict == "new"
    assert dating.date("t", NOW.at_ms - 999, NOW, 30).verdict == "new"


def test_what_is_old_says_so_though_it_is_the_first():
    assert Dating().date("t", NOW.at_ms - 30_000, NOW, 30).quality == "good"
    assert Dating().date("t", NOW.at_ms - 30_001, NOW, 30).quality == "uncertain:stale"
    assert Dating().date("t", 0, NOW, 30).quality == "uncertain:stale"


def test_a_device_a_little_ahead_is_of_now():
    assert Dating().date("t", NOW.at_ms + AHEAD_MS, NOW, 30) == ("new", NOW, "good")


def test_a_time_that_cannot_be_is_doubted_and_does_not_shut_out_the_true_ones():
    dating = Dating()
    assert dating.date("t", NOW.at_ms + AHEAD_MS + 1, NOW, 30) == ("new", NOW, "uncertain:clock")
    assert dating.date("t", NOW.at_ms, NOW, 30).quality == "good"


def test_while_our_clock_is_not_true_the_first_is_of_unknown_age_and_later_ones_are_new():
    dating = Dating()
    first = dating.date("t", NOW.at_ms, UNSURE, 30)
    assert first == ("new", Instant(NOW.at_ms, UNSURE.mono_ns, synced=False), "uncertain:stale")
    assert dating.date("t", NOW.at_ms, UNSURE, 30).verdict == "known"
    assert dating.date("t", NOW.at_ms + 1, UNSURE, 30).quality == "good"


def test_a_time_far_ahead_taken_before_our_clock_was_true_is_forgotten_then():
    dating = Dating()
    dating.date("t", NOW.at_ms + 10 * AHEAD_MS, UNSURE, 30)
    assert dating.date("t", NOW.at_ms, NOW, 30)[::2] == ("new", "good")


def test_memory_stays_flat_whatever_comes():
    dating = Dating()
    for i in range(25_000):
        dating.date(f"topic/{i}", NOW.at_ms, NOW, 30)
    assert len(dating._newest) == 10_000
    assert dating.date("topic/24999", NOW.at_ms, NOW, 30).verdict == "known"


@given(st.lists(st.integers(NOW.at_ms - 10_000, NOW.at_ms + 1000), max_size=20))
def test_only_what_is_newer_than_all_before_is_new(times):
    dating, newest = Dating(), -1
    for own in times:
        assert (dating.date("t", own, NOW, 30).verdict == "new") is (own > newest)
        newest = max(newest, own)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00+00:00", 0),
        ("2026-11-25T17:20:00Z", 1795627200_000),
        ("2026-11-25T18:20:00.5+01:00", 1795627200_500),
        ("2026-11-25T12:20:00,123456-0500", 1795627200_123),
        ("2026-11-25 17:20Z", 1795627200_000),
        ("2000-02-29T00:00:00Z", 951782400_000),
        ("1969-12-31T23:59:59Z", -1000),
        ("2026-11-25T17:20:00", None),
        ("2100-02-29T00:00:00Z", None),
        ("2026-13-01T00:00:00Z", None),
        ("2026-11-25T24:00:00Z", None),
        ("2026-11-25", None),
        ("yesterday", None),
        ("", None),
        ("٢٠٢٦-11-25T17:20:00Z", None),
    ],
)
def test_iso_times(text, wanted):
    assert iso_ms(text) == wanted


def test_a_time_without_a_zone_is_utc_only_where_that_is_said():
    assert iso_ms("2026-11-25T17:20:00", zoneless=True) == 1795627200_000


@given(st.datetimes())
def test_days_are_those_of_the_calendar(at):
    epoch = at.replace(year=1970, month=1, day=1).date()
    assert days_before(at.year, at.month, at.day) == (at.date() - epoch).days
