"""A level that leaves its baseline, at once or slowly: two-sided CUSUM charts over whitened readings.

Charts for small and large shifts run side by side over the innovations (judge/expected.py). When one passes
the bar, the charts go on from the new level, so that a second shift, or the way back, is seen as soon as the first; the
finding stays with the baseline it left, and is followed until the level comes back (judge/departure.py) or has become
the usual one: it has lasted four warm-ups, or four times as long as it took to be noticed, and rests.
"""

from typing import TYPE_CHECKING

from edge_agent.judge.baseline import CLIP, Baseline, sound
from edge_agent.judge.charts import Charts, at_zero, charts_of
from edge_agent.judge.cusum import NORMAL, Shape, shape_of
from edge_agent.judge.departure import Alarm, Departure
from edge_agent.judge.detector import Learned
from edge_agent.judge.figures import parts
from edge_agent.judge.shifted import Shifted, shift_sentence
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.trend import Course
from edge_agent.model.site import DriftSettings

if TYPE_CHECKING:
    from edge_agent.judge.expected import Expected

KS = (0.15, 0.55)
"""Reference values of the charts that run side by side: two, for each more would cost all of them a higher bar."""
SHARE = 1.2


def begin(subject: Subject, settings: DriftSettings) -> "Shift | None":
    """Return the detector for a variable whose level should rest."""
    return Shift(settings.warmup) if subject.shifts else None


class Shift:
    """The charts of one variable, and the shift that is open."""

    __slots__ = ("_base", "_charts", "_expected", "_sides", "_warmup", "open")

    kind = "shift"
    share = SHARE

    def __init__(self, warmup: int) -> None:
        self._warmup = warmup
        self._charts: Charts | None = None
        self._sides = at_zero(KS)
        self._expected: Expected | None = None
        self._base: Baseline | None = None
        self.open: Departure | None = None

    def learn(self, learned: Learned) -> None:
        """Set out from a baseline."""
        self._expected = learned.expected
        self._base = learned.expected.baseline
        shape = shape_of([max(-CLIP, min(CLIP, error)) for error in learned.errors])
        self._charts = charts_of(KS, learned.bar, shape, learned.expected.standard_error)
        self._sides = at_zero(KS)

    def update(self, step: Step) -> float:
        """Take a reading; return the decades of the highest chart."""
        if self.open is not None:
            self._follow(self.open, step)
        if not step.ready:
            return 0.0
        charts = self._charts
        assert charts is not None
        return charts.update(self._sides, step.z, step.heard, step.at_ms)

    def alarm(self, step: Step) -> None:
        """Open a shift from what the highest chart has seen, or take the open one to its new level."""
        charts, expected, base = self._charts, self._expected, self._base
        assert charts is not None
        assert expected is not None
        assert base is not None
        if self.open is not None and self._swings_otherwise(self.open, step.at_ms):
            self.open.jump(expected.mean - base.mean)
            if self.open.over:
                self._return()
            self.reset()
            return
        lead = charts.lead(self._sides, step.heard)
        level = expected.level(lead.sign, lead.mean, lead.readings, step)
        away = level + expected.mean - base.mean
        if self.open is None:
            alarm = Alarm(lead.since_ms, step.at_ms, step.mono_ns, lead.readings, away)
            self.open = Departure(alarm, base, self._warmup)
            expected.rebase(level, lead.readings, step.again)
        else:
            self.open.jump(away)
            if self.open.over:
                self._return()
            else:
                expected.rebase(level, lead.readings, step.again)
        self.reset()

    def reset(self) -> None:
        """Begin the charts anew."""
        self._sides = at_zero(KS)

    def step(self, by: float) -> None:
        """Take the baseline up by what the weekday asks for, unless that is the way back to it from an open shift."""
        base, expected = self._base, self._expected
        if base is None or expected is None:
            return
        if self.open is None or abs(expected.mean - base.mean) > abs(self.open.level) / 2:
            self._base = base._replace(mean=base.mean + by)

    @property
    def decades(self) -> float:
        """What the last reading has come to."""
        return 0.0 if self._charts is None else self._charts.decades(self._sides)

    @property
    def base(self) -> Baseline | None:
        """The baseline that shifts are told against."""
        return self._base

    @property
    def shape(self) -> Shape:
        """The innovations' own, as its charts take it."""
        return NORMAL if self._charts is None else self._charts.shape

    def learned_more(self, at_ms: int) -> None:
        """Take note that the baseline has been corrected; follow the swing while a shift is open that came with its day."""
        assert self._charts is not None
        assert self._expected is not None
        if self.open is not None and self._swings_otherwise(self.open, at_ms):
            self.reset()
        if self.open is None:
            self._base = self._expected.baseline
        self._charts = self._charts.widened(self._expected.standard_error)

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

    def course(self, subject: Subject, confidence: float) -> Course | None:
        """Return where the open shift heads, or None when it heads for no limit."""
        found = None if self.open is None else self._found(self.open, subject)
        return None if found is None or found.ahead is None else found.course(subject, found.ahead, confidence)

    def _swings_otherwise(self, departure: Departure, at_ms: int) -> bool:
        """Follow the swing of a day that began with the shift; whether it was elsewhere."""
        expected = self._expected
        if expected is None or expected.profile is None or not departure.alarm.with_the_day(expected.profile.day_of):
            return False
        return expected.swing(at_ms)

    def _found(self, departure: Departure, subject: Subject) -> Shifted:
        base = self._base
        assert base is not None
        since_ms = departure.alarm.since_ms
        return Shifted(base.mean, base.spread, *departure.heading(base), since_ms, subject.above, subject.below)

    def _follow(self, departure: Departure, step: Step) -> None:
        expected, base = self._expected, self._base
        assert expected is not None
        assert base is not None
        departure.follow(step.deviation + expected.mean - base.mean, step.mono_ns)
        if departure.over:
            self._return()
        elif departure.readings >= departure.patience:
            self._settle(departure, base)

    def _return(self) -> None:
        """Stand on the baseline again: the level has come back to it."""
        assert self._charts is not None
        assert self._expected is not None
        assert self._base is not None
        self._expected.come_back(self._base)
        self._charts = self._charts.widened(self._expected.standard_error)
        self.reset()
        self.open = None

    def _settle(self, departure: Departure, base: Baseline) -> None:
        """Take the new level as the usual one when it rests, was said to be learned, and rests still."""
        if departure.heading(base)[1] != 0.0:
            departure.settling = False
        elif not departure.settling:
            departure.settling = True
        else:
            assert self._expected is not None
            self._base = self._expected.baseline
            self.open = None
            return
        departure.patience = departure.readings + self._warmup

    def to_state(self) -> list[object]:
        """Return it as plain JSON values."""
        if self._charts is None or self._base is None:
            return [None, None, None]
        return [
            self._charts.to_state(self._sides),
            list(self._base),
            None if self.open is None else self.open.to_state(),
        ]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned; `learn` came before. Raises WireError."""
        charts, base, departure = parts(state, 3)
        if self._charts is None:
            return
        self._charts, self._sides = self._charts.resumed(charts)
        self._base = sound(base)
        self.open = None if departure is None else Departure.from_state(departure, self._base)
