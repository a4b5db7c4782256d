"""What every file of judge/detectors keeps to, tested by its existing; and what each of them is there for."""

import gc
import itertools
import json
import math
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.judge.days import DAY_MS, Day, utc_day
from edge_agent.judge.detectors.missing import LEAST_HOLE, Missing
from edge_agent.judge.monitor import Monitor, registry
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Subject
from edge_agent.model.checked import Name, Seconds
from edge_agent.model.profile import PathPoint
from edge_agent.model.site import DriftSettings
from edge_agent.model.world import Variable

START_MS = 1_699_920_000_000
"""A Tuesday, midnight UTC."""
STEP_MS = 300_000
DAY = 288


def monitor(budget=8640, warmup=200, season_s=86_400, kind="gauge", day_of=utc_day, **point):
    variable = Variable(1, "w:device:pump", "flow", "m3/h", kind, "pump")
    subject = Subject(variable, PathPoint(name=Name("flow"), path="$", kind=kind, **point))
    drift = DriftSettings(Seconds(budget * STEP_MS / 1000), warmup, Seconds(season_s))
    return Monitor(subject, drift, day_of=day_of)


def feed(watched, values, start=0, step_ms=STEP_MS):
    """Return (place, kind) of each alarm."""
    found = []
    for place, value in enumerate(values):
        at_ms = START_MS + (start + place) * step_ms
        alarm = watched.missed(at_ms) if value is None else watched.update(value, at_ms * 1_000_000, at_ms)
        assert 0 <= watched.score <= 1
        if alarm is not None:
            found.append((place, alarm.kind))
    return found


def normal(seed, count, mean=10.0, sigma=1.0):
    rng = random.Random(seed)
    return [rng.gauss(mean, sigma) for _ in range(count)]


def daily(seed, count, swing=3.0, start=0):
    rng = random.Random(seed)
    return [rng.gauss(0, 1) + swing * math.sin(2 * math.pi * (start + t) / DAY) for t in range(count)]


def stuck(v):
    return [v[0]] * len(v)


def still(v):
    return [v[0] + (x - v[0]) / 100 for x in v]


TROUBLES = {
    "shift": ({}, lambda v: [x + 2 for x in v], 30),
    "variance": ({}, lambda v: [10 + (x - 10) * 2 for x in v], 120),
    "spike": ({}, lambda v: [30.0, *v[1:]], 1),
    "stuck": ({}, stuck, 8),
    "still": ({}, still, 40),
    "missing": ({}, lambda v: [None] * len(v), 8),
    "limit": ({"alarm_above": 20.0}, lambda v: [21.0, *v[1:]], 1),
    "rate": ({"max_rate": 0.1}, lambda v: [v[0] + 0.11 * STEP_MS / 1000, *v[1:]], 1),
}
"""For each detector: its point's settings, what happens to good readings, and within how many it must be said."""
EXEMPT = {"season"}
"""Has a test of its own below: it takes days."""


def test_each_detector_has_a_trouble_it_is_there_for():
    assert set(registry()) == set(TROUBLES) | EXEMPT


@pytest.mark.parametrize("kind", TROUBLES)
def test_each_trouble_is_noticed_in_time_said_with_numbers_and_ends(kind):
    point, trouble, within = TROUBLES[kind]
    watched = monitor(season_s=0, **point)
    before = feed(watched, normal(3, 900))
    assert not before
    trouble_values = trouble(normal(4, 120))
    found = feed(watched, trouble_values[:within], start=900)
    at = next((place for place, which in found if which == kind), None)
    assert at is not None, found
    said = next(f for f in watched.findings({}, START_MS) if f.kind == kind)
    assert "pump.flow" in said.sentence
    assert any(c.isdigit() for c in said.sentence) or kind == "still"
    assert said.since_ms >= START_MS
    feed(watched, trouble_values[within:], start=900 + within)
    feed(watched, normal(5, 2500), start=1020)
    assert not [f for f in watched.findings({}, START_MS) if f.kind == kind], "it ends when it ends"


