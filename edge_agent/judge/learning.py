"""How a baseline goes on being learned after the warm-up, block by block, until it rests on enough readings.

A block under suspicion teaches nothing. Learning ends at `ENOUGH`: a baseline that never stops learning follows a
slow drift and never sees it.
"""

import math
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.judge.baseline import PHI_MAX, Baseline, median
from edge_agent.judge.figures import figures, shared, single

BLOCK = 48
"""Readings between two corrections of the baseline, and the span over which the long-run variance is measured."""
ENOUGH = 8192
"""Readings that fix the mean to 1/90 of the innovations' sigma: a fifth of the smallest chart's k."""
MEMORY_BLOCKS = 128.0
"""Blocks over which the long-run variance is taken."""
ALARM_BLOCKS = 24.0
"""The most blocks that one alarm counts as."""
ALARM_LOUDNESS = 16.0
"""How loud each of them is: four sigma."""
LEAST_BLOCKS = 8
"""Blocks before their variance is looked at."""
LOUDEST = 9.0
"""The most that one span counts, as its sum squared over the variance of such sums as it is known: three sigma."""
SPAN = 4
"""Blocks that make up a long span: what wanders over hours hardly shows in one block."""
LEAST_SPANS = 4
"""Long spans before their variance is looked at."""
SPAN_SUM, SUM = 4, 5
"""Where the sums of the long span and of the block under way stand among what is heard."""
MEDIAN_SQUARE = 0.455
"""Of the squares of standard normal figures: what is loud in a warm-up is told by the middle one of its spans."""


class Learning:
    """Sums over the readings behind a baseline, and over the block under way."""

    __slots__ = ("_sums", "error_size", "size", "taken")

    def __init__(self, baseline: Baseline) -> None:
        self.size = baseline.size
        self.taken = 0
        # Of the block under way the sums of deviations, of their squares, of their products with those before and of
        # the squares of innovations; then the last three over all.
        self._sums = array("d", [0.0]) * 7
        self._sums[4] = baseline.spread**2 * baseline.size
        self._sums[5] = self._sums[4] * baseline.phi
        self.rescale(baseline.sigma, baseline.size)

    def rescale(self, sigma: float, readings: float) -> None:
        """Take another sigma of the innovations, of which so many readings tell."""
        self.error_size = shared(float(readings))
        self._sums[6] = sigma**2 * readings

    def add(self, before: float, x: float, error: float) -> None:
        """Take a deviation from the mean, the one before it and the innovation."""
        sums = self._sums
        sums[0] += x
        sums[1] += before * before
        sums[2] += before * x
        sums[3] += error * error
        self.taken += 1

    def correct(self, baseline: Baseline, mean_size: float) -> Baseline:
        """Return the baseline as corrected by the block that is full, and begin the next.

        `mean_size` is how many readings the mean rests on with it: fewer than the rest when the level has shifted.
        """
        sums = self._sums
        for place in (1, 2, 3):
            sums[place + 3] += sums[place]
        self.size = shared(self.size + BLOCK)
        self.error_size = shared(self.error_size + BLOCK)
        mean = baseline.mean + sums[0] / mean_size
        total_square, total_cross, total_errors = sums[4:]
        square = total_square - self.size * step_variance(baseline.floor)
        phi = max(-PHI_MAX, min(PHI_MAX, total_cross / max(square, total_square / 2))) if total_square else 0.0
        sigma = max(math.sqrt(total_errors / self.error_size), baseline.floor)
        self.drop_block()
        return Baseline(mean, phi, sigma, baseline.floor, self.size)

    def drop_block(self) -> None:
        """Forget the block under way: it was under suspicion, or is learned."""
        self.taken = 0
        self._sums[:4] = array("d", [0.0]) * 4

    def to_state(self) -> list[float]:
        """Return it as plain numbers."""
        return [self.size, self.error_size, self.taken, *self._sums]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        size, error_size, taken, *sums = figures(state, 10)
        self.size, self.error_size, self.taken = shared(int(size)), shared(error_size), int(taken)
        self._sums = array("d", sums)


