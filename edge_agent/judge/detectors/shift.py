"""A level that leaves its baseline, at once or slowly: two-sided CUSUM charts over whitened readings.

A reading's deviation from the mean is whitened by the order-1 autocorrelation (on raw autocorrelated readings a
CUSUM is useless), the innovation standardised and clipped at 3 sigma, and added to charts for small, middle and
large shifts side by side. Their thresholds come from the user's budget alone (judge/cusum.py).

An estimated baseline costs run length: from n readings, mean, sigma and phi are each off by about 1/sqrt(n), and
a chart takes such an error for a shift. The allowance is about one standard error of each: k is widened by that
of the mean (`cusum.bars`), sigma by those of sigma and phi (`_caution`). It is paid for in delay, and shrinks
while the baseline goes on being learned (judge/learning.py).

While a shift is open it is followed (judge/departure.py), and nothing is learned.
"""

import math
from typing import TypedDict

from edge_agent.judge.baseline import CLIP, Baseline
from edge_agent.judge.cusum import KS, arl0, bars
from edge_agent.judge.departure import Alarm, Departure, DepartureState
from edge_agent.judge.learning import ENOUGH, Learning, LearningState

LEAST_ARL = 100.0
"""Fewer readings between false alarms are no budget."""
CAP = 4.0
"""How many thresholds high a chart may climb: beyond that it has said what it can."""
SUSPICION = 0.5
"""Share of its threshold above which a chart keeps the readings from teaching the baseline."""
CHARTS = 2 * len(KS)


class ShiftState(TypedDict):
    """A `Shift` in plain JSON values."""

    arl: float
    warmup: int
    heard: int
    baseline: tuple[float, float, float, float, int]
    dulled: float
    recent: float
    sums: list[float]
    since: list[int]
    since_ms: list[int]
    learning: LearningState | None
    open: DepartureState | None


class Shift:
    """The charts of one variable. `arl` is its budget in readings a false alarm, `warmup` is in readings."""

    __slots__ = (
        "_bars", "_mean", "_per_sigma", "_phi", "_reach", "_recent", "_since", "_since_ms", "_sums",
        "arl", "baseline", "heard", "learning", "open", "warmup",
    )  # fmt: skip

    kind = "shift"

    def __init__(self, baseline: Baseline, arl: float, warmup: int, at_ms: int) -> None:
        self.arl = max(LEAST_ARL, float(f"{arl:.2g}"))  # two digits, so that variables share their thresholds
        self.warmup = warmup
        self.heard = 0
        self.learning: Learning | None = Learning(baseline)
        self.open: Departure | None = None
        self._recent = 0.0
        self._reset_charts(at_ms)
        self._stand_on(baseline, 1.0)

    def update(self, value: float, at_ms: int, mono_ns: int, *, after_gap: bool) -> None:
        """Take a finite reading within ±1e150. `after_gap`: the one before says nothing about it.

        The hot path of the agent: locals, one loop over the charts, and no call while nothing happens.
        """
        heard = self.heard = self.heard + 1
        before = 0.0 if after_gap else self._recent
        expected = self._phi * before
        error = value - self._mean - expected
        reach = self._reach
        if error > reach:
            error = reach
        elif error < -reach:
            error = -reach
        recent = self._recent = expected + error
        z = error * self._per_sigma
        sums = self._sums
        crossed = -1
        i = 0
        for k, h in self._bars:
            for total in (sums[i] + z - k, sums[i + 1] - z - k):
                if total <= 0.0:
                    pass
                i += 1
        if self.open is not None or crossed >= 0:
            self._judge(crossed, value - self._mean, at_ms, mono_ns)
        elif self.learning is not None and not after_gap and self.learning.add(before, recent, error):
            self._learn(self.learning)


    @property
    def sigma(self) -> float:
        """The variable's own sigma, in its unit: that of its readings, not of its innovations."""
        return self.baseline.sigma / math.sqrt(1 - self.baseline.phi**2)
