"""The currency of all charts: the average run length between false alarms, in readings, and its logarithm, decades.

For the two-sided CUSUM on standard normal readings, with reference value k and threshold h in sigma, Siegmund
(Sequential Analysis, 1985) gives in control

    ARL = (e^b - b - 1) / (4 k^2),    b = 2 k (h + offset(k))

His offset, 1.166, stands for the jump of discrete readings over the threshold. It is exact for small k and 6 %
of the run length too long at k = 1, so it is taken from his own series for that jump instead.

Where a chart stands, the logarithm of the run length is all but a straight line over its height (`line`): so a
statistic is turned into decades by one multiplication, and all statistics are compared by one number.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.judge.figures import shared

SMALL_K = 0.2
"""Below it the offset is 1.166 to three digits."""
LN10 = math.log(10)
FURTHEST = 3.0
"""Of skew and kurtosis: what is clipped has hardly more."""


class Shape(NamedTuple):
    """What a distribution is beside its mean and sigma: both 0 for the normal one."""

    skew: float
    kurtosis: float


NORMAL = Shape(0.0, 0.0)


def arl0(k: float, h: float) -> float:
    """Return the mean number of readings between false alarms of a two-sided CUSUM; `k` > 0, `h` >= 0, in sigma."""
    b = 2 * k * (h + _offset(k))
    return (math.exp(b) - b - 1) / (4 * k * k)


def threshold(k: float, arl0: float, shape: Shape = NORMAL) -> float:
    """Return the h at which a two-sided CUSUM has the in-control run length `arl0`, in readings; at least 0.

    When z is not normal, it is that of the side to which its tail points, as if the other side were alike.
    """
    rate = tilt(k, shape)
    wanted = 2 * rate * k * arl0
    b = math.log1p(wanted)
    for _ in range(60):  # b = ln(wanted + 1 + b): the slope is e^-b, so that this closes in from below
        b = math.log(wanted + 1 + b)
    return max(0.0, b / rate - _offset(k))


@functools.cache
def line(k: float, decades: float, shape: Shape = NORMAL) -> tuple[float, float]:
    """Return (a, b) so that a chart at height s stands for a + b s decades; exact at `decades`, steep as its tail."""
    slope = tilt(k, shape) / LN10
    return decades - slope * threshold(k, 10**decades, shape), slope


def tilt(k: float, shape: Shape) -> float:
    """Return the t at which e^(t (z - k)) is 1 in the mean: heights grow rarer by e^t; 2 k when z is normal.

    By the third and the fourth cumulant: t / 2 + skew t^2 / 6 + kurtosis t^3 / 24 = k. On the side away from the tail
    heights grow rarer than those of a normal z, but by how much a sample does not tell: it is left as normal.
    """
    skew, kurtosis = max(0.0, shape.skew), max(0.0, shape.kurtosis)
    t = 2 * k
    for _ in range(8):  # from above, and the curve bends upwards: Newton's steps cannot overshoot
        t -= (t / 2 + skew * t * t / 6 + kurtosis * t**3 / 24 - k) / (0.5 + skew * t / 3 + kurtosis * t * t / 8)
    return t


def shape_of(sample: Sequence[float]) -> Shape:
    """Return the shape of a sample, to a quarter: a few hundred readings do not tell it better."""
    size = max(1, len(sample))
    mean = math.fsum(sample) / size
    variance = math.fsum((each - mean) ** 2 for each in sample) / size
    if variance <= 0.0:
        return NORMAL
    skew = math.fsum((each - mean) ** 3 for each in sample) / size / math.sqrt(variance) ** 3
    kurtosis = math.fsum((each - mean) ** 4 for each in sample) / size / variance**2 - 3
    return shape_from(skew, kurtosis)


def shape_from(skew: float, kurtosis: float) -> Shape:
    """Return the shape nearest to two figures that charts are made for."""
    nearest = (round(4 * max(-FURTHEST, min(FURTHEST, each))) / 4 for each in (skew, kurtosis))
    shape: Shape = shared(Shape(*nearest))
    return shape


@functools.cache
def _offset(k: float) -> float:
    """Return -ln(nu(2k)) / k, with nu Siegmund's factor for the overshoot of a normal random walk."""
    if k < SMALL_K:
        return 1.166
    terms = (math.erfc(k * math.sqrt(n / 2)) / (2 * n) for n in range(1, 2000))
    log_nu = math.log(2 / (2 * k) ** 2) - 2 * math.fsum(terms)
    return -log_nu / k