class LongRun:
    """By how much sums over blocks vary more than those of independent figures, of which each has variance 1.

    What the model does not whiten shows here. The blocks of some thousand readings count; a block under suspicion does
    not, but an alarm counts as loud ones: a variable that alarms over and over wanders by nature.
    """

    __slots__ = ("_heard", "_in_span", "taken")

    def __init__(self) -> None:
        # The loudness of blocks and of long spans (number and total of each), and the sums over those under way.
        self._heard = array("f", [0.0]) * 6
        self._in_span = 0
        self.taken = 0

    @property
    def _blocks(self) -> "Loudness":
        return Loudness(self._heard[0], self._heard[1])

    @property
    def _spans(self) -> "Loudness":
        return Loudness(self._heard[2], self._heard[3])

    def prime(self, figures: Sequence[float]) -> None:
        """Measure the warm-up."""
        # A short warm-up is measured by shorter blocks: they show less of what wanders, and are better than none.
        block = max(1, min(BLOCK, len(figures) // LEAST_BLOCKS))
        for scale in (block, BLOCK * SPAN):
            sums = [math.fsum(figures[at : at + scale]) for at in range(0, len(figures) - scale + 1, scale)]
            squares = [each * each / scale for each in sums]
            middle = Loudness(len(sums), len(sums) * median(squares) / MEDIAN_SQUARE if squares else 0.0)
            bound = LOUDEST * max(1.0, middle.at_least(1))
            loudness = Loudness(len(sums), math.fsum(min(each, bound) for each in squares))
            self._hear(loudness, of_spans=scale != block)

    def add(self, figure: float) -> None:
        """Take one figure; `taken` is how many the block under way has."""
        self._heard[SUM] += figure
        self.taken += 1

    def end_block(self, *, trusted: bool) -> None:
        """Take the block that is full, or drop it."""
        heard = self._heard
        total = heard[SUM]
        heard[SUM], self.taken = 0.0, 0
        if not trusted:
            heard[SPAN_SUM], self._in_span = 0.0, 0
            return
        self._hear(self._blocks.take(total * total / BLOCK), of_spans=False)
        heard[SPAN_SUM] += total
        self._in_span += 1
        if self._in_span >= SPAN:
            self._hear(self._spans.take(heard[SPAN_SUM] ** 2 / (BLOCK * SPAN)), of_spans=True)
            heard[SPAN_SUM], self._in_span = 0.0, 0

    def drop_block(self) -> None:
        """Forget the block under way, and the long span."""
        self._heard[SUM] = self._heard[SPAN_SUM] = 0.0
        self.taken = self._in_span = 0

    def alarm(self, again: int) -> None:
        """Take note of an alarm, which is the so-manieth beyond what is budgeted."""
        self.drop_block()
        weight = min(ALARM_BLOCKS, 6.0 * again)
        if weight:
            self._hear(self._blocks.hear(ALARM_LOUDNESS * weight, weight), of_spans=False)

    @property
    def total(self) -> float:
        """The sum of the block under way."""
        return self._heard[SUM]

    def factor(self) -> float:
        """Return it in sigma; at least 1. One standard error is taken off, so that chance does not dull the charts."""
        return math.sqrt(max(1.0, self._blocks.at_least(LEAST_BLOCKS), self._spans.at_least(LEAST_SPANS)))

    def to_state(self) -> list[float]:
        """Return it as plain numbers."""
        return [*self._heard, self.taken, self._in_span]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        blocks, loud, spans, louder, span, total, taken, in_span = figures(state, 8)
        self._heard = single([max(0.0, blocks), loud, max(0.0, spans), louder, span, total])
        self.taken, self._in_span = int(taken), int(in_span)

    def _hear(self, loudness: "Loudness", *, of_spans: bool) -> None:
        self._heard[2 * of_spans], self._heard[2 * of_spans + 1] = loudness


class Loudness(NamedTuple):
    """The mean square of sums over spans of one length, each over its variance if the readings were independent."""

    spans: float
    total: float

    def mean(self) -> float:
        """Return it; at least 1."""
        return max(1.0, self.total / self.spans) if self.spans else 1.0

    def take(self, loudness: float) -> "Loudness":
        """Return it with one more span."""
        return self.hear(min(loudness, LOUDEST * self.mean()), 1.0)

    def hear(self, loudness: float, more: float) -> "Loudness":
        """Return it with some more spans, without a bound."""
        keep = 1 - more / MEMORY_BLOCKS if self.spans >= MEMORY_BLOCKS else 1.0
        return Loudness(keep * self.spans + more, keep * self.total + loudness)

    def at_least(self, fewest: int) -> float:
        """Return it as far as it is believed; 0 while there are too few.

        What chance may explain is taken off by its standard error; what it does not explain is believed whole, and what
        is far beyond it is taken to be still more than was seen: what wanders shows more of it the longer one looks.
        """
        if self.spans < fewest:
            return 0.0
        mean, error = self.total / self.spans, math.sqrt(2 / self.spans)
        beyond = (1 - 1 / max(mean, 1.0)) / error
        return mean * (1 - error * max(-1.0, min(1.0, (3 - beyond) / 2)))


def step_variance(floor: float) -> float:
    """Return what rounding to steps of twice `floor` adds to the variance of readings (Sheppard 1898)."""
    return floor * floor / 3
