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


def threshold(k: float, arl0: float, skew: float = 0.0) -> float:
    """Return the h at which a two-sided CUSUM has the in-control run length `arl0`, in readings; at least 0.

    With a skew, this is the side to which the tail points, of a chart whose other side is alike.
    """
    rate = tilt(k, skew)
    wanted = 2 * rate * k * arl0
    b = math.log1p(wanted)
    for _ in range(60):  # b = ln(wanted + 1 + b): the slope is e^-b, so that this closes in from below
        b = math.log(wanted + 1 + b)
    return max(0.0, b / rate - _offset(k))


@functools.cache
def line(k: float, decades: float, skew: float = 0.0) -> tuple[float, float]:
    """Return (a, b) so that a chart at height s stands for a + b s decades; exact at `decades`, steep as its tail."""
    slope = tilt(k, skew) / LN10
    return decades - slope * threshold(k, 10**decades, skew), slope


def tilt(k: float, skew: float) -> float:
    """Return the t at which e^(t (z - k)) is 1 in the mean: heights grow rarer by e^t; 2 k when z is normal.

    A skewed z has its third cumulant in it, the next hardly matter: t / 2 + skew t^2 / 6 = k. The side away from the
    tail is left as a normal one: heights there grow rarer still, and how much so a sample does not tell.
    """
    return 4 * k / (1 + math.sqrt(1 + 8 * max(0.0, skew) * k / 3))


@functools.cache
def _offset(k: float) -> float:
    """Return -ln(nu(2k)) / k, with nu Siegmund's factor for the overshoot of a normal random walk."""
    if k < SMALL_K:
        return 1.166
    terms = (math.erfc(k * math.sqrt(n / 2)) / (2 * n) for n in range(1, 2000))
    log_nu = math.log(2 / (2 * k) ** 2) - 2 * math.fsum(terms)
    return -log_nu / k
