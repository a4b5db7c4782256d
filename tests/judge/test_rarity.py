"""The tail that calibrates itself (judge/tail.py), and the readings that are called rare by it (judge/detectors/spike.py)."""

import json
import math
import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.judge import tail
from edge_agent.judge.monitor import Monitor
from tests.judge.test_detectors import DAY, START_MS, STEP_MS, daily, feed, monitor, normal


def taught(draw, count=20_000, seed=1):
    """Return a tail that has seen so many sizes, and the decades of each beyond its first half."""
    own = array("d", [0.0]) * (1 + tail.FIGURES)
    tail.begin(own, 1)
    rng = random.Random(seed)
    mean, said = 0.0, []
    for number in range(1, count + 1):
        size = abs(draw(rng))
        mean += (size - mean) / number
        tail.fall(own, 1)
        beyond = size / mean > own[1]
        decades = tail.rarity(own, 1, size / mean) if beyond else 0.0
        if number > count / 2:
            said.append(decades)
    return own, said


def heavy(rng):
    return rng.gauss(0, 1) / math.sqrt(sum(rng.gauss(0, 1) ** 2 for _ in range(3)) / 3)


@pytest.mark.parametrize(
    "draw",
    [lambda rng: rng.gauss(0, 1), lambda rng: rng.gauss(0, 1e-90), lambda rng: rng.expovariate(1), heavy],
    ids=["normal", "tiny", "exponential", "Student's with 3"],
)
def test_a_tail_says_of_nearly_any_variable_how_rare_a_size_is(draw):
    _, said = taught(draw)
    for decades, least, most in ((2.0, 60, 140), (3.0, 3, 25)):  # 100 and 10 are due in 10 000
        assert least <= sum(each >= decades for each in said) <= most


def test_a_tail_is_bounded_whatever_it_takes():
    own, _ = taught(lambda rng: rng.gauss(0, 1), 500)
    assert tail.rarity(own, 1, 1e300) == tail.RAREST
    assert tail.rarity(own, 1, 5.0) > 0
    assert tail.is_sound(own, 1)
    assert all(map(math.isfinite, own))


def of_kind(alarms, kind="spike"):
    return [at for at, which in alarms if which == kind]


def test_a_reading_is_rare_at_its_time_of_day_that_is_none_at_another():
    watched = monitor(warmup=2 * DAY)
    values = daily(3, 12 * DAY, swing=10.0)
    feed(watched, values)
    night = 12 * DAY + DAY // 4
    quiet = feed(watched, daily(4, DAY // 4, swing=10.0, start=12 * DAY), start=12 * DAY)
    assert of_kind(quiet) == []
    assert of_kind(feed(watched, [-1.0], start=night)) == [0]  # 11 below its noon, and above each midnight


def test_an_episode_is_said_once_unless_it_becomes_rarer():
    watched = monitor()
    feed(watched, normal(1, 1200))
    told = feed(watched, [15.3, 10.0, 14.5, 10.0, 14.9, 10.0, 60.0], start=1200)
    assert of_kind(told) == [0, 6]


def test_within_an_episode_only_what_is_rarer_has_a_score():
    watched = monitor()
    feed(watched, normal(1, 1200))
    scores = []
    for place, value in enumerate((14.6, 10.0, 14.4, 10.0, 25.0)):
        feed(watched, [value], start=1200 + place)
        scores.append(watched.score)
    first, _, lower, _, higher = scores
    assert 0 < first < higher
    assert lower == 0


def test_the_score_of_a_rare_reading_is_comparable_over_units_and_levels():
    scores = []
    for scale, level in ((1.0, 0.0), (1e-3, 5.0), (1e6, -3e9)):
        watched = monitor(season_s=0)
        feed(watched, [level + scale * value for value in normal(5, 900, mean=0.0)])
        feed(watched, [level + scale * 5.0], start=900)
        scores.append(watched.score)
    assert scores[0] > 0.3
    assert scores == pytest.approx([scores[0]] * 3, rel=1e-4)


def test_a_chart_on_its_way_to_the_bar_has_no_score():
    watched = monitor(season_s=0)
    feed(watched, normal(6, 1500))
    for place in range(14):
        if feed(watched, [10.7], start=1500 + place):
            break
        assert watched.score == 0
    assert watched.top > 0


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([0.0, 1.0, -1e308, 1e308, 5e-324, 1e150, 1e-300]),
            st.floats(allow_nan=False, allow_infinity=False),
            st.none(),
        ),
        max_size=40,
    ),
    st.lists(st.integers(-3, 3), min_size=40, max_size=40),
    st.sampled_from([normal(2, 300), [7.0] * 300, [0.0, 1.0] * 150, [round(x) for x in normal(3, 300)], [1e308] * 300]),
)
def test_nothing_that_is_read_breaks_it_and_it_goes_on_the_same_after_a_restart(values, hops, before):
    one = monitor(warmup=60)
    feed(one, before)
    other = Monitor.from_state(one.subject, one._settings, json.loads(json.dumps(one.to_state())))
    at_ms = START_MS + 300 * STEP_MS
    for value, hop in zip(values, hops, strict=False):
        at_ms += hop * STEP_MS  # time stands still, or goes backwards, too
        if value is not None:
            one.update(value, at_ms * 1_000_000, at_ms)
            other.update(value, at_ms * 1_000_000, at_ms)
            assert 0 <= one.score <= 1
            assert one.score == other.score
    assert json.dumps(one.to_state(), allow_nan=False) == json.dumps(other.to_state(), allow_nan=False)
