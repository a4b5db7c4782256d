"""The charts' run lengths: the published tables, a solver that gives all of them, and our thresholds put into it."""

import functools
import math
import operator
import random

import pytest

from edge_agent.judge.charts import at_zero, charts_of
from edge_agent.judge.cusum import NORMAL, Shape, arl0, line, shape_of, threshold, tilt
from edge_agent.judge.detectors.shift import KS as SHIFT_KS
from edge_agent.judge.detectors.still import K as NEARLY_STUCK_K
from edge_agent.judge.detectors.variance import KS as VARIANCE_KS
from edge_agent.judge.profile import solve

SHIFTS = (0, 0.25, 0.5, 0.75, 1, 1.5, 2)
TABLE = {
    (0.5, 4): (167.68, 74.22, 26.63, 13.29, 8.38, 4.75, 3.34),
    (0.5, 4.77): (368.56, 121.31, 35.21, 16.17, 9.92, 5.52, 3.86),
    (0.5, 5): (465.44, 139.49, 38.00, 17.05, 10.38, 5.75, 4.01),
    (0.5, 6): (1276.6, 249.26, 51.34, 20.90, 12.37, 6.75, 4.68),
    (0.5, 8): (9482.9, 736.12, 84.00, 28.76, 16.37, 8.75, 6.01),
    (0.25, 8): (368.39, 83.63, 28.76, 16.37, 11.39, 7.11, 5.21),
    (0.25, 10): (1035.8, 124.55, 36.71, 20.37, 14.06, 8.71, 6.36),
    (0.1, 15): (528.05, 85.71, 37.32, 23.74, 17.42, 11.41, 8.52),
    (1, 2.49): (350.82, 188.41, 67.00, 27.04, 13.36, 5.40, 3.24),
    (1, 4): (7255.7, 1970.5, 335.26, 77.08, 26.68, 8.38, 4.75),
}
"""DRIFT's reference: (k, h) and the mean run length for each of SHIFTS, in sigma, of the two-sided chart."""
FIR = {(0.5, 5, 2.5): (430.39, 121.69, 28.67, 11.24, 6.35, 3.37, 2.36)}
"""With a fast initial response: both sides start at the third figure."""
EWMA = {
    (0.4, 3.054): (500, 71.2, 14.26),
    (0.25, 2.998): (500, 48.3, 11.14),
    (0.2, 2.962): (500, 41.8, 10.54),
    (0.1, 2.814): (500, 31.3, 10.33),
    (0.05, 2.615): (500, 28.8, 11.38),
}
"""Smoothing and limit, in sigma of the average: in control, at 0.5 and at 1 sigma."""
NODES = 40
"""Of the quadrature, at least; two for each sigma of a wide chart."""
NEVER = 1e10
"""Readings beyond which a side is taken as silent: its equation is all but singular, or is."""


def normal_cdf(x):
    return math.erfc(-x / math.sqrt(2)) / 2


def normal_pdf(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def tolerance(shift):
    return 0.01 if shift == 0 else 0.02


@functools.cache
def legendre(count):
    """Return the nodes and weights of Gauss and Legendre on -1..1, by Newton from their known neighbourhood."""
    found = []
    for i in range(count):
        x = math.cos(math.pi * (i + 0.75) / (count + 0.5))
        for _ in range(8):
            before, now = 1.0, x
            for n in range(2, count + 1):
                before, now = now, ((2 * n - 1) * x * now - (n - 1) * before) / n
            slope = count * (x * now - before) / (x * x - 1)
            x -= now / slope
        found.append((x, 2 / ((1 - x * x) * slope * slope)))
    return found


def one_sided(k, h, shift, starts=(0.0,)):
    """Return the mean run length of one side of a CUSUM from each start, by the integral equation of Page

    L(u) = 1 + L(0) P(next <= 0 | u) + integral of L(x) p(next = x | u) over 0..h, at the nodes of a quadrature (Nystroem).
    """
    nodes = max(NODES, int(2 * h))
    places = [(0.0, 0.0), *((h / 2 * (x + 1), h / 2 * w) for x, w in legendre(nodes))]

    def row(u):
        return [normal_cdf(k - u - shift), *(w * normal_pdf(x - u + k - shift) for x, w in places[1:])]

    matrix = [[(i == j) - p for j, p in enumerate(row(u))] for i, (u, _) in enumerate(places)]
    lengths = solve(matrix, [1.0] * len(places))
    if lengths is None:
        return [math.inf] * len(starts)
    return [1 + math.fsum(map(operator.mul, row(u), lengths)) for u in starts]


def two_sided(k, h, shift, start=0.0):
    """Return the mean run length of both sides that start at the same height (Lucas and Crosier 1982)."""
    up, up_from = one_sided(k, h, shift, (0.0, start))
    down, down_from = one_sided(k, h, -shift, (0.0, start))
    if not 0 < down < NEVER:
        return up_from
    return (up_from * down + down_from * up - up * down) / (up + down)


def ewma(pace, limit, shift, nodes=NODES):
    """Return the mean run length of a two-sided EWMA from its mean."""
    h = limit * math.sqrt(pace / (2 - pace))
    places = [(h * x, h * w) for x, w in legendre(nodes)]

    def row(u):
        return [w / pace * normal_pdf((x - (1 - pace) * u) / pace - shift) for x, w in places]

    matrix = [[(i == j) - p for j, p in enumerate(row(u))] for i, (u, _) in enumerate(places)]
    return 1 + math.fsum(map(operator.mul, row(0.0), solve(matrix, [1.0] * nodes)))


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("k", "h"), TABLE)
def test_the_solver_gives_the_whole_table(k, h, shift):
    assert two_sided(k, h, shift) == pytest.approx(TABLE[k, h][SHIFTS.index(shift)], rel=tolerance(shift))


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("k", "h", "start"), FIR)
def test_the_solver_gives_the_fast_initial_response(k, h, start, shift):
    known = FIR[k, h, start][SHIFTS.index(shift)]
    assert two_sided(k, h, shift, start) == pytest.approx(known, rel=tolerance(shift))


