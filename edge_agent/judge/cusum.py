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

SMALL_K = 0.2
"""Below it the offset is 1.166 to three digits."""
LN10 = math.log(10)


def arl0(k: float, h: float) -> float:
    """Return the mean number of readings between false alarms of a two-sided CUSUM; `k` > 0, `h` >= 0, in sigma."""
    b = 2 * k * (h + _offset(k))
    return (math.exp(b) - b - 1) / (4 * k * k)


def threshold(k: float, arl0: float) -> float:
    """Return the h at which a two-sided CUSUM has the in-control run length `arl0`, in readings; at least 0."""
    wanted = 4 * k * k * arl0
    b = math.log1p(wanted)
    for _ in range(60):  # b = ln(wanted + 1 + b): the slope is e^-b, so that this closes in from below
        b = math.log(wanted + 1 + b)
    return max(0.0, b / (2 * k) - _offset(k))


@functools.cache
def line(k: float, decades: float) -> tuple[float, float]:
    """Return (a, b) so that a chart at height s stands for a + b s decades; exact at `decades`, steep as its tail."""
    slope = 2 * k / LN10
    return decades - slope * threshold(k, 10**decades), slope


@functools.cache
def _offset(k: float) -> float:
    """Return -ln(nu(2k)) / k, with nu Siegmund's factor for the overshoot of a normal random walk."""
    if k < SMALL_K:
        return 1.166
    terms = (math.erfc(k * math.sqrt(n / 2)) / (2 * n) for n in range(1, 2000))
    log_nu = math.log(2 / (2 * k) ** 2) - 2 * math.fsum(terms)
    return -log_nu / k
