"""What is usual for a variable: `Warmup` collects its first readings, `estimate` makes a `Baseline` of them.

There is no opinion before the warm-up is full. What was collected is bounded, and dropped with the object.
"""

import itertools
import math
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.judge.figures import figures, parts, series
from edge_agent.model.errors import WireError

SAMPLE_MAX = 2048
"""Readings that an estimate is made of. A longer warm-up lets the readings before the last 2048 pass."""
GAPS_MAX = 63
"""Times between readings of which the usual interval is the median."""
PHI_MAX = 0.98
"""Beyond it a variable wanders: whitening would leave nothing of a shift."""
CLIP = 3.0
"""In sigma: what lies further out is taken as lying here, so that outliers teach little."""
MAD_SIGMA = 1.4826
"""Sigma of a normal distribution over its median absolute deviation."""
MEAN_AD_SIGMA = 1.2533
"""Sigma of a normal distribution over its mean absolute deviation: for samples of which half are one value."""
FLOAT32_STEP = 2.0**-23
"""The relative step of single precision, in which most devices speak."""
CONSTANT_SHARE = 0.001
"""Sigma that is granted to a constant of unknown resolution, as a share of its size. A convention."""
TINY = 1e-100
"""The least sigma, so that nothing divides by zero and no square overflows."""


class Baseline(NamedTuple):
    """Where a variable rests and how it moves: x[t] - mean = phi (x[t-1] - mean) + sigma · innovation."""

    mean: float
    phi: float
    """Order-1 autocorrelation."""
    sigma: float
    """Of the innovations, in the variable's unit; never below `floor`."""
    floor: float
    """The least sigma that the variable's resolution allows; never 0."""
    size: int
    """How many readings it rests on."""

    @property
    def is_constant(self) -> bool:
        """Whether no two readings behind it differed: then its sigma is a convention."""
        return self.sigma == self.floor and self.phi == 0.0

    @property
    def white(self) -> float:
        """What is left of sigma when the autocorrelation is taken out, as a share: sqrt(1 - phi^2)."""
        return math.sqrt(1 - self.phi**2)

    @property
    def spread(self) -> float:
        """The sigma of the readings themselves."""
        return self.sigma / self.white


def sound(raw: object) -> Baseline:
    """Return a baseline that was kept as plain numbers. Raises WireError for figures that none can have."""
    mean, phi, sigma, floor, size = figures(raw, 5)
    if not (sigma >= floor > 0 and abs(phi) <= PHI_MAX and size >= 1):
        raise WireError("baselines: got figures that no baseline can have, wanted those that were saved")
    return Baseline(mean, phi, sigma, floor, int(size))


class Warmup:
    """The first readings of a variable, as many as are `wanted`, with their wall times."""

    __slots__ = ("gaps_ns", "heard", "origin", "times_ms", "values", "wanted")

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.heard = 0
        self.origin = 0.0
        """The first reading, from which those are told that a season is fitted to."""
        self.values = array("d")
        self.times_ms = array("q")
        self.gaps_ns = array("q")

    def add(self, value: float, at_ms: int, elapsed_ns: int) -> bool:
        """Take a reading and the time since the one before (at most 0: unknown); return whether it is full."""
        if not self.heard:
            self.origin = value
        self.heard += 1
        if self.heard > self.wanted - SAMPLE_MAX:
            self.values.append(value)
            self.times_ms.append(at_ms)
        if elapsed_ns > 0 and len(self.gaps_ns) < GAPS_MAX:
            self.gaps_ns.append(elapsed_ns)
        return self.heard >= self.wanted

    def interval_ns(self) -> int:
        """Return the variable's usual interval: the median of those heard, in four digits, and at least 1 ms."""
        gaps = sorted(self.gaps_ns)
        return int(float(f"{max(gaps[len(gaps) // 2] if gaps else 0, 1_000_000):.4g}"))

    def to_state(self) -> list[object]:
        """Return it as plain numbers."""
        return [[self.heard, self.origin], list(self.values), list(self.times_ms), list(self.gaps_ns)]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        own, values, times, gaps = parts(state, 4)
        heard, self.origin = figures(own, 2)
        self.heard = int(heard)
        self.values = array("d", series(values, SAMPLE_MAX))
        self.times_ms = array("q", map(int, series(times, len(self.values))))
        self.gaps_ns = array("q", map(int, series(gaps, GAPS_MAX)))


def estimate(sample: Sequence[float], quantum: float) -> Baseline:
    """Return the baseline of a sample of at least 20 finite readings, none beyond ±1e150.

    `quantum` is the variable's resolution, 0 when it is unknown. Median and median absolute deviation say what
    an outlier is; mean and sigma are then taken over the clipped sample, which is as robust and wastes fewer
    readings than the median itself.
    """
    size = len(sample)
    centre = median(sample)
    floor = _least_sigma(sample, centre, quantum)
    reach = CLIP * max(_spread([abs(x - centre) for x in sample]), floor)
    mean = centre + math.fsum(max(-reach, min(reach, x - centre)) for x in sample) / size
    rest = [max(-reach, min(reach, x - mean)) for x in sample]
    cross = math.fsum(a * b for a, b in itertools.pairwise(rest))
    phi = autocorrelation(cross, math.fsum(x * x for x in rest[:-1]), size)
    errors = math.fsum((b - phi * a) ** 2 for a, b in itertools.pairwise(rest))
    return Baseline(mean, phi, max(math.sqrt(errors / (size - 3)), floor), floor, size)


def autocorrelation(cross: float, square: float, size: int) -> float:
    """Return phi from the sums of x[t] x[t-1] and x[t-1]^2 over `size` readings.

    A short sample makes it too small, by (1 + 3 phi) / n (Marriott and Pope 1954), which is put back.
    """
    if square <= 0.0:
        return 0.0
    phi = cross / square
    return max(-PHI_MAX, min(PHI_MAX, phi + (1 + 3 * phi) / size))


def median(sample: Sequence[float]) -> float:
    """Return the middle of a sample that is not empty; of an even number, the mean of the two in the middle."""
    ranked = sorted(sample)
    half = len(ranked) // 2
    return ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2


def _spread(distances: Sequence[float]) -> float:
    return MAD_SIGMA * median(distances) or MEAN_AD_SIGMA * math.fsum(distances) / len(distances)


def _least_sigma(sample: Sequence[float], centre: float, quantum: float) -> float:
    """Return half a step of the variable's resolution: the sigma of a value that rests on the edge of two steps."""
    steps = [abs(b - a) for a, b in itertools.pairwise(sample) if a != b]
    if quantum > 0.0:
        floor = quantum / 2
    elif steps:
        floor = min(steps) / 2
    else:
        floor = CONSTANT_SHARE * abs(centre)
    return max(floor, FLOAT32_STEP * abs(centre), TINY)
