"""The running statistics of one variable: its model, its detectors, and the budget they share.

A monitor has no opinion while it warms up. Then each good reading passes the model (judge/expected.py) and all
detectors, which are the files of judge/detectors; each says in decades how rare it is what it sees, and the rarest that
passes its bar is an alarm. The bars follow from the user's budget alone. After an alarm the bar of its kind is raised
for the time of the budget: a variable that is not as it was taken to be cannot shout all day.
"""

import functools
import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypedDict, TypeVar

from edge_agent.judge import bars, detectors
from edge_agent.judge.bars import Budget
from edge_agent.judge.baseline import CLIP, Baseline, Warmup
from edge_agent.judge.charts import charts_of
from edge_agent.judge.days import DayOf, utc_day
from edge_agent.judge.detector import Detector, Learned
from edge_agent.judge.detectors.missing import Missing
from edge_agent.judge.detectors.shift import KS, SHARE, Shift
from edge_agent.judge.detectors.spike import Spikes
from edge_agent.judge.detectors.stuck import Stuck
from edge_agent.judge.expected import Expected, learn_from
from edge_agent.judge.figures import figures, shared
from edge_agent.judge.hindsight import Change, Seen, look_back
from edge_agent.judge.longrun import BLOCK
from edge_agent.judge.profile import Profile
from edge_agent.judge.saying import Said, is_news
from edge_agent.judge.severity import worst
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.trend import Course
from edge_agent.model.checked import as_type
from edge_agent.model.errors import WireError
from edge_agent.model.finding import Anomaly
from edge_agent.model.site import DriftSettings

VERSION = 11
HUGEST = 1e150
"""What lies beyond is taken as lying here: squares stay finite. No plant has such a value."""
GAP = 4
"""Usual intervals of silence after which a reading is no longer the successor of the one before."""
NEVER_NS = 2**63 - 1
"""In place of the time of a reading before the first: later than any, so that the first follows nothing."""
SILENT = 20
"""Readings before any score."""
TRUST_MEMORY = 256
"""Readings over which the share of good ones is taken."""
FULL_TRUST = 0.999
LEAST_ARL = 100.0
"""Fewer readings between false alarms are no budget."""
EXPLAINS = 0.6
"""Share of its bar at which a shift explains an alarm of the variance."""
SUSPICION = 0.8
"""Share of a bar above which readings do not teach what is usual."""
TEACHERS = 1024
"""Readings of a season that teach it: of more, each n-th does."""
NOTHING_SAID: dict[str, Said] = {}
"""Shared by all and never changed in place: most have nothing to say."""

Kind = TypeVar("Kind", Missing, Shift, Spikes, Stuck)
Begin = Callable[[Subject, DriftSettings], Detector | None]


@functools.cache
def registry() -> Mapping[str, Begin]:
    """Return how each detector begins, by its file's name, in order."""
    names = sorted(found.name for found in pkgutil.iter_modules(detectors.__path__))
    return {name: importlib.import_module(f"{detectors.__name__}.{name}").begin for name in names}


class Insight(NamedTuple):
    """What is known of a variable, for a person."""

    subject: Subject
    shares: int
    """How many variables share the budget."""
    at_ms: int
    heard: int
    warmup: int
    baseline: Baseline | None
    has_season: bool
    interval_s: float
    decades: float
    """How rare it is what the last reading has come to, as the logarithm of readings; an alarm above `bar`."""
    bar: float
    budget: float
    """The bar that the budget asks for, before alarms raised it."""
    raised: tuple[tuple[str, int], ...]
    """Kinds whose bar is raised, and how often they have alarmed."""
    sentences: tuple[str, ...]
    """What is open."""


class MonitorState(TypedDict):
    """A `Monitor` in plain JSON values."""

    fingerprint: str
    own: list[int | float]
    warmup: object
    profile: object
    expected: object
    detectors: dict[str, object]
    raised: bars.Bars
    said: dict[str, Said]


