"""What is learned beyond the warm-up: long-run variance, autocorrelation of rounded readings, weekdays."""

import math
import random

import pytest

from edge_agent.judge import longrun
from edge_agent.judge.baseline import estimate
from edge_agent.judge.days import DAY_MS
from edge_agent.judge.learning import Learning
from edge_agent.judge.longrun import BLOCK, SUM
from edge_agent.judge.profile import Profile

INTERVAL_MS = 300_000
DAY = DAY_MS // INTERVAL_MS


def noise(seed, count):
    rng = random.Random(seed)
    return [rng.gauss(0, 1) for _ in range(count)]


def wandering(seed, count):
    """Return noise around a level that returns in some 500 readings: sums over long spans vary 180 times as much."""
    rng, level, found = random.Random(seed), 0.0, []
    for _ in range(count):
        level = 0.998 * level + 0.04 * rng.gauss(0, 1)
        found.append(level + rng.gauss(0, 0.7))
    return found


def factor(values, warmup):
    """Return the factor after a warm-up and the rest in blocks, all of it trusted."""
    heard = longrun.begin()
    longrun.prime(heard, values[:warmup])
    for taken, value in enumerate(values[warmup:], 1):
        heard[SUM] += value
        if taken % BLOCK == 0:
            longrun.end_block(heard, trusted=True)
    return longrun.factor(heard)


@pytest.mark.parametrize("warmup", [0, 120, 1000, 6000])
def test_independent_readings_have_no_long_run(warmup):
    assert max(factor(noise(seed, 6000), warmup) for seed in range(8)) < 1.2


@pytest.mark.parametrize("warmup", [0, 120, 1000, 6000])
def test_what_wanders_slowly_widens_sigma(warmup):
    factors = sorted(factor(wandering(seed, 12_000), warmup) for seed in range(8))
    assert factors[4] > 3.5


def test_one_loud_block_is_no_habit():
    factors = []
    for seed in range(9):
        values = noise(seed, 3000)
        values[1000:1048] = [5.0] * 48
        factors += [factor(values, 3000), factor(values, 480)]
    assert sorted(factors)[len(factors) // 2] < 1.2
    assert max(factors) < 2


def rounded(seed, count, phi=0.9, step=0.5):
    rng, x, found = random.Random(seed), 0.0, []
    for _ in range(count):
        x = phi * x + math.sqrt(1 - phi * phi) * rng.gauss(0, 1)
        found.append(round(x / step) * step)
    return found


def test_rounding_is_taken_out_of_the_autocorrelation():
    """Steps of sigma make 0.9 look like 0.83 when nobody knows of them."""
    values = rounded(1, 40_000, step=1.0)
    base = estimate(values, 1.0)
    learning = Learning(base)
    before = values[0]
    for value in values[1 : BLOCK + 1]:
        learning.add(before - base.mean, value - base.mean, value - base.mean - base.phi * (before - base.mean))
        before = value
    assert learning.correct(base, base.size).phi == pytest.approx(0.9, abs=0.01)


def test_a_warm_up_teaches_weekdays():
    """The warm-up is a week from Monday on; the first Saturday after it is expected to be as the one before."""
    profile, rng, count = Profile(DAY_MS), random.Random(3), 12 * DAY
    times = [4 * DAY_MS + t * INTERVAL_MS for t in range(count)]
    usual = [3 * math.sin(2 * math.pi * t / DAY) + rng.gauss(20, 0.1) for t in range(count)]
    values = [x - 5 * (t // DAY % 7 >= 5) for t, x in enumerate(usual)]
    for at_ms, x in zip(times, usual, strict=True):
        profile.add(at_ms, x - 20)
    profile.fit(profile.centre())
    week = 7 * DAY
    profile.teach_days(values[:week], times[:week], 0.1)
    for at_ms, value in zip(times[week:], values[week:], strict=True):
        if at_ms >= profile.midnight_ms:
            assert profile.turn_day(at_ms, 0.1) == 0.0
        profile.add_day(at_ms, value)
    assert profile.turn_day(times[-1] + INTERVAL_MS, 0.1) == pytest.approx(-5, abs=0.1)


def swinging(days, factor, level, seed=1, since=0):
    """Return a profile that knows a sine of 3, and has seen so many days of another factor and level since a phase."""
    profile = Profile(DAY_MS)
    rng = random.Random(seed)
    wave = [3 * math.sin(2 * math.pi * t / DAY) for t in range(DAY)]
    for t in range(2 * DAY):
        profile.add(t * INTERVAL_MS, wave[t % DAY] + rng.gauss(0, 1))
    profile.fit(0.0)
    for t in range(2 * DAY, 3 * DAY):
        if t * INTERVAL_MS >= profile.midnight_ms:
            profile.turn_day(t * INTERVAL_MS, 1.0)
        profile.add_day(t * INTERVAL_MS, wave[t % DAY] + rng.gauss(0, 1))
    profile.turn_day(3 * DAY_MS, 1.0)
    for t in range(since, int(days * DAY)):
        profile.add_day((3 * DAY + t) * INTERVAL_MS, level + factor * wave[t % DAY] + rng.gauss(0, 1))
    return profile


def test_the_swing_of_a_day_that_is_other_than_usual_is_told_with_its_level():
    level, factor = swinging(1, 0.4, -2.0).swing(1.0)
    assert level == pytest.approx(-2, abs=0.3)
    assert factor == pytest.approx(0.4, abs=0.15)


@pytest.mark.parametrize(("days", "factor"), [(1, 1.0), (0.1, 0.4)])
def test_a_swing_as_usual_or_of_too_few_readings_is_left_as_it_is(days, factor):
    assert swinging(days, factor, -2.0).swing(1.0) is None
