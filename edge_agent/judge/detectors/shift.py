"""A level that leaves its baseline, at once or slowly: two-sided CUSUM charts over whitened readings.

A reading's deviation from the mean is whitened by the order-1 autocorrelation (on raw autocorrelated readings a
CUSUM is useless), the innovation standardised and clipped at 3 sigma, and added to charts for small, middle and
large shifts side by side. Their thresholds come from the user's budget alone (judge/cusum.py).

An estimated baseline costs run length: from n readings, mean, sigma and phi are each off by about 1/sqrt(n), and
a chart takes such an error for a shift. A share of the standard error of each is allowed for: k is widened for
the mean (`cusum.bars`), sigma for itself and phi (`_caution`). It is paid for in delay, and shrinks while the
baseline goes on being learned (judge/learning.py).

While a shift is open it is followed (judge/departure.py), and nothing is learned.
"""

import math
from array import array
from typing import TypedDict

from edge_agent.judge.baseline import CLIP, PHI_MAX, Baseline
from edge_agent.judge.cusum import ALLOWANCE, KS, arl0, bars
from edge_agent.judge.departure import Alarm, Departure, DepartureState
from edge_agent.judge.learning import ENOUGH, Learning, LearningState
from edge_agent.judge.shifted import Shifted, shift_sentence
from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.trend import Course
from edge_agent.model.errors import WireError

LEAST_ARL = 100.0
"""Fewer readings between false alarms are no budget."""
CAP = 4.0
"""How many thresholds high the score follows a chart: there it has said what it can."""
SUSPICION = 0.5
"""Share of its threshold above which a chart keeps the readings from teaching the baseline."""
CHARTS = 2 * len(KS)


class ShiftState(TypedDict):
    """A `Shift` in plain JSON values."""

    arl: float
    warmup: int
    heard: int
    baseline: tuple[float, float, float, float, int]
    long_run: float
    recent: float
    sums: list[float]
    marks: list[int]
    learning: LearningState | None
    open: DepartureState | None


