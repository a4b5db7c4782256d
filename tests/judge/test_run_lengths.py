"""The charts' run lengths against the published tables, by the Markov chain of Brook and Evans (1972)."""

import itertools
import math
import random

import pytest

from edge_agent.judge.charts import Charts
from edge_agent.judge.cusum import arl0, line, threshold

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
STATES = 120


def normal_cdf(x):
    return math.erfc(-x / math.sqrt(2)) / 2


def one_sided(k, h, shift, states=STATES):
    """Return the mean run length of one side, from zero. State 0 is zero; the others are equal cells up to h."""
    width = h / (states - 0.5)
    edges = [(i + 0.5) * width for i in range(states)]
    rows = []
    for i in range(states):
        at = i * width
        below = [normal_cdf(edge - at + k - shift) for edge in edges]
        row = [below[0], *(b - a for a, b in itertools.pairwise(below))]
        rows.append([*((j == i) - p for j, p in enumerate(row)), 1.0])
    for i in range(states):  # diagonally dominant: no pivots are needed
        pivot, row = rows[i][i], rows[i]
        for r in range(i + 1, states):
            factor = rows[r][i] / pivot
            if factor:
                rows[r] = [a - factor * b for a, b in zip(rows[r], row, strict=True)]
    lengths = [0.0] * states
    for i in reversed(range(states)):
        rest = math.fsum(a * b for a, b in zip(rows[i][i + 1 : states], lengths[i + 1 :], strict=True))
        lengths[i] = (rows[i][states] - rest) / rows[i][i]
    return lengths[0]


def two_sided(k, h, shift):
    return 1 / (1 / one_sided(k, h, shift) + 1 / one_sided(k, h, -shift))


@pytest.mark.parametrize(("k", "h"), TABLE)
def test_budget_and_threshold_turn_into_each_other_as_the_tables_have_it(k, h):
    known = TABLE[k, h][0]
    assert arl0(k, h) == pytest.approx(known, rel=0.01)
    assert threshold(k, known) == pytest.approx(h, rel=0.01)
    base, per = line(k, math.log10(known))
    assert base + per * threshold(k, known) == pytest.approx(math.log10(known))


@pytest.mark.parametrize(("k", "h"), [(0.5, 4), (0.5, 5), (0.25, 8), (0.1, 15), (1, 2.49)])
def test_the_tables_are_those_of_the_chart_we_run(k, h):
    known = TABLE[k, h]
    assert two_sided(k, h, 0) == pytest.approx(known[0], rel=0.01)
    for shift in (0.5, 1):
        assert two_sided(k, h, shift) == pytest.approx(known[SHIFTS.index(shift)], rel=0.02)


@pytest.mark.parametrize("shift", SHIFTS[1:])
def test_charts_see_a_shift_as_soon_as_the_table_says(shift):
    """The product's own chart, run: 400 runs have a standard error of 5 % at most; the seed makes it the same ever."""
    k, h = 0.5, 5
    bar = math.log10(TABLE[k, h][0])
    runs, rng = [], random.Random(f"runs {shift}")
    for _ in range(400):
        charts = Charts((k,), bar)
        runs.append(next(n for n in range(1, 10_000) if charts.update(rng.gauss(shift, 1), n) > bar))
    assert sum(runs) / len(runs) == pytest.approx(TABLE[k, h][SHIFTS.index(shift)], rel=0.12)
