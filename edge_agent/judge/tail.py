"""How rare a size is, in decades, of a statistic that calibrates itself: its tail beyond an adaptive 98 % quantile.

Beyond a high quantile the tail of nearly everything is a generalised Pareto one (Pickands 1975); its two figures come
from the mean and the mean square of what lay beyond, which are carried along with a memory of some hundred such sizes.
So a heavy-tailed variable is not a variable full of rare readings.

A tail is `FIGURES` numbers in an array that is the caller's, from a place on: several weigh little more than one.
"""

import math
from array import array

FIGURES = 6
"""The quantile, the weight, mean and mean square of what lay beyond, and the shape and the width that follow."""
BEYOND = 0.02
"""Share of the sizes that lie beyond the quantile."""
FIRST = -math.log10(BEYOND)
PACE = 0.01
"""Of the quantile, which is approximated as Robbins and Monro do."""
NORMAL_QUANTILE = 2.915
"""Beyond it lie 2 % of a normal variable's sizes, over their mean size."""
MEAN, SQUARE = 0.424, 0.36
"""Mean and mean square of what lies beyond: the tail expected at first is exponential, a little heavier than normal."""
PRIOR = 80.0
"""Sizes beyond that these figures weigh as much as: as many as 4 000 readings have."""
MEMORY = 400.0
"""Sizes beyond over which the tail is taken."""
LARGEST = 30.0
"""Times the mean excess: one beyond teaches as if it were so large. Less, and heavy tails seem lighter than they are."""
TAMEST, HEAVIEST = -0.1, 0.45
"""Bounds of the tail's shape: between nearly bounded and hardly a variance."""
RAREST = 16.0
"""The most decades that a tail learned from so few sizes can claim."""


def begin(own: "array[float]", at: int) -> None:
    """Set out from a normal variable's tail."""
    own[at : at + 4] = array("d", (NORMAL_QUANTILE, PRIOR, MEAN, SQUARE))
    shape(own, at)


def fall(own: "array[float]", at: int, pace: float = PACE) -> None:
    """Take note of a size: where none lies beyond, the quantile comes down."""
    own[at] -= BEYOND * pace * own[at]


def rarity(own: "array[float]", at: int, size: float, pace: float = PACE) -> float:
    """Take a size beyond the quantile, over the mean size; return how rare it is, in decades."""
    quantile, weight, mean, square, bend, width = own[at : at + FIGURES]
    excess = size - quantile
    base = 1 + bend * excess / width
    decades = min(RAREST, FIRST + math.log10(base) / bend) if base > 0 else RAREST
    weight = min(MEMORY, weight + 1)
    excess = min(excess, LARGEST * mean)
    own[at] = quantile + pace * quantile
    own[at + 1] = weight
    own[at + 2] = mean + (excess - mean) / weight
    own[at + 3] = square + (excess * excess - square) / weight
    shape(own, at)
    return decades


def shape(own: "array[float]", at: int) -> None:
    """Solve for the tail by its moments (Hosking and Wallis 1987)."""
    mean = own[at + 2]
    variance = max(own[at + 3] - mean * mean, 1e-6 * mean * mean)
    bend = min(HEAVIEST, max(TAMEST, 0.5 * (1 - mean * mean / variance)))
    if abs(bend) < 1e-3:  # noqa: PLR2004 - exponential: the formula's own limit
        bend = 1e-3
    own[at + 4], own[at + 5] = bend, mean * (1 - bend)


def is_sound(own: "array[float]", *places: int) -> bool:
    """Whether figures that were kept can be those of tails."""
    return all(own[at] > 0 and own[at + 1] >= PRIOR and own[at + 2] > 0 and own[at + 3] > 0 for at in places)