class Shift:
    """The charts of one variable. `arl` is its budget in readings a false alarm, `warmup` is in readings.

    `_sums` holds for each k the upper chart and the lower; `_marks` for each of them at which reading it last stood
    at zero, and then for each the wall time of that reading.
    """

    __slots__ = (
        "_arl", "_bars", "_baseline", "_heard", "_learning", "_long_run", "_marks", "_mean", "_per_sigma", "_phi",
        "_reach", "_recent", "_sums", "_warmup", "open",
    )  # fmt: skip

    kind = "shift"

    def __init__(self, baseline: Baseline, arl: float, warmup: int, at_ms: int) -> None:
        self.open: Departure | None = None
        self._arl = max(LEAST_ARL, float(f"{arl:.2g}"))  # two digits, so that variables share their thresholds
        self._warmup = warmup
        self._heard = 0
        self._recent = 0.0
        self._learning: Learning | None = Learning(baseline)
        self._stand_on(baseline, 1.0)
        self._reset_charts(at_ms)

    def update(self, value: float, at_ms: int, mono_ns: int, *, after_gap: bool) -> None:
        """Take a finite reading within ±1e150. `after_gap`: the one before says nothing about it.

        The hot path of the agent: locals, one loop over the charts, and no call while nothing happens.
        """
        heard = self._heard = self._heard + 1
        deviation = value - self._mean
        before = self._recent
        expected = 0.0 if after_gap else self._phi * before
        white = self._baseline.white if after_gap else 1.0
        error = deviation * white - expected
        reach = self._reach
        if error > reach:
            error = reach
        elif error < -reach:
            error = -reach
        recent = self._recent = expected + error / white
        z = error * self._per_sigma
        sums, marks = self._sums, self._marks
        crossed = -1
        chart = 0
        for k, h in self._bars:
            up = sums[chart] + z - k
            if up > 0.0:
                sums[chart] = up
                if up > h:
                    crossed = chart
            else:
                sums[chart], marks[chart], marks[chart + CHARTS] = 0.0, heard, at_ms
            chart += 1
            down = sums[chart] - z - k
            if down > 0.0:
                sums[chart] = down
                if down > h:
                    crossed = chart
            else:
                sums[chart], marks[chart], marks[chart + CHARTS] = 0.0, heard, at_ms
            chart += 1
        if crossed >= 0 or self.open is not None:
            self._follow(crossed, deviation, at_ms, mono_ns)
        elif self._learning is not None and not after_gap and self._learning.add(before, recent, error):
            self._learn(self._learning)

    def conclude(self, subject: Subject) -> Conclusion | None:
        """Return how the open shift stands."""
        if self.open is None:
            return None
        found = self._found(self.open, subject)
        remarks = (("trend", found.slope * found.deviation > 0), ("settling", self.open.settling))
        told = tuple(remark for remark, so in remarks if so)
        alarm = self.open.alarm
        return Conclusion(found.severity, alarm.since_ms, alarm.at_ms, found.size, told)

    def sentence(self, subject: Subject) -> str:
        """Return the open shift in words."""
        assert self.open is not None
        return shift_sentence(subject, self._found(self.open, subject), settling=self.open.settling)

    def evidence(self) -> float:
        """Return the score, 0..1: 0.5 where a chart crosses its threshold, towards 1 as it climbs.

        1 - 2^-r, where r is the logarithm of the run length that the highest chart stands for, over that of
        the budget.
        """
        budget = math.log10(self._arl * len(KS))
        heights = (min(max(pair), CAP * h) for pair, (_, h) in zip(self._pairs(), self._bars, strict=True))
        reached = max(math.log10(max(1.0, arl0(k, height))) for k, height in zip(KS, heights, strict=True))
        return 1 - 2 ** -(reached / budget)

    def confidence(self) -> float:
        """Return how far the baseline can be relied upon, 0..1: 1 less the standard error of its mean, in sigma."""
        return 1 - 1 / math.sqrt(self._baseline.size)

    def course(self, subject: Subject) -> Course | None:
        """Return where the open shift heads, or None when it heads for no limit."""
        found = None if self.open is None else self._found(self.open, subject)
        return None if found is None or found.ahead is None else found.course(subject, found.ahead, self.confidence())

    def rests(self) -> bool:
        """Whether an open shift has come to a level, as far as one can tell."""
        return self.open is not None and self.open.heading(self._baseline)[1] == 0.0

    def _found(self, departure: Departure, subject: Subject) -> Shifted:
        base = self._baseline
        since_ms = departure.alarm.since_ms
        return Shifted(base.mean, base.spread, *departure.heading(base), since_ms, subject.above, subject.below)

    def _pairs(self) -> list[list[float]]:
        return [self._sums[chart : chart + 2] for chart in range(0, CHARTS, 2)]

    def _follow(self, crossed: int, deviation: float, at_ms: int, mono_ns: int) -> None:
        """Go on while a shift is open, or open one; here one is off the hot path."""
        if self.open is None:
            self.open = Departure(self._alarm(crossed, deviation, at_ms, mono_ns), self._baseline, self._warmup)
        else:
            self.open.follow(deviation, mono_ns)
        if self.open.over:
            self.open = None
            self._reset_charts(at_ms)

    def _alarm(self, chart: int, deviation: float, at_ms: int, mono_ns: int) -> Alarm:
        """Return what the crossing chart says of the shift.

        A chart that left zero n readings ago and stands at s has seen a mean innovation of k + s / n; undoing
        the whitening gives the mean deviation. It was clipped: a reading beyond that speaks for itself.
        """
        base = self._baseline
        sign = -1 if chart % 2 else 1
        readings = self._heard - self._marks[chart]
        k = self._bars[chart // 2][0]
        innovation = (k + self._sums[chart] / readings) / self._per_sigma
        mean = (innovation - base.phi * sign * self._recent / readings) / (1 - base.phi)
        level = max(mean, k * base.sigma / (1 - base.phi))
        if sign * deviation > CLIP * base.spread:
            level = max(level, sign * deviation)
        return Alarm(self._marks[chart + CHARTS], at_ms, mono_ns, readings, sign * level)

    def _learn(self, learning: Learning) -> None:
        """Correct the baseline by the block that is full, unless a chart is under suspicion."""
        if any(max(pair) > SUSPICION * h for pair, (_, h) in zip(self._pairs(), self._bars, strict=True)):
            learning.drop_block()
            return
        corrected = learning.correct(self._baseline)
        self._recent += self._mean - corrected.mean
        self._stand_on(corrected, learning.long_run())
        if corrected.size >= ENOUGH:
            self._learning = None

    def _stand_on(self, baseline: Baseline, long_run: float) -> None:
        self._baseline, self._long_run = baseline, long_run
        self._mean, self._phi = baseline.mean, baseline.phi
        self._reach = CLIP * baseline.sigma
        self._per_sigma = 1 / (baseline.sigma * long_run * _caution(baseline))
        self._bars = bars(self._arl, baseline.size)

    def _reset_charts(self, at_ms: int) -> None:
        self._sums = [0.0] * CHARTS
        self._marks = array("q", [self._heard] * CHARTS + [at_ms] * CHARTS)

    def to_state(self) -> ShiftState:
        """Return it as plain JSON values."""
        return {
            "arl": self._arl, "warmup": self._warmup, "heard": self._heard, "baseline": self._baseline,
            "long_run": self._long_run, "recent": self._recent, "sums": list(self._sums), "marks": list(self._marks),
            "learning": None if self._learning is None else self._learning.to_state(),
            "open": None if self.open is None else self.open.to_state(),
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: ShiftState) -> "Shift":
        """Return what `to_state` was taken of. Raises WireError for figures that none can have."""
        baseline = Baseline(*state["baseline"])
        figures = (*baseline, state["arl"], state["long_run"], state["recent"], *state["sums"])
        sound = all(map(math.isfinite, figures)) and baseline.sigma > 0 and abs(baseline.phi) <= PHI_MAX
        if not sound or (len(state["sums"]), len(state["marks"])) != (CHARTS, 2 * CHARTS):
            raise WireError("baselines: got figures that no baseline can have, wanted those that were saved")
        shift = cls(baseline, state["arl"], state["warmup"], at_ms=0)
        shift._stand_on(baseline, state["long_run"])
        shift._heard, shift._recent = state["heard"], state["recent"]
        shift._sums, shift._marks = list(state["sums"]), array("q", state["marks"])
        shift._learning = None if state["learning"] is None else Learning(baseline, state["learning"])
        shift.open = None if state["open"] is None else Departure.from_state(state["open"], baseline)
        return shift


def _caution(baseline: Baseline) -> float:
    """Return by how much sigma is widened for what a baseline from few readings does not know.

    Sigma is known to 1 / sqrt(2 n). An error of phi, sqrt((1 - phi^2) / n), leaves innovations whose sums vary
    more by its ratio to 1 - phi. The two are independent.
    """
    phi = baseline.phi
    return 1 + ALLOWANCE * math.sqrt((0.5 + (1 + phi) / (1 - phi)) / baseline.size)
