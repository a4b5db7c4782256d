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
    """Charts with the reference values `ks`, over a statistic of this shape.

    `bar` is the decades at which they should be most exact.
    """

    __slots__ = ("_bar", "_ks", "_rows", "_sides", "shape")

    def __init__(self, ks: tuple[float, ...], bar: float, shape: Shape = NORMAL) -> None:
        self._ks = ks
        self._bar = bar
        self.shape = shape
        self.widen(0.0)
        self.reset()

    def widen(self, standard_error: float) -> None:
        """Allow for a reference that is off by a standard error, in sigma; to an eighth, so that variables share it."""
        if standard_error > 0.0:
            standard_error = math.exp(round(8 * math.log(standard_error)) / 8)
        self._rows = _rows(self._ks, self._bar, (ALLOWANCE + YOUNG * standard_error) * standard_error, self.shape)

    def reset(self) -> None:
        """Begin anew."""
        # Of each side its height, and the place and wall time of the reading with which it left zero: in one array of
        # doubles, which weighs a third of lists.
        self._sides = array("d", [0.0]) * (3 * 2 * len(self._ks))

    def update(self, z: float, heard: int, at_ms: int) -> float:
        """Take the statistic, standardised and clipped; return the decades of the highest chart, at least 0.

        `heard` is the place of the reading, counted on from that of the one before.
        """
        sides = self._sides
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

    @property
    def decades(self) -> float:
        """What the last statistic has come to, as `update` returned it."""
        return max(0.0, *self._decades())

    def lead(self, heard: int) -> Lead:
        """Return what the highest chart says of the change, at a reading; only when one stands above zero."""
        heights = self._decades()
        side = max(range(len(heights)), key=heights.__getitem__)
        height, left, left_ms = self._sides[3 * side : 3 * side + 3]
        readings = max(1, heard - int(left) + 1)
        mean = self._rows[side // 2][0] + height / readings
        return Lead(-1 if side % 2 else 1, mean, readings, int(left_ms))

    def to_state(self) -> list[float]:
        """Return it as plain numbers."""
        return [self._rows[0][0] - self._ks[0], *self.shape, *self._sides]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        widening, skew, kurtosis, *sides = figures(state, 3 + 3 * 2 * len(self._ks))
        self.shape = shape_from(skew, kurtosis)
        self.widen((math.sqrt(ALLOWANCE**2 + 4 * YOUNG * abs(widening)) - ALLOWANCE) / (2 * YOUNG))
        self._sides = array("d", [max(0.0, each) for each in sides])

    def _decades(self) -> list[float]:
        """Return those of each side of each chart."""
        lines = [both for _, *rise, base, per in self._rows for both in (rise, (base, per))]
        return [base + per * s if s else 0.0 for s, (base, per) in zip(self._sides[0::3], lines, strict=True)]


@functools.lru_cache(maxsize=4096)
def _rows(
    ks: tuple[float, ...], bar: float, widening: float, shape: Shape
) -> tuple[tuple[float, float, float, float, float], ...]:
    other = Shape(-shape.skew, shape.kurtosis)
    return tuple((k + widening, *line(k, bar, shape), *line(k, bar, other)) for k in ks)


def standard_error(size: float) -> float:
    """Return how far a mean of `size` readings is off, in sigma."""
    return 1 / math.sqrt(max(1.0, size))
