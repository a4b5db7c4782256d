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
from typing import TypedDict

from edge_agent.judge.baseline import CLIP, PHI_MAX, Baseline
from edge_agent.judge.cusum import ALLOWANCE, KS, arl0, bars
from edge_agent.judge.departure import Alarm, Departure, DepartureState
from edge_agent.judge.learning import ENOUGH, Learning, LearningState
from edge_agent.judge.severity import gravity
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
    since: list[int]
    since_ms: list[int]
    learning: LearningState | None
    open: DepartureState | None


class Shift:
    """The charts of one variable. `arl` is its budget in readings a false alarm, `warmup` is in readings."""

    __slots__ = (
        "_bars", "_long_run", "_mean", "_per_sigma", "_phi", "_reach", "_recent", "_since", "_since_ms", "_sums",
        "_white", "arl", "baseline", "heard", "learning", "open", "sigma", "warmup",
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
        deviation = value - self._mean
        before = self._recent
        expected = 0.0 if after_gap else self._phi * before
        error = deviation * self._white if after_gap else deviation - expected
        reach = self._reach
        if error > reach:
            error = reach
        elif error < -reach:
            error = -reach
        recent = self._recent = error / self._white if after_gap else expected + error
        z = error * self._per_sigma
        sums, since, since_ms = self._sums, self._since, self._since_ms
        crossed = -1
        i = 0
        for k, h in self._bars:
            up = sums[i] + z - k
            if up > 0.0:
                sums[i] = up
                if up > h:
                    crossed = i
            else:
                sums[i], since[i], since_ms[i] = 0.0, heard, at_ms
            i += 1
            down = sums[i] - z - k
            if down > 0.0:
                sums[i] = down
                if down > h:
                    crossed = i
            else:
                sums[i], since[i], since_ms[i] = 0.0, heard, at_ms
            i += 1
        if crossed >= 0 or self.open is not None:
            self._follow(crossed, deviation, at_ms, mono_ns)
        elif self.learning is not None and not after_gap and self.learning.add(before, recent, error):
            self._learn(self.learning)

    def conclude(self, subject: Subject, trust: float) -> Conclusion | None:
        """Return what there is to say of the open shift; `trust` is the share of good readings (0..1)."""
        if self.open is None:
            return None
        found = self._found(self.open, subject)
        told = (("trend", found.slope * found.deviation > 0), ("settling", self.open.settling))
        return Conclusion(
            self.kind,
            gravity(found.size, found.way, found.seconds),
            shift_sentence(subject, found, self.open.settling),
            self.open.alarm.since_ms,
            self.open.alarm.at_ms,
            round(self.evidence(), 3),
            self._confidence(trust),
            found.size,
            tuple(remark for remark, so in told if so),
        )

    def course(self, subject: Subject, trust: float, anchors: tuple[str, ...]) -> Course | None:
        """Return where an open shift with a trend heads, or None when it heads for no limit."""
        if self.open is None:
            return None
        found = self._found(self.open, subject)
        if found.ahead is None:
            return None
        return Course(
            number=subject.number,
            path=subject.path,
            value=self.baseline.mean + found.deviation,
            slope=found.slope,
            slope_error=found.slope_error,
            limit=found.ahead,
            confidence=self._confidence(trust),
            criticality=subject.criticality,
            anchors=anchors,
        )

    def rests(self) -> bool:
        """Whether an open shift has come to a level, as far as one can tell."""
        return self.open is not None and self.open.heading(self.baseline)[1] == 0.0

    def _found(self, departure: Departure, subject: Subject) -> Shifted:
        mean = self.baseline.mean
        deviation, slope, slope_error = departure.heading(self.baseline)
        return Shifted(
            mean, self.sigma, deviation, slope, slope_error, departure.alarm.since_ms, subject.above, subject.below
        )

    def _confidence(self, trust: float) -> float:
        """Return how far the baseline can be relied upon: less the standard error of its mean, in sigma."""
        return round(trust * (1 - 1 / math.sqrt(self.baseline.size)), 3)

    def evidence(self) -> float:
        """Return the score, 0..1: 0.5 where a chart crosses its threshold, towards 1 as it climbs.

        1 - 2^-r, where r is the logarithm of the run length that the highest chart stands for, over that of
        the budget (DRIFT §2.6 of the design).
        """
        budget = math.log10(self.arl * len(KS))
        heights = (min(max(self._sums[2 * i : 2 * i + 2]), CAP * h) for i, (_, h) in enumerate(self._bars))
        reached = max(math.log10(max(1.0, arl0(k, height))) for k, height in zip(KS, heights, strict=True))
        return 1 - 2 ** -(reached / budget)

    def _follow(self, crossed: int, deviation: float, at_ms: int, mono_ns: int) -> None:
        """Go on while a shift is open, or open one; everything here is off the hot path."""
        if self.open is None:
            self.open = Departure(self._alarm(crossed, deviation, at_ms, mono_ns), self.baseline, self.warmup)
        else:
            self.open.follow(deviation, mono_ns, self.sigma)
        if self.open.over:
            self.open = None
            self._reset_charts(at_ms)

    def _alarm(self, chart: int, deviation: float, at_ms: int, mono_ns: int) -> Alarm:
        """Return what the crossing chart says of the shift.

        A chart that left zero n readings ago and stands at s has seen a mean innovation of k + s / n; undoing
        the whitening gives the mean deviation. It was clipped: a reading beyond that speaks for itself.
        """
        base = self.baseline
        sign = -1 if chart % 2 else 1
        readings = self.heard - self._since[chart]
        k = self._bars[chart // 2][0]
        innovation = (k + self._sums[chart] / readings) / self._per_sigma
        mean = (innovation - base.phi * sign * self._recent / readings) / (1 - base.phi)
        level = max(mean, k * base.sigma / (1 - base.phi))
        if sign * deviation > CLIP * self.sigma:
            level = max(level, sign * deviation)
        return Alarm(self._since_ms[chart], at_ms, mono_ns, readings, sign * level)

    def _learn(self, learning: Learning) -> None:
        """Correct the baseline by the block that is full, unless a chart is under suspicion."""
        if any(max(self._sums[2 * i : 2 * i + 2]) > SUSPICION * h for i, (_, h) in enumerate(self._bars)):
            learning.drop_block()
            return
        corrected = learning.correct(self.baseline)
        self._recent += self.baseline.mean - corrected.mean
        self._stand_on(corrected, learning.long_run())
        if corrected.size >= ENOUGH:
            self.learning = None

    def _stand_on(self, baseline: Baseline, long_run: float) -> None:
        self.baseline = baseline
        self._mean, self._phi = baseline.mean, baseline.phi
        self._white = math.sqrt(1 - baseline.phi**2)
        self.sigma = baseline.sigma / self._white  # of the readings, where the baseline's is of the innovations
        self._reach = CLIP * baseline.sigma
        self._long_run = long_run
        self._per_sigma = 1 / (baseline.sigma * long_run * _caution(baseline))
        self._bars = bars(self.arl, baseline.size)

    def _reset_charts(self, at_ms: int) -> None:
        self._sums = [0.0] * CHARTS
        self._since = [self.heard] * CHARTS
        self._since_ms = [at_ms] * CHARTS

    def to_state(self) -> ShiftState:
        """Return it as plain JSON values."""
        return {
            "arl": self.arl, "warmup": self.warmup, "heard": self.heard, "baseline": self.baseline,
            "long_run": self._long_run, "recent": self._recent,
            "sums": list(self._sums), "since": list(self._since), "since_ms": list(self._since_ms),
            "learning": None if self.learning is None else self.learning.to_state(),
            "open": None if self.open is None else self.open.to_state(),
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: ShiftState) -> "Shift":
        """Return what `to_state` was taken of. Raises WireError for figures that none can have."""
        baseline = Baseline(*state["baseline"])
        figures = (*baseline, state["long_run"], state["recent"], *state["sums"])
        sound = all(map(math.isfinite, figures)) and baseline.sigma > 0 and abs(baseline.phi) <= PHI_MAX
        if not sound or {len(state[row]) for row in ("sums", "since", "since_ms")} != {CHARTS}:
            raise WireError("baselines: got figures that no baseline can have, wanted those that were saved")
        shift = cls(baseline, state["arl"], state["warmup"], 0)
        shift._stand_on(baseline, state["long_run"])
        shift.heard, shift._recent = state["heard"], state["recent"]
        shift._sums, shift._since, shift._since_ms = list(state["sums"]), list(state["since"]), list(state["since_ms"])
        shift.open = None if state["open"] is None else Departure.from_state(state["open"])
        if state["learning"] is None:
            shift.learning = None
        elif shift.learning is not None:
            shift.learning.resume(state["learning"])
        return shift


def _caution(baseline: Baseline) -> float:
    """Return by how much sigma is widened for what a baseline from few readings does not know.

    Sigma is known to 1 / sqrt(2 n). An error of phi, sqrt((1 - phi^2) / n), leaves innovations whose sums vary
    more by its ratio to 1 - phi. The two are independent.
    """
    phi = baseline.phi
    return 1 + ALLOWANCE * math.sqrt((0.5 + (1 + phi) / (1 - phi)) / baseline.size)