@pytest.mark.parametrize(("place", "shift"), list(enumerate((0, 0.5, 1))))
@pytest.mark.parametrize(("pace", "limit"), EWMA)
def test_the_solver_gives_the_averages(pace, limit, place, shift):
    assert ewma(pace, limit, shift) == pytest.approx(EWMA[pace, limit][place], rel=tolerance(shift))


@pytest.mark.parametrize("decades", [3, 4.4, 6, 8])
@pytest.mark.parametrize("k", sorted({*SHIFT_KS, *VARIANCE_KS, NEARLY_STUCK_K, 0.5}))
def test_a_threshold_of_ours_keeps_to_its_budget(k, decades):
    """What is solved from a budget, put into the exact equation: never more than 1 % too eager, nor 2 % too dull."""
    assert 0.99 <= two_sided(k, threshold(k, 10**decades), 0) / 10**decades <= 1.02


@pytest.mark.parametrize(("k", "h"), TABLE)
def test_budget_and_threshold_turn_into_each_other_as_the_tables_have_it(k, h):
    known = TABLE[k, h][0]
    assert arl0(k, h) == pytest.approx(known, rel=0.01)
    assert threshold(k, known) == pytest.approx(h, rel=0.01)
    base, per = line(k, math.log10(known))
    assert base + per * threshold(k, known) == pytest.approx(math.log10(known))


@pytest.mark.parametrize("shift", SHIFTS[1:])
def test_charts_see_a_shift_as_soon_as_the_table_says(shift):
    """The product's own chart, run: 400 runs have a standard error of 5 % at most; the seed makes it the same ever."""
    k, h = 0.5, 5
    bar = math.log10(TABLE[k, h][0])
    runs, rng = [], random.Random(f"runs {shift}")
    for _ in range(400):
        charts, sides = charts_of((k,), bar), at_zero((k,))
        runs.append(next(n for n in range(1, 10_000) if charts.update(sides, rng.gauss(shift, 1), n, n) > bar))
    assert sum(runs) / len(runs) == pytest.approx(TABLE[k, h][SHIFTS.index(shift)], rel=0.12)


SKEWED_AND_HEAVY = {"half normal": abs, "cubes of normal, clipped": lambda x: max(-3.0, min(3.0, x**3))}


@pytest.mark.parametrize("k", [0.15, 0.25, 0.55])
@pytest.mark.parametrize("name", SKEWED_AND_HEAVY)
def test_heights_grow_rarer_as_the_shape_has_it(name, k):
    """The exponent of the whole distribution, solved for, is what its shape gives within a tenth; not what a normal has."""
    rng = random.Random(name)
    sample = [SKEWED_AND_HEAVY[name](rng.gauss(0, 1)) for _ in range(20_000)]
    mean = sum(sample) / len(sample)
    sigma = math.sqrt(sum((x - mean) ** 2 for x in sample) / len(sample))
    shape = shape_of(sample)

    def excess(t):
        return sum(math.exp(t * ((x - mean) / sigma - k)) for x in sample) / len(sample) - 1

    low, high = k / 4, 2 * k
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    assert tilt(k, shape) == pytest.approx(low, rel=0.1)
    assert tilt(k, shape) < tilt(k, NORMAL) == pytest.approx(2 * k)
    assert tilt(k, Shape(-shape.skew, 0.0)) == pytest.approx(2 * k)
