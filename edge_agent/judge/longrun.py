"""By how much sums over blocks vary more than those of independent figures, of which each has variance 1.

What the model does not whiten shows here. The blocks of some thousand readings count; a block under suspicion does
not, but an alarm counts as loud ones: a variable that alarms over and over wanders by nature.

A long run is `FIGURES` numbers in single precision, in an array that is the caller's, as is the count of readings in
the block under way: it adds each figure to `SUM` itself, for that is what every reading needs.
"""

import math
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.judge.baseline import median
from edge_agent.judge.figures import figures, single

BLOCK = 48
"""Readings of a block."""
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
MEDIAN_SQUARE = 0.455
"""Of the squares of standard normal figures: what is loud in a warm-up is told by the middle one of its spans."""

BLOCKS, SPANS = 0, 2
"""Where the loudness of blocks and that of long spans stand among the figures: number and total of each."""
SUM, SPAN_SUM, IN_SPAN = 4, 5, 6
"""Where the sums of the block and of the long span under way stand, and the blocks that are in the latter."""
FIGURES = 7


def begin() -> "array[float]":
    """Return the figures of one that has heard nothing."""
    return array("f", [0.0]) * FIGURES


def resumed(state: object) -> "array[float]":
    """Return figures that were kept. Raises WireError for what none can be."""
    blocks, loud, spans, louder, *under_way = figures(state, FIGURES)
    return single([max(0.0, blocks), loud, max(0.0, spans), louder, *under_way])


def prime(heard: "array[float]", sample: Sequence[float]) -> None:
    """Measure the warm-up."""
    # A short warm-up is measured by shorter blocks: they show less of what wanders, and are better than none.
    block = max(1, min(BLOCK, len(sample) // LEAST_BLOCKS))
    for place, scale in ((BLOCKS, block), (SPANS, BLOCK * SPAN)):
        sums = [math.fsum(sample[at : at + scale]) for at in range(0, len(sample) - scale + 1, scale)]
        squares = [each * each / scale for each in sums]
        middle = Loudness(len(sums), len(sums) * median(squares) / MEDIAN_SQUARE if squares else 0.0)
        bound = LOUDEST * max(1.0, middle.at_least(1))
        heard[place], heard[place + 1] = len(sums), math.fsum(min(each, bound) for each in squares)


def end_block(heard: "array[float]", *, trusted: bool) -> None:
    """Take the block that is full, or drop it."""
    total = heard[SUM]
    heard[SUM] = 0.0
    if not trusted:
        heard[SPAN_SUM] = heard[IN_SPAN] = 0.0
        return
    _take(heard, BLOCKS, total * total / BLOCK)
    heard[SPAN_SUM] += total
    heard[IN_SPAN] += 1
    if heard[IN_SPAN] >= SPAN:
        _take(heard, SPANS, heard[SPAN_SUM] ** 2 / (BLOCK * SPAN))
        heard[SPAN_SUM] = heard[IN_SPAN] = 0.0


def drop_block(heard: "array[float]") -> None:
    """Forget the block under way, and the long span."""
    heard[SUM] = heard[SPAN_SUM] = heard[IN_SPAN] = 0.0


def alarm(heard: "array[float]", again: int) -> None:
    """Take note of an alarm, which is the so-manieth beyond what is budgeted."""
    drop_block(heard)
    weight = min(ALARM_BLOCKS, 6.0 * again)
    if weight:
        heard[BLOCKS], heard[BLOCKS + 1] = _loudness(heard, BLOCKS).hear(ALARM_LOUDNESS * weight, weight)


def factor(heard: "array[float]") -> float:
    """Return it in sigma; at least 1. One standard error is taken off, so that chance does not dull the charts."""
    blocks, spans = _loudness(heard, BLOCKS), _loudness(heard, SPANS)
    return math.sqrt(max(1.0, blocks.at_least(LEAST_BLOCKS), spans.at_least(LEAST_SPANS)))


def _loudness(heard: "array[float]", place: int) -> "Loudness":
    return Loudness(heard[place], heard[place + 1])


def _take(heard: "array[float]", place: int, loudness: float) -> None:
    heard[place], heard[place + 1] = _loudness(heard, place).take(loudness)


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
