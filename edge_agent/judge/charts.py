"""A set of two-sided CUSUM charts over one standardised statistic, side by side for small and large changes.

A chart remembers with which reading it last left zero: that is when a change it sees began.
"""

import functools
import math
from array import array
from typing import NamedTuple

from edge_agent.judge.cusum import NORMAL, Shape, line, shape_from
from edge_agent.judge.figures import figures

ALLOWANCE = 0.5
"""Standard errors that are granted to what an estimated reference does not know.

A mean known from n readings is off by 1/sqrt(n) of sigma at one standard error, and a chart with a small k takes that
for a shift. So each k is widened by the allowance and its line stays: the chart is what it should be with a mean so
far off.
"""
YOUNG = 12.0
"""What is granted beyond, by the square of the standard error: run lengths suffer by it, most where readings are few."""

SUSPICION = 0.8
"""Share of the bar."""


class Lead(NamedTuple):
    """What the highest chart has seen."""

    sign: int
    """1 for a rise, -1 for a fall."""
    mean: float
    """Mean of the statistic since it left zero, in sigma; more than 0."""
    readings: int
    """Since then, at least 1."""
    since_ms: int
    """Wall time of the first of them."""


class Charts:
    """Charts with the reference values `ks`, over a statistic of this shape; all variables that need the same share one.

    `bar` is the decades at which they should be most exact, `error` by how many sigma the reference may be off, at one
    standard error. How high they stand is the caller's: its sides, an array that begins as `at_zero` has it.
    """

    __slots__ = ("_bar", "_rows", "error", "ks", "shape")

    def __init__(self, ks: tuple[float, ...], bar: float, shape: Shape, error: float) -> None:
        self.ks = ks
        self._bar = bar
        self.shape = shape
        self.error = error
        widening = (ALLOWANCE + YOUNG * error) * error
        other = Shape(-shape.skew, shape.kurtosis)
        self._rows = tuple((k + widening, *line(k, bar, shape), *line(k, bar, other)) for k in ks)

    def widened(self, error: float) -> "Charts":
        """Return those that allow for a reference which is off by a standard error, in sigma."""
        return charts_of(self.ks, self._bar, self.shape, error)

    def update(self, sides: "array[float]", z: float, heard: int, at_ms: int) -> float:
        """Take the statistic, standardised and clipped; return the decades of the highest chart, at least 0.

        `heard` is the place of the reading, counted on from that of the one before.
        """
        best = 0.0
        at = 0
        for k, base, per, fall_base, fall_per in self._rows:
            was = sides[at]
            now = was + z - k
            if now > 0.0:
                sides[at] = now
                decades = base + per * now
                if decades > best:  # noqa: PLR1730 - the hottest loop calls nothing
                    best = decades
                if not was:
                    sides[at + 1] = heard
                    sides[at + 2] = at_ms
            elif was:
                sides[at] = 0.0
            at += 3
            was = sides[at]
            now = was - z - k
            if now > 0.0:
                sides[at] = now
                decades = fall_base + fall_per * now
                if decades > best:  # noqa: PLR1730 - the hottest loop calls nothing
                    best = decades
                if not was:
                    sides[at + 1] = heard
                    sides[at + 2] = at_ms
            elif was:
                sides[at] = 0.0
            at += 3
        return best

    @property
    def suspicion(self) -> float:
        """The decades above which readings had better not teach what is usual."""
        return self._bar * SUSPICION

    def decades(self, sides: "array[float]") -> float:
        """Return what the last statistic has come to, as `update` returned it."""
        return max(0.0, *self._decades(sides))

    def lead(self, sides: "array[float]", heard: int) -> Lead:
        """Return what the highest chart says of the change, at a reading; only when one stands above zero."""
        heights = self._decades(sides)
        side = max(range(len(heights)), key=heights.__getitem__)
        height, left, left_ms = sides[3 * side : 3 * side + 3]
        readings = max(1, heard - int(left) + 1)
        mean = self._rows[side // 2][0] + height / readings
        return Lead(-1 if side % 2 else 1, mean, readings, int(left_ms))

    def to_state(self, sides: "array[float]") -> list[float]:
        """Return both as plain numbers."""
        return [self.error, *self.shape, *sides[: sides_of(self.ks)]]

    def resumed(self, state: object) -> "tuple[Charts, array[float]]":
        """Return what `to_state` was taken of, of the same reference values and bar. Raises WireError."""
        error, skew, kurtosis, *sides = figures(state, 3 + sides_of(self.ks))
        kept = charts_of(self.ks, self._bar, shape_from(skew, kurtosis), min(1.0, max(0.0, error)))
        return kept, array("d", [max(0.0, each) for each in sides])

    def _decades(self, sides: "array[float]") -> list[float]:
        """Return those of each side of each chart."""
        lines = [both for _, *rise, base, per in self._rows for both in (rise, (base, per))]
        heights = sides[0 : sides_of(self.ks) : 3]
        return [base + per * s if s else 0.0 for s, (base, per) in zip(heights, lines, strict=True)]


def sides_of(ks: tuple[float, ...]) -> int:
    """Return how many figures the sides of such charts are."""
    return 3 * 2 * len(ks)


def at_zero(ks: tuple[float, ...]) -> "array[float]":
    """Return the sides of charts that have seen nothing.

    Of each its height, and the place and wall time of the reading with which it left zero: in one array of doubles,
    which weighs a third of lists.
    """
    return array("d", [0.0]) * sides_of(ks)


def charts_of(ks: tuple[float, ...], bar: float, shape: Shape = NORMAL, error: float = 0.0) -> Charts:
    """Return the charts for a standard error, taken to an eighth of a factor e: so do many variables share them."""
    return _charts_of(ks, bar, shape, math.exp(round(8 * math.log(error)) / 8) if error > 0.0 else 0.0)


_charts_of = functools.lru_cache(maxsize=4096)(Charts)


def standard_error(size: float) -> float:
    """Return how far a mean of `size` readings is off, in sigma."""
    return 1 / math.sqrt(max(1.0, size))
