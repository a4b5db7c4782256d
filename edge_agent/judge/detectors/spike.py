"""One reading far from all that is usual: the tail of the innovations' size beyond an adaptive 98 % quantile.

Beyond a high quantile the tail of nearly everything is a generalised Pareto one (Pickands 1975); its two figures come
from the mean and the mean square of what lay beyond, which are carried along with a memory of some hundred such
readings. So a heavy-tailed variable is not a variable full of spikes.
"""

import math
from typing import NamedTuple

from edge_agent.judge.detector import Learned
from edge_agent.judge.figures import figures, parts
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.words import SIGMA, Ruler, clock
from edge_agent.model.site import DriftSettings

SHARE = 10.0
BEYOND = 0.02
"""Share of the readings that lie beyond the quantile."""
NORMAL_QUANTILE = 2.326
"""Beyond it lie 2 % of a normal variable's readings, on both sides together."""
MEAN, SQUARE = 0.338, 0.199
"""Mean and mean square of what lies beyond it, over it, for a normal variable."""
PRIOR = 40.0
"""Readings beyond that the figures expected at first weigh as much as: as many as 2 000 readings have."""
NORMAL_RATIO, HEAVY_RATIO = 3.6, 5.5
"""Of the 98 % quantile to the median, which a few hundred readings tell well: normal, and as heavy as Laplace's or t3.

Between them the shape expected at first goes from `TAMEST` to `HEAVY`.
"""
HEAVY = 0.3
FEW = 200.0
"""Readings of the warm-up that weigh as much as the normal quantile."""
MEMORY = 400.0
"""Readings beyond over which the tail is taken."""
TAMEST, HEAVIEST = -0.1, 0.45
"""Bounds of the tail's shape: between nearly bounded and hardly a variance."""
FURTHEST = 25.0
"""In sigma: an excess beyond teaches as if it were so large."""
RAREST = 16.0
"""The most decades that a tail learned from so few readings can claim."""
QUIET = 60
"""Readings without another after which it is over."""


class Spike(NamedTuple):
    """What stuck out."""

    since_ms: int
    raised_ms: int
    value: float
    size: float
    """In sigma, with sign."""
    often: int
    quiet: int


def begin(subject: Subject, settings: DriftSettings) -> "Spikes | None":  # noqa: ARG001 - one shape for all
    """Return the detector for a variable that should move smoothly."""
    return Spikes() if subject.shifts else None


class Spikes:
    """The tail of one variable."""

    __slots__ = ("_beta", "_mean", "_quantile", "_scale", "_square", "_weight", "_xi", "open")

    kind = "spike"
    share = SHARE

    def __init__(self) -> None:
        self.open: Spike | None = None
        self._scale = 1.0
        self._quantile = NORMAL_QUANTILE
        self._weight, self._mean, self._square = PRIOR, MEAN, SQUARE
        self._shape()

    def learn(self, learned: Learned) -> None:
        """Set out from the innovations of the warm-up."""
        sizes = sorted(map(abs, learned.errors))
        if not sizes:
            return
        own = sizes[int((1 - BEYOND) * len(sizes))]
        share = len(sizes) / (len(sizes) + FEW)
        self._quantile = max(0.5, share * own + (1 - share) * max(NORMAL_QUANTILE, own))
        ratio = self._quantile / max(sizes[len(sizes) // 2], 0.1)
        heavy = min(1.0, max(0.0, (ratio - NORMAL_RATIO) / (HEAVY_RATIO - NORMAL_RATIO)))
        # Scaled as a normal tail is to its quantile; a heavier shape keeps the mean and has a larger mean square.
        shape = TAMEST + heavy * (HEAVY - TAMEST)
        self._mean = MEAN / NORMAL_QUANTILE * self._quantile * (1 + heavy)
        self._square = self._mean**2 * (1 + 1 / (1 - 2 * shape))
        for size in sizes:
            if size > self._quantile:
                self._exceed(size - self._quantile)

    def update(self, step: Step) -> float:
        """Take a reading; return how rare it is, in decades."""
        if not step.ready:
            return 0.0
        if self.open is not None:
            self._quieten(self.open)
        size = step.error
        if size < 0.0:
            size = -size
        quantile = self._quantile
        # Robbins and Monro: at rest, one reading in fifty lies beyond.
        if size <= quantile:
            self._quantile = quantile - 0.0002 * quantile
            return 0.0
        self._quantile = quantile + 0.0098 * quantile
        excess = size - quantile
        base = 1 + self._xi * excess / self._beta
        decades = min(RAREST, 1.7 + math.log10(base) / self._xi) if base > 0 else RAREST
        self._exceed(excess)
        return decades

    def alarm(self, step: Step) -> None:
        """Open a spike, or count one more."""
        was = self.open
        since_ms, count = (step.at_ms, 1) if was is None else (was.since_ms, was.often + 1)
        self.open = Spike(since_ms, step.at_ms, step.value, step.error, count, 0)

    def reset(self) -> None:
        """Do nothing: nothing is under way between two readings."""

    def conclude(self, subject: Subject) -> Conclusion | None:  # noqa: ARG002 - one shape for all detectors
        """Return how the open spikes stand."""
        if self.open is None:
            return None
        severity = "low" if self.open.often == 1 else "medium"
        return Conclusion(severity, self.open.since_ms, self.open.raised_ms, abs(self.open.size))

    def sentence(self, subject: Subject) -> str:
        """Return the open spikes in words."""
        assert self.open is not None
        since_ms, raised_ms, value, size, count, _ = self.open
        say = Ruler(subject.unit, max(abs(value) * 1e-4, 1e-9)).amount(value)
        far = f"{abs(size):.1f} {SIGMA}" if abs(size) < 100 else f"over 100 {SIGMA}"  # noqa: PLR2004 - says enough
        side = "above" if size > 0 else "below"
        again = "" if count == 1 else f"; {count} such readings since {clock(since_ms)}"
        return f"{subject.path} jumped to {say} at {clock(raised_ms)}, {far} {side} what was expected{again}"

    def _quieten(self, spike: Spike) -> None:
        self.open = None if spike.quiet >= QUIET else spike._replace(quiet=spike.quiet + 1)

    def _exceed(self, excess: float) -> None:
        weight = self._weight = min(MEMORY, self._weight + 1)
        excess = min(excess, FURTHEST, 6 * self._mean)
        self._mean += (excess - self._mean) / weight
        self._square += (excess * excess - self._square) / weight
        self._shape()

    def _shape(self) -> None:
        """Solve for the tail by its moments (Hosking and Wallis 1987)."""
        mean = self._mean
        variance = max(self._square - mean * mean, 1e-6 * mean * mean)
        ratio = mean * mean / variance
        xi = min(HEAVIEST, max(TAMEST, 0.5 * (1 - ratio)))
        self._xi = xi if abs(xi) > 1e-3 else 1e-3  # noqa: PLR2004 - exponential: the formula's own limit
        self._beta = mean * (1 - self._xi)

    def to_state(self) -> list[object]:
        """Return it as plain JSON values."""
        own = [self._quantile, self._weight, self._mean, self._square]
        return [own, None if self.open is None else list(self.open)]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        own, spike = parts(state, 2)
        quantile, weight, mean, square = figures(own, 4)
        self._quantile, self._weight = max(1e-6, quantile), max(1.0, weight)
        self._mean, self._square = max(1e-9, mean), max(0.0, square)
        self._shape()
        if spike is not None:
            since_ms, raised_ms, value, size, count, quiet = figures(spike, 6)
            self.open = Spike(int(since_ms), int(raised_ms), value, size, int(count), int(quiet))