class Monitor:
    """The statistics of one variable, from its first reading on. `shares` variables share the budget."""

    __slots__ = (
        "_anew", "_at_ms", "_bars", "_budget", "_detectors", "_expected", "_gap_ns", "_heard", "_mono_ns", "_profile",
        "_raised", "_rests_at", "_said", "_settings", "_spikes", "_step", "_stride", "_trust", "_warmup", "device",
        "speaks", "subject", "top",
    )  # fmt: skip

    def __init__(
        self,
        subject: Subject,
        settings: DriftSettings,
        shares: int = 1,
        step: Step | None = None,
        device: str = "",
        day_of: DayOf = utc_day,
        budget_readings: float | None = None,
    ) -> None:
        self._budget: Budget = shared(Budget(LEAST_ARL, settings.false_alarm_every * 1000, shares, budget_readings))
        self.device = device  # what the device behind it says that it is
        self.subject = subject
        self.speaks = False  # whether a finding may be open: for the hot loop; `findings` has the truth
        self.top = 0.0
        """The rarest that the last reading showed, as a share of its bar: an alarm above 1."""
        self._settings = settings
        self._step = step or Step()
        self._at_ms = 0
        self._mono_ns = NEVER_NS
        self._gap_ns = 0
        self._heard = 0
        self._trust = 1.0
        self._stride = 1
        self._expected: Expected | None = None
        self._warmup = Warmup(settings.warmup) if subject.shifts else None
        season_ms = int(settings.season * 1000)
        self._profile = Profile(shared(season_ms), day_of) if subject.shifts and season_ms else None
        self._anew = False
        self._rests_at: float | None = None  # the value of a variable that has never moved
        begun = (begin(subject, settings) for begin in registry().values())
        self._detectors = tuple(detector for detector in begun if detector is not None)
        self._spikes = self._of(Spikes)
        self._raised = bars.NONE_RAISED
        self._set_bars()
        self._said = NOTHING_SAID

    def update(self, value: float, mono_ns: int, at_ms: int) -> Detector | None:  # noqa: C901, PLR0912 - the hot path
        """Take a good reading, a number, with the monotonic and the wall time of it; return what has alarmed."""
        if not -HUGEST < value < HUGEST:
            value = math.copysign(HUGEST, value)
        step = self._step
        elapsed_ns = mono_ns - self._mono_ns
        self._mono_ns = mono_ns
        self._at_ms = at_ms
        step.heard = self._heard = self._heard + 1
        step.value, step.at_ms = value, at_ms
        step.mono_ns, step.elapsed_ns = mono_ns, elapsed_ns
        if self._trust < 1.0:
            self._regain()
        rests_at = self._rests_at
        if rests_at is not None:
            if value != rests_at:
                self._rests_at = None
            elif not self._raised:
                return self._rest(step)
        expected, profile = self._expected, self._profile
        if expected is None:
            step.ready = step.follows = False
        else:
            step.follows = 0 <= elapsed_ns <= self._gap_ns
            if profile is not None and at_ms >= profile.midnight_ms:
                self._turn_day(expected, profile, at_ms)
            expected.innovate(step)
            if self._anew:
                step.ready = False
        top = 0.0
        leader = None
        for detector, per_bar in zip(self._detectors, self._bars):  # noqa: B905 - a keyword costs as much as a detector
            decades = detector.update(step)
            if decades > 0.0:
                part = decades * per_bar
                if part > top:
                    top, leader = part, detector
        self.top = top
        if expected is not None:
            if profile is not None and self._heard % self._stride == 0:
                self._teach(expected, profile, step)
            if expected.taken >= BLOCK:
                self._end_block(expected, step.at_ms, trusted=top < SUSPICION)
        if self._warmup is not None:
            self._warm(self._warmup, step)
        if top > 1.0 and leader is not None:
            return self._alarm(leader, step)
        return None

    def _rest(self, step: Step) -> Detector | None:
        """Take a reading of a variable that has never moved: only what does not ask how it moves can say anything."""
        step.ready, step.follows = True, 0 <= step.elapsed_ns <= self._gap_ns
        top, leader = 0.0, None
        for detector, per_bar in zip(self._detectors, self._bars, strict=True):
            if detector.kind in bars.OF_REST:
                part = detector.update(step) * per_bar
                if part > top:
                    top, leader = part, detector
        self.top = top
        return self._alarm(leader, step) if top > 1.0 and leader is not None else None

    def missed(self, at_ms: int) -> Detector | None:
        """Take note of a reading that is not good; return what has alarmed."""
        self._trust -= self._trust / TRUST_MEMORY
        missing = self._of(Missing)
        assert missing is not None
        decades = missing.missed()
        self.top = 0.0 if self._expected is None else decades / self._bar(missing)
        return self._hole(missing, at_ms, 0) if self.top > 1.0 else None

    def overdue(self, mono_ns: int, at_ms: int, from_ns: int) -> Detector | None:
        """Take note of what time it is, and that all that was heard since `from_ns` has been told; return what alarms."""
        missing = self._of(Missing)
        if self._expected is None or missing is None:
            return None
        silent_ns = mono_ns - (self._mono_ns if from_ns <= self._mono_ns <= mono_ns else from_ns)
        decades = missing.overdue(silent_ns)
        if decades <= self._bar(missing):
            return None
        self.top = decades / self._bar(missing)
        return self._hole(missing, at_ms, silent_ns)

    def _hole(self, missing: Missing, at_ms: int, elapsed_ns: int) -> Detector | None:
        self._step.at_ms, self._step.elapsed_ns = at_ms, elapsed_ns
        return self._alarm(missing, self._step)

    @property
    def score(self) -> float:
        """The last reading in 0..1: 0.5 at the bar, and towards 1 as it becomes rarer; 0 for the first readings.

        Between alarms it tells how rare the reading itself is, by a bar that no alarm has raised. How far a chart is on
        its way to the bar is no news, nor is what is less rare than another reading of the same episode.
        """
        if self._heard <= SILENT:
            return 0.0
        part = self.top
        if part <= 1.0:
            spikes = self._spikes
            part = spikes.decades / bars.plain(spikes, self._budget.arl) if spikes is not None else 0.0
        return 1 - math.exp2(-part)

    def findings(self, known: Mapping[str, Anomaly], at_ms: int) -> list[Anomaly]:
        """Return what is open now. `known` are the findings in the world, which stand as long as they may."""
        found = []
        for detector in self._detectors:
            if detector.open is not None:
                conclusion = detector.conclude(self.subject)
                assert conclusion is not None
                found.append(self._worded(detector, conclusion, known, at_ms))
        self.speaks = bool(found)
        return found

    def course(self) -> Course | None:
        """Return where the variable heads: None without an open shift, a trend and a limit ahead."""
        shift = self._of(Shift)
        course = None if shift is None else shift.course(self.subject, self.confidence)
        if course is None:
            return None
        return course._replace(anchors=(self.subject.anchor(self._at_ms),))

    @property
    def confidence(self) -> float:
        """How far the baseline can be relied upon, 0..1: 1 less the standard error of its mean, in sigma."""
        return self._trust if self._expected is None else self._trust * (1 - self._expected.standard_error)

    def _worded(self, detector: Detector, found: Conclusion, known: Mapping[str, Anomaly], at_ms: int) -> Anomaly:
        """Return the finding as it stands in the world, or in new words when there is news."""
        id_ = f"{self.subject.path}/{detector.kind}"
        stands = known.get(id_)
        if stands is not None and stands.since_ms != found.since_ms:
            stands = None  # one that ended since; this is another
        said = self._said.get(detector.kind) if stands is not None else None
        if stands is not None and said is not None and not is_news(found, stands, said, at_ms):
            return stands
        remarks = tuple(dict.fromkeys((*found.remarks, *(said.remarks if said is not None else ()))))
        self._said = {**self._said, detector.kind: Said(at_ms, found.size, remarks)}
        remark = "; bar raised: more alarms than budgeted" if detector.kind in bars.often(self._raised) else ""
        return Anomaly(
            id=id_,
            number=self.subject.number,
            kind=detector.kind,
            severity=worst(found.severity, stands.severity) if stands is not None else found.severity,
            sentence=detector.sentence(self.subject) + remark,
            since_ms=found.since_ms,
            score=round(max(0.5, 1 - 2.0**-self.top), 3),
            confidence=round(self._trust if detector.share == bars.PROOF_SHARE else self.confidence, 3),
            anchors=tuple(map(self.subject.anchor, dict.fromkeys((found.raised_ms, self._at_ms)))),
        )

    def _regain(self) -> None:
        trust = self._trust + (1 - self._trust) / TRUST_MEMORY
        self._trust = trust if trust < FULL_TRUST else 1.0

    def _alarm(self, leader: Detector, step: Step) -> Detector | None:
        """Let the rarest open its finding, raise its bar, and let what sees the same begin anew."""
        of_the_model = leader.kind in bars.OF_THE_MODEL
        stuck, shift = self._of(Stuck), self._of(Shift)
        if of_the_model and stuck is not None and stuck.open is not None:
            leader.reset()  # a stuck value explains all that its innovations show
            self.top = 0.0
            return None
        if leader.kind == "variance" and shift is not None and shift.decades > EXPLAINS * self._bar(shift):
            leader = shift  # a level that has left makes innovations large too
        now = bars.lasting(self._raised, leader.kind, step.at_ms, self._budget.period_ms)
        step.again = max(0, now.alarms - bars.ALLOWED)
        leader.alarm(step)
        if of_the_model or leader is stuck:
            for other in self._detectors:
                if other is not leader and (other.kind in bars.OF_THE_MODEL or other is self._spikes):
                    other.reset()
        if leader.share != bars.PROOF_SHARE:
            self._raised = bars.after_alarm(self._raised, self._detectors, leader, self._budget, step.at_ms)
            self._set_bars()
        if (
            self._expected is not None
            and self._expected.baseline.is_constant
            and (of_the_model or leader.kind in bars.often(self._raised))
        ):
            self._begin_anew()
        self.speaks = True
        return leader

    def _of(self, kind: type[Kind]) -> Kind | None:
        """Return the detector of a kind; None where the variable has none."""
        return next((detector for detector in self._detectors if isinstance(detector, kind)), None)

    def _begin_anew(self) -> None:
        """Have no opinion until a new warm-up: what was constant has moved, and has never told how it moves."""
        self._anew = True
        self._warmup = Warmup(self._settings.warmup)
        if self._profile is not None:
            self._profile = Profile(self._profile.period_ms, self._profile.day_of)
        if self._spikes is not None:
            self._spikes.forget()

    def _bar(self, detector: Detector) -> float:
        return bars.bar(detector, self._budget.arl, self._raised)

    def _set_bars(self) -> None:
        # Of a list: what a tuple is made of in passing takes more room than it needs, and Python keeps such for later.
        self._bars = shared(tuple([1 / self._bar(detector) for detector in self._detectors]))

    def _teach(self, expected: Expected, profile: Profile, step: Step) -> None:
        """Let the reading teach the season."""
        if not step.ready or not -CLIP < step.error < CLIP:
            return
        if profile.add(step.at_ms, step.value - expected.mean):
            self._season_over(expected, profile)
        if profile.curve is not None:
            profile.add_day(step.at_ms, step.value)
        profile.add_scatter(step.at_ms, abs(step.error))

    def _end_block(self, expected: Expected, at_ms: int, *, trusted: bool) -> None:
        """Let a full block of readings correct the baseline; and let raised bars come down."""
        expected.learn(trusted=trusted)
        shift = self._of(Shift)
        if shift is not None:
            shift.learned_more(at_ms)
        if self._raised:
            self._raised = bars.come_down(self._raised, at_ms, self._budget.period_ms)
            self._set_bars()

    def _turn_day(self, expected: Expected, profile: Profile, at_ms: int) -> None:
        shift = self._of(Shift)
        by = profile.turn_day(at_ms, expected.noise, followed=shift is not None and shift.open is not None)
        if by:
            expected.step(by)
            if shift is not None:
                shift.step(by)

    def _season_over(self, expected: Expected, profile: Profile) -> None:
        if profile.curve is None:
            if self._warmup is None:
                self._warmup = Warmup(self._settings.warmup)  # what the season leaves over must be measured anew
            return
        profile.fit(profile.centre(), expected.noise)

    def _warm(self, warmup: Warmup, step: Step) -> None:
        full = warmup.add(step.value, step.at_ms, step.elapsed_ns)
        if self._expected is None and self._profile is not None:
            self._profile.add(step.at_ms, step.value - warmup.origin)
        if full:
            self._warmup = None
            self._stand_on(warmup)

    def _stand_on(self, warmup: Warmup) -> None:
        """Set out from a full warm-up; from a later one only when it has shown a season, or how a constant moves."""
        profile = self._profile
        expected, errors, values = learn_from(warmup, profile, self.subject.quantum)
        if self._expected is not None and not self._anew and (profile is None or profile.curve is None):
            return
        self._anew = False
        interval_ms = expected.interval_ms
        if profile is not None:
            origin = warmup.origin if self._expected is None else self._expected.mean
            profile.recentre(expected.mean - origin)
            self._stride = max(1, int(profile.period_ms / interval_ms / TEACHERS))
            if profile.curve is not None:
                profile.teach_days(warmup.values, warmup.times_ms, expected.noise)
        self._gap_ns = shared(int(GAP * interval_ms * 1e6))
        readings = self._budget.readings or self._settings.false_alarm_every * 1000 / interval_ms
        self._share_budget(readings, readings * interval_ms)
        self._expected = expected
        learned = Learned(expected, errors, values, warmup.times_ms, shared(math.log10(self._budget.arl * SHARE)))
        for detector in self._detectors:
            detector.learn(learned)
        self._rests_at = expected.mean if expected.baseline.is_constant else None
        self._set_bars()

    def _share_budget(self, readings: float, period_ms: float) -> None:
        """Take so many readings, which come in so long, for the time in which all variables may have one false alarm."""
        arl = max(LEAST_ARL, readings * self._budget.shares)
        self._budget = shared(self._budget._replace(arl=arl, period_ms=period_ms))

    def insight(self) -> Insight:
        """Return what a person asks about it."""
        expected, shift, arl = self._expected, self._of(Shift), self._budget.arl
        bar = math.log10(arl) if shift is None else self._bar(shift)
        return Insight(
            subject=self.subject,
            shares=self._budget.shares,
            at_ms=self._at_ms,
            heard=self._heard,
            warmup=self._settings.warmup,
            baseline=None if expected is None or shift is None else shift.base,
            has_season=self._profile is not None and self._profile.curve is not None,
            interval_s=1.0 if expected is None else expected.interval_ms / 1000,
            decades=self.top * bar,
            bar=bar,
            budget=math.log10(arl) if shift is None else bars.plain(shift, arl),
            raised=tuple(bars.often(self._raised).items()),
            sentences=tuple(d.sentence(self.subject) for d in self._detectors if d.open is not None),
        )

    def hindsight(self, changes: Sequence[Change], until_ms: int) -> list[Seen]:
        """Return what its charts say of its past, rising in time; nothing without a baseline."""
        shift = self._of(Shift)
        if self._expected is None or shift is None or shift.base is None:
            return []
        base = shift.base
        if bars.often(self._raised):
            # The caution that alarms have taught since would hide why there was the first.
            model = Expected(base, self._profile, self._expected.interval_ms)
        else:
            model = Expected.from_state(self._expected.to_state(), self._profile)
        charts = charts_of(KS, math.log10(self._budget.arl * SHARE), shift.shape)
        return look_back(model, base, charts, changes, until_ms)

    @property
    def is_new(self) -> bool:
        """Whether it has heard nothing yet."""
        return not self._heard

    def fingerprint(self) -> str:
        """Return what the statistics rest on: with another definition they are worth nothing."""
        settings = self._settings
        spans = (float(settings.false_alarm_every), float(settings.season))
        own = (VERSION, settings.warmup, *spans, settings.timezone, self.device)
        return "|".join(map(str, (*own, self.subject.fingerprint())))

    def to_state(self) -> MonitorState:
        """Return everything it knows as plain JSON values; floats come back exactly from their `repr`."""
        return {
            "fingerprint": self.fingerprint(),
            "own": [
                self._at_ms, self._mono_ns, self._gap_ns, self._heard, self._trust, self._budget.arl, self._stride,
                self._budget.period_ms, self.top, self._budget.shares, float(self._anew),
                float(self._rests_at is not None),
            ],
            "warmup": None if self._warmup is None else self._warmup.to_state(),
            "profile": None if self._profile is None else self._profile.to_state(),
            "expected": None if self._expected is None else self._expected.to_state(),
            "detectors": {detector.kind: detector.to_state() for detector in self._detectors},
            "raised": dict(self._raised),
            "said": dict(self._said),
        }  # fmt: skip

    @classmethod
    def from_state(
        cls,
        subject: Subject,
        settings: DriftSettings,
        raw: object,
        shares: int = 1,
        step: Step | None = None,
        device: str = "",
        day_of: DayOf = utc_day,
    ) -> "Monitor":
        """Return what `to_state` was taken of; a new monitor when `raw` is damaged or of another definition."""
        monitor = cls(subject, settings, shares, step, device, day_of)
        if raw is None:
            return monitor
        try:
            state = as_type(raw, MonitorState, f"baseline of {subject.path}")
            if state["fingerprint"] == monitor.fingerprint():
                monitor._resume(state)
        except WireError:
            return cls(subject, settings, shares, step, device, day_of)
        return monitor

    def _resume(self, state: MonitorState) -> None:
        at_ms, mono_ns, gap_ns, heard, trust, arl, stride, period_ms, top, shares, anew, rests = figures(
            state["own"], 12
        )
        self._budget = shared(self._budget._replace(arl=max(LEAST_ARL, arl), period_ms=max(1.0, period_ms)))
        self._at_ms, self._mono_ns, self._gap_ns = int(at_ms), int(mono_ns), shared(int(gap_ns))
        self._heard, self._stride = int(heard), max(1, int(stride))
        self._trust, self.top = min(1.0, max(0.0, trust)), max(0.0, top)
        self._raised, self._said = state["raised"], state["said"]
        if self._profile is not None:
            self._profile.resume(state["profile"])
        self._warmup = None
        if state["warmup"] is not None:
            self._warmup = Warmup(self._settings.warmup)
            self._warmup.resume(state["warmup"])
            self._anew = bool(anew)
        if state["expected"] is not None:
            self._expected = Expected.from_state(state["expected"], self._profile)
            if shares != self._budget.shares:  # it is divided among more or fewer now; what was learned holds
                self._share_budget(self._budget.period_ms / self._expected.interval_ms, self._budget.period_ms)
            learned = Learned(self._expected, [], [], (), shared(math.log10(self._budget.arl * SHARE)))
            for detector in self._detectors:
                detector.learn(learned)
            self._rests_at = self._expected.mean if rests else None
        for detector in self._detectors:
            detector.resume(state["detectors"].get(detector.kind))
        self._set_bars()
        self.speaks = True