@pytest.mark.parametrize("kind", TROUBLES)
def test_a_restart_in_the_middle_of_a_trouble_changes_nothing(kind):
    point, trouble, within = TROUBLES[kind]
    whole = monitor(**point)
    values = [*normal(3, 900), *trouble(normal(4, 120)), *normal(5, 200)]
    cut = 900 + max(1, within // 2)
    feed(whole, values[:cut])
    state = json.loads(json.dumps(whole.to_state(), allow_nan=False))
    again = Monitor.from_state(whole.subject, whole._settings, state)
    assert again.to_state() == whole.to_state()
    assert feed(again, values[cut:], start=cut) == feed(whole, values[cut:], start=cut)
    assert again.to_state() == whole.to_state()


def test_nothing_is_said_of_the_first_readings():
    watched = monitor()
    for place, value in enumerate([*normal(1, 20), *normal(2, 100, mean=99)]):
        watched.update(value, place * STEP_MS * 10**6, START_MS + place * STEP_MS)
        assert watched.score == 0.0


def test_the_first_reading_after_the_warm_up_follows_the_last_of_it():
    """A variable that goes slowly ends its warm-up far from its mean, and stays there: that was called a spike."""
    for seed in range(40):
        rng, x, values = random.Random(seed), 0.0, []
        for _ in range(210):
            x = 0.97 * x + rng.gauss(0, 0.1)
            values.append(x)
        assert [at for at, kind in feed(monitor(warmup=200, season_s=0), values) if at == 200] == []


def test_a_season_is_learned_in_the_warm_up_and_a_shift_under_it_is_found_soon():
    delays = []
    for seed in range(6):
        watched = monitor(warmup=3 * DAY)
        feed(watched, daily(seed, 5 * DAY))
        assert watched._profile.curve is not None
        found = feed(watched, [x + 2 for x in daily(seed + 50, 100, start=5 * DAY)], start=5 * DAY)
        delays.append(found[0][0] if found else 100)
    assert sum(delays) / len(delays) <= 20


@pytest.mark.parametrize("hour", [0, 8])
def test_a_slope_under_a_season_is_not_taken_for_a_swing_of_the_day(hour):
    """For hours it looks like one; a plant that runs away would be told to rest."""
    slopes = []
    for seed in range(6):
        watched, at = monitor(warmup=3 * DAY), 5 * DAY + hour * 12
        feed(watched, daily(seed, at))
        feed(watched, [x + 0.05 * t for t, x in enumerate(daily(seed + 50, 96, start=at))], start=at)
        shift = next(each for each in watched._detectors if each.kind == "shift")
        slopes.append(shift.open.heading(shift.base)[1] * STEP_MS / 1000)
    assert sum(slopes) / len(slopes) == pytest.approx(0.05, rel=0.25)


def test_a_variable_read_each_second_learns_on_though_a_day_has_many_readings():
    watched = monitor(warmup=60)
    feed(watched, normal(1, 60 + 480), step_ms=1000)
    assert watched.insight().baseline.size > 400


def test_what_goes_on_alarms_once():
    watched = monitor(season_s=0)
    feed(watched, normal(1, 600))
    found = feed(watched, [10.0] * 400, start=600)
    assert [kind for _, kind in found] == ["stuck"]


def test_a_variable_of_rare_bursts_cannot_shout_all_day():
    rng = random.Random(5)
    watched = monitor(season_s=0)
    found = feed(watched, [rng.choice((0.0, 0.0, 0.0, 0.0, rng.uniform(1, 1e6))) for _ in range(3000)])
    assert len(found) <= 12


def test_what_was_constant_and_moves_is_said_and_learned_anew():
    watched = monitor()
    flowing = normal(5, 2000, mean=40.0, sigma=3.0)
    feed(watched, [0.0] * 600)
    found = feed(watched, flowing[:60], start=600)
    assert [kind for _, kind in found] == ["spike", "shift"]
    assert found[-1][0] <= 3
    watched = again(watched)
    sentences = [finding.sentence for finding in watched.findings({}, START_MS)]
    assert any("above its baseline" in each for each in sentences), "it is still said, though there was a restart"
    assert not feed(watched, flowing[60:800], start=660)
    assert not watched.findings({}, START_MS), "it is the usual now"
    assert feed(watched, [x + 9 for x in flowing[800:900]], start=1400)[0][0] < 10


def test_a_constant_that_stays_constant_notices_the_smallest_move():
    watched = monitor()
    feed(watched, [7.0] * 4000)
    assert feed(watched, [7.1] * 40, start=4000)


def test_what_rests_is_stuck_missing_or_beyond_its_limit_like_any_other():
    watched = monitor(alarm_above=20.0)
    assert not feed(watched, [7.0] * 2000)
    at_ms = START_MS + 2040 * STEP_MS
    late = watched.update(7.0, at_ms * 1_000_000, at_ms)
    assert late is not None
    assert late.kind == "missing"
    above = monitor(alarm_above=20.0, warmup=60)
    assert [kind for _, kind in feed(above, [21.0] * 400)] == ["limit"]
    assert above.findings({}, START_MS)


@pytest.mark.parametrize("at", [61, 62, 300, 2000])
def test_a_restart_of_what_rests_changes_nothing(at):
    one = monitor(warmup=60)
    feed(one, [7.0] * at)
    other = again(one)
    assert one.to_state() == other.to_state()
    rest = [7.0] * 50 + [7.0, 9.0, 7.0, 7.0] * 40
    assert feed(one, rest, start=at) == feed(other, rest, start=at)


def test_bursts_after_a_long_rest_are_not_each_a_new_scatter():
    rng = random.Random(3)
    watched = monitor(warmup=120)
    bursts = [0.0 if t % 37 else rng.uniform(1e6, 1e8) for t in range(1, 4000)]
    assert len(feed(watched, [0.0] * 700 + bursts)) <= 8


def test_a_far_larger_scatter_is_one_change_and_not_one_of_a_few_sigma_after_another():
    watched = monitor(season_s=0)
    feed(watched, normal(1, 1000))
    found = feed(watched, normal(2, 400, sigma=500.0), start=1000)
    assert len([kind for _, kind in found if kind == "variance"]) <= 3, "by the clip alone it would take five"
    assert watched._expected.baseline.sigma == pytest.approx(500, rel=0.5)


def job(seed, days, at=100, size=12.0, first=0):
    """Return readings with a job that is done each day at the same time, give or take a reading."""
    rng = random.Random(seed)
    values = [rng.gauss(10, 1) for _ in range(days * DAY)]
    for day in range(first, days):
        values[day * DAY + at + rng.choice((-1, 0, 1))] += size
    return values


def score_of(watched, value, start, at, seed):
    """Return the score of a value in a day of good readings."""
    values = normal(seed, DAY)
    feed(watched, values[:at], start=start)
    feed(watched, [value], start=start + at)
    score = watched.score
    feed(watched, values[at + 1 :], start=start + at + 1)
    return score


def test_what_comes_each_day_at_the_same_time_is_no_news():
    watched = monitor(warmup=DAY)
    found = feed(watched, job(1, 9, first=5))
    assert [kind for _, kind in found if kind == "spike"] == ["spike"], "the first"
    assert score_of(watched, 22.0, start=9 * DAY, at=100, seed=2) == 0.0
    assert score_of(watched, 22.0, start=10 * DAY, at=230, seed=3) > 0.3, "at another time it is"
    assert score_of(watched, 60.0, start=11 * DAY, at=100, seed=4) > 0.4, "and so is a larger one"


def test_a_habit_that_was_given_up_is_forgotten():
    watched = monitor(warmup=DAY)
    values = job(1, 8, first=5) + normal(2, 12 * DAY)
    feed(watched, values)
    assert score_of(watched, 22.0, start=len(values), at=100, seed=3) > 0.3


def turns_stuck(watched, values, start, moves):
    """Hang at each of the values for 30 readings, and move as usual after it; return which were said, and the place."""
    said = []
    for turn, value in enumerate(values):
        spell = [value] * 30 + normal(turn, moves)
        said += [turn for _, kind in feed(watched, spell, start) if kind == "stuck"]
        start += len(spell)
    return said, start


def test_what_rests_at_the_same_value_again_is_at_rest():
    watched = monitor(season_s=0)
    feed(watched, normal(1, 600))
    said, start = turns_stuck(watched, [0.0] * 8, 600, moves=60)
    assert said == [0, 1]
    assert feed(watched, [0.0] * 80, start)[-1][1] == "stuck", "but not for as long as one likes"


def test_what_hangs_at_another_value_each_time_is_stuck_each_time():
    watched = monitor(season_s=0)
    feed(watched, normal(1, 600))
    assert turns_stuck(watched, [10.0, 11.0, 12.0], 600, moves=200)[0] == [0, 1, 2]


def again(watched):
    """Return the monitor as it is after a restart."""
    kept = json.loads(json.dumps(watched.to_state()))
    return Monitor.from_state(watched.subject, watched._settings, kept)


def test_a_day_with_edges_is_expected_with_them():
    def office(seed, days):
        rng = random.Random(seed)
        return [rng.gauss(8.0 * (90 <= t % DAY < 198), 1) for t in range(days * DAY)]

    watched = monitor(warmup=3 * DAY)
    feed(watched, office(1, 14))
    before, after = (watched._profile.offset(START_MS + t * STEP_MS) for t in (86, 94))
    assert after - before > 5, "three harmonics alone rise by 2.5 in these 40 minutes"


def test_noise_has_no_edges():
    watched = monitor(warmup=3 * DAY)
    feed(watched, daily(6, 12 * DAY))
    curve = watched._profile.curve
    steps = [abs(b - a) for a, b in itertools.pairwise(curve)]
    assert max(steps) < 0.4, "the sine rises by 0.3 from one knot to the next"


def weekly(seed, days):
    """Return days from a Monday on whose weekends are lower, and swing less."""
    rng = random.Random(seed)
    found = []
    for t in range(days * DAY):
        wave = 3 * math.sin(2 * math.pi * t / DAY) + math.sin(4 * math.pi * t / DAY + 1)
        found.append(rng.gauss(0, 1) + (wave if t // DAY % 7 < 5 else 0.4 * wave - 2))
    return found


MONDAY = 6 * DAY
"""The first after START_MS."""


def test_the_first_weekend_is_said_and_followed_and_over_on_monday():
    said = []
    for seed in range(12):
        watched = monitor(warmup=1000)
        values = weekly(seed, 24)
        found = feed(watched, values[: 9 * DAY], start=MONDAY)
        assert 5 in [place // DAY for place, _ in found]
        assert not [each for each in watched.findings({}, START_MS) if each.kind == "shift"], "Monday is as Monday was"
        said += found + feed(watched, values[9 * DAY :], start=MONDAY + 9 * DAY)
    assert len(said) <= 40, "with the weeks that follow; by the level alone it was 46"


def test_weekends_are_those_of_the_people_there():
    def day_of(at_ms):
        number = (at_ms + two_hours_ms) // DAY_MS
        return Day(number, number * DAY_MS - two_hours_ms, (number + 1) * DAY_MS - two_hours_ms)

    two_hours_ms, ahead = 7_200_000, 24
    said = {"there": 0, "in UTC": 0}
    for seed in range(6):
        values = weekly(seed, 36)[ahead:]
        for where, watched in (("there", monitor(warmup=1000, day_of=day_of)), ("in UTC", monitor(warmup=1000))):
            said[where] += len(feed(watched, values, start=MONDAY))
    assert said["there"] <= 24
    assert said["in UTC"] > 1.5 * said["there"]


def test_a_shift_on_a_weekend_that_was_not_known_stays_a_shift_on_monday():
    watched = monitor(warmup=1000)
    values = weekly(3, 9)
    feed(watched, values[: 5 * DAY + DAY // 2], start=MONDAY)
    for t in range(5 * DAY + DAY // 2, 9 * DAY):
        values[t] += 6
    assert feed(watched, values[5 * DAY + DAY // 2 :], start=MONDAY + 5 * DAY + DAY // 2)
    assert [each for each in watched.findings({}, START_MS) if each.kind == "shift"]


def test_noise_has_no_season():
    watched = monitor(warmup=3 * DAY)
    feed(watched, normal(8, 4 * DAY))
    assert watched._profile.curve is None


def test_a_changed_season_is_noticed():
    watched = monitor(warmup=3 * DAY)
    feed(watched, daily(1, 5 * DAY))
    found = feed(watched, [-x for x in daily(2, 3 * DAY, start=5 * DAY)], start=5 * DAY)
    assert found, "the day runs backwards"


def test_a_bar_is_raised_by_alarms_and_says_so():
    watched = monitor(season_s=0)
    level = 0.0
    rng = random.Random(7)
    values = normal(7, 400)
    for _ in range(6):
        level += 6
        values += [rng.gauss(10 + level, 1) for _ in range(150)]
    feed(watched, values)
    assert "more alarms than budgeted" in " ".join(f.sentence for f in watched.findings({}, START_MS))


def test_a_new_level_becomes_the_usual_one_and_the_way_back_is_news():
    watched = monitor(season_s=0)
    feed(watched, normal(1, 600))
    found = feed(watched, normal(2, 2000, mean=15), start=600)
    assert found[0][0] < 10
    assert not watched.findings({}, START_MS), "it has rested there for more than four warm-ups"
    assert feed(watched, normal(3, 60), start=2600)[0][0] < 10


def test_a_counter_that_wraps_or_is_reset_is_no_trouble():
    watched = monitor(kind="counter", max_rate=1.0)
    values = [*range(0, 60_000, 100), *range(0, 60_000, 100), *range(5, 500, 5)]
    assert not feed(watched, values)


BAD_STREAMS = {
    "constant": [5.0] * 600,
    "two levels": [0.0, 1.0] * 300,
    "seldom two levels": ([0.0] * 50 + [1.0] * 50) * 6,
    "huge": [1e308, -1e308] * 300,
    "huge once": [*normal(1, 300), 1e308, *normal(2, 300)],
    "denormal": [5e-324, 0.0] * 300,
    "unit changes": [*normal(1, 400, mean=20), *normal(2, 200, mean=68, sigma=1.8)],
    "all missing": [None] * 600,
    "half missing": [None, 1.0] * 300,
    "holes": ([*normal(1, 40), *[None] * 20]) * 10,
}


@pytest.mark.parametrize("name", BAD_STREAMS)
def test_no_stream_breaks_it_or_makes_it_grow(name):
    watched = monitor(warmup=100)
    values = BAD_STREAMS[name]
    feed(watched, values)
    grown = _size(watched)
    for turn in range(1, 4):
        feed(watched, values, start=turn * len(values))
    assert _size(watched) <= grown + 300, "no more than a second warm-up is gathered"
    for finding in watched.findings({}, START_MS):
        assert 0 <= finding.score <= 1
        assert 0 <= finding.confidence < 1 or finding.kind in ("limit", "missing")
        assert "nan" not in finding.sentence
        assert "inf" not in finding.sentence
    json.dumps(watched.to_state(), allow_nan=False)


@pytest.mark.parametrize("told", [True, False])
def test_holes_of_the_warm_up_are_known_afterwards(told):
    watched = monitor(season_s=0, warmup=200)
    rng = random.Random(4)
    at_ms = START_MS
    found = []
    for place in range(900):
        hole = place % 60 == 30 and (told or place > 200)
        at_ms += STEP_MS * (8 if hole else 1)
        alarm = watched.update(rng.gauss(10, 1), at_ms * 1_000_000, at_ms)
        found += [] if alarm is None else [alarm.kind]
    assert ("missing" in found) is not told
    at_ms += 60 * STEP_MS
    alarm = watched.update(10.0, at_ms * 1_000_000, at_ms)
    assert alarm is not None, "a far longer one is news"
    assert alarm.kind == "missing"


def test_the_first_hole_after_a_month_of_good_readings_is_weighed():
    missing, step = Missing(), Step()
    for _ in range(2_250_000):  # a halving in each 2048, until nothing was left of the share of holes
        missing.update(step)
    assert [missing.missed() for _ in range(LEAST_HOLE)][-1] > 0


def _size(watched):
    return json.dumps(watched.to_state()).count(",")


clocks = st.lists(
    st.sampled_from([0, 1, STEP_MS, STEP_MS, STEP_MS, -3_600_000, 3_600_000, 40 * 365 * 86_400_000]), min_size=1
)
values = (
    st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1.0, 1e308, -1e308, 5e-324]) | st.none()
)


@settings(max_examples=60)
@given(st.lists(values, min_size=1, max_size=300), clocks, st.integers(0, 3))
def test_any_values_on_any_clock_give_scores_and_a_state_that_can_be_kept(stream, steps, seed):
    watched = monitor(warmup=20)
    feed(watched, normal(seed, 60))
    at_ms = START_MS + 60 * STEP_MS
    for place, value in enumerate(stream):
        at_ms = min(2**42, max(0, at_ms + steps[place % len(steps)]))
        if value is None:
            watched.missed(at_ms)
        else:
            watched.update(value, at_ms * 1_000_000, at_ms)
        assert 0 <= watched.score <= 1
        for finding in watched.findings({}, at_ms):
            assert math.isfinite(finding.score)
    state = json.loads(json.dumps(watched.to_state(), allow_nan=False))
    again = Monitor.from_state(watched.subject, watched._settings, state)
    assert again.to_state() == watched.to_state()


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-(2**70), 2**70) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(st.sampled_from(["own", "warmup", "profile", "expected", "detectors", "raised", "said"]), json_values)
def test_a_state_with_any_part_exchanged_is_taken_or_left_and_never_breaks(part, other):
    watched = monitor(warmup=60)
    feed(watched, normal(1, 120))
    damaged = {**json.loads(json.dumps(watched.to_state())), part: other}
    again = Monitor.from_state(watched.subject, watched._settings, damaged)
    feed(again, normal(2, 30), start=120)


def test_the_same_readings_give_the_same_state():
    one, other = monitor(), monitor()
    assert feed(one, daily(4, 700)) == feed(other, daily(4, 700))
    assert one.to_state() == other.to_state()


@pytest.mark.parametrize("season_s", [0, 86_400])
def test_a_variable_weighs_after_50_000_readings_what_it_weighed_after_2_000(season_s):
    watched = monitor(season_s=season_s, warmup=2 * DAY)
    values = [x + 4 * (t % 1000 > 900) for t, x in enumerate(daily(1, 50_000))]  # with a trouble in each thousand
    assert feed(watched, values[:2000])
    weight, kept = _weight(watched), _size(watched)
    feed(watched, values[2000:], start=2000)
    assert _weight(watched) <= weight + 800, "a finding and a raised bar more or less"
    assert _size(watched) <= kept + 30


@pytest.mark.parametrize(("season_s", "values", "most"), [(0, normal, 2700), (86_400, daily, 4900)])
def test_a_variable_weighs_little_once_it_has_learned(season_s, values, most):
    """What a second one adds, and the reading on its way, which those of a site share."""
    both = [monitor(season_s=season_s, warmup=2 * DAY) for _ in range(2)]
    assert [feed(watched, values(2, 10_000)) for watched in both] == [[], []]
    assert _weight(both) - _weight(both[:1]) < most


def _weight(watched):
    """Return the bytes of a monitor and all it alone holds."""
    seen, left = set(), [watched]
    size = 0
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, (type, str, Subject, DriftSettings)) or callable(each):
            continue
        seen.add(id(each))
        size += sys.getsizeof(each)
        left += [r for r in gc.get_referents(each) if not isinstance(r, type)]
    return size
