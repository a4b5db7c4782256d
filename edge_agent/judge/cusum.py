"""The currency of all charts: the average run length between false alarms, in readings.

For the two-sided CUSUM on standard normal readings, with reference value k and threshold h in sigma, Siegmund
(Sequential Analysis, 1985) gives in control

    ARL = (e^b - b - 1) / (4 k^2),    b = 2 k (h + offset(k))

His offset, 1.166, stands for the jump of discrete readings over the threshold. It is exact for small k and 6 %
of the run length too long at k = 1, so it is taken from his own series for that jump instead.
"""

import functools
import math

KS = (0.06, 0.25, 0.8)
"""Reference values of the charts that run side by side: small, middle and large shifts.

0.125, 0.35, 0.9 see a shift of 1 sigma in autocorrelated readings a tenth sooner, and a drift of 1 sigma in 20 000
readings a quarter later: the slow ones are what people do not see by themselves.
"""

ALLOWANCE = 0.5
"""Standard errors that are granted to what an estimated baseline does not know.

By simulation: after a warm-up of 120 it leaves 0.65 of the budgeted false alarms, on independent readings as on
those with autocorrelation 0.7. A whole standard error leaves 0.3, and takes two more readings to see 1 sigma.
"""

SMALL_K = 0.2
"""Below it the offset is 1.166 to three digits."""

Bars = tuple[tuple[float, float], ...]
"""(k, h) of each chart."""


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


@functools.lru_cache(maxsize=256)
def bars(arl: float, size: int) -> Bars:
    """Return k and h of each chart of a set that shares one budget of `arl` readings a false alarm.

    `size` is the number of readings behind the baseline. A mean known from n readings is off by 1/sqrt(n) of the
    innovations' sigma at one standard error, and a chart with a smaller k would take that for a shift. So each k
    is widened by the allowance, and the thresholds stay: the chart is what it should be with a mean so far off.
    """
    widening = ALLOWANCE / math.sqrt(size)
    return tuple((k + widening, threshold(k, arl * len(KS))) for k in KS)


@functools.cache
def _offset(k: float) -> float:
    """Return -ln(nu(2k)) / k, with nu Siegmund's factor for the overshoot of a normal random walk."""
    if k < SMALL_K:
        return 1.166
    terms = (math.erfc(k * math.sqrt(n / 2)) / (2 * n) for n in range(1, 2000))
    log_nu = math.log(2 / (2 * k) ** 2) - 2 * math.fsum(terms)
    return -log_nu / k
