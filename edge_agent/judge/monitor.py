"""The running statistics: a `Monitor` for each variable, and the `Watch` over all of a site.

This is the one mutable thing in the pure rooms, because a small board updates thousands a second. A monitor has no
opinion while it warms up; then its detectors see every good reading, and once a turn it is asked what is open.

A shift that has lasted four warm-ups, or four times as long as it took to be noticed, and rests at its new level is
the new usual: the baseline is learned anew from the last warm-up of that time, the finding says so, and ends with it.
One that still has a trend stays open.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

from edge_agent.judge.baseline import Warmup, WarmupState, estimate
from edge_agent.judge.departure import Departure
from edge_agent.judge.detectors.limit import Limit, LimitState
from edge_agent.judge.detectors.shift import Shift, ShiftState
from edge_agent.judge.saying import Said, is_news
from edge_agent.judge.severity import worst
from edge_agent.judge.subject import Conclusion, Subject, subjects
from edge_agent.judge.trend import Course
from edge_agent.model.checked import as_type
from edge_agent.model.errors import WireError
from edge_agent.model.finding import Anomaly
from edge_agent.model.reading import GOOD, Event, bad
from edge_agent.model.site import DriftSettings, Site
from edge_agent.model.world import World

VERSION = 1
HUGEST = 1e150
"""What lies beyond is taken as lying here: squares stay finite. No plant has such a value."""
GAP = 4
"""Usual intervals of silence after which a reading is no longer the successor of the one before."""
BAD = bad("")
NEVER_NS = 2**62
"""In place of the time of a reading before the first: later than any, so that the first follows nothing."""
TRUST_MEMORY = 256
"""Readings over which the share of good ones is taken."""
FULL_TRUST = 0.999
NOTHING_SAID: dict[str, Said] = {}
"""Shared by all and never changed in place: most have nothing to say."""


class MonitorState(TypedDict):
    """A `Monitor` in plain JSON values."""

    fingerprint: str
    at_ms: int
    mono_ns: int
    gap_ns: int
    trust: float
    warmup: WarmupState | None
    shift: ShiftState | None
    limit: LimitState | None
    said: dict[str, Said]


class Monitor:
    """The statistics of one variable, from its first reading on."""

    __slots__ = (
        "_at_ms", "_gap_ns", "_limit", "_mono_ns", "_said", "_settings", "_shift", "_trust", "_warmup", "speaks", "subject",
    )  # fmt: skip

    def __init__(self, subject: Subject, settings: DriftSettings) -> None:
        self.subject = subject
        self.speaks = False  # whether a finding may be open: for the hot loop; `findings` has the truth
        self._settings = settings
        self._at_ms = 0
        self._mono_ns = NEVER_NS
        self._gap_ns = 0
        self._trust = 1.0
        self._warmup = Warmup(settings.warmup) if subject.shifts else None
        self._shift: Shift | None = None
        limits = subject.above is not None or subject.below is not None
        self._limit = Limit(subject.above, subject.below) if limits else None
        self._said = NOTHING_SAID

    def update(self, value: float, mono_ns: int, at_ms: int) -> None:
        """Take a good reading, a number, with the monotonic and the wall time of it."""
        if not -HUGEST < value < HUGEST:
            value = math.copysign(HUGEST, value)
        elapsed_ns = mono_ns - self._mono_ns
        self._mono_ns = mono_ns
        self._at_ms = at_ms
        if self._trust < 1.0:
            self._regain()
        if self._limit is not None:
            self._limit.update(value, at_ms)
            if self._limit.open is not None:
                self.speaks = True
        shift = self._shift
        if shift is not None:
            shift.update(value, at_ms, mono_ns, after_gap=not 0 <= elapsed_ns <= self._gap_ns)
            if shift.open is not None:
                self.speaks = True
                self._settle(shift, shift.open, value, elapsed_ns)
            elif self._warmup is not None:
                self._warmup = None  # the level came back while it was being learned
        elif self._warmup is not None and self._warmup.add(value, elapsed_ns):
            self._stand_on(self._warmup)

    def missed(self) -> None:
        """Take note of a reading that is not good."""
        self._trust -= self._trust / TRUST_MEMORY

    def findings(self, known: Mapping[str, Anomaly], at_ms: int) -> list[Anomaly]:
        """Return what is open now. `known` are the findings in the world, which stand as long as they may."""
        found = []
        for detector in (self._shift, self._limit):
            conclusion = None if detector is None else detector.conclude(self.subject)
            if detector is not None and conclusion is not None:
                found.append(self._worded(detector, conclusion, known, at_ms))
        self.speaks = bool(found)
        return found

    def course(self) -> Course | None:
        """Return where the variable heads: None without an open shift, a trend and a limit ahead."""
        course = None if self._shift is None else self._shift.course(self.subject)
        if course is None:
            return None
        return course._replace(confidence=course.confidence * self._trust, anchors=(self.subject.anchor(self._at_ms),))

    def _worded(self, detector: Shift | Limit, found: Conclusion, known: Mapping[str, Anomaly], at_ms: int) -> Anomaly:
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
        return Anomaly(
            id=id_,
            number=self.subject.number,
            kind=detector.kind,
            severity=worst(found.severity, stands.severity) if stands is not None else found.severity,
            sentence=detector.sentence(self.subject),
            since_ms=found.since_ms,
            score=round(detector.evidence(), 3),
            confidence=round(detector.confidence() * self._trust, 3),
            anchors=tuple(map(self.subject.anchor, dict.fromkeys((found.raised_ms, self._at_ms)))),
        )

    def _regain(self) -> None:
        trust = self._trust + (1 - self._trust) / TRUST_MEMORY
        self._trust = trust if trust < FULL_TRUST else 1.0

    def _settle(self, shift: Shift, departure: Departure, value: float, elapsed_ns: int) -> None:
        """Learn the level of an open shift once it has lasted, and take it as the baseline if it rests."""
        if self._warmup is None:
            if departure.readings < departure.patience:
                return
            if shift.rests():
                self._warmup = Warmup(self._settings.warmup)
            else:
                departure.patience += self._settings.warmup
        elif self._warmup.add(value, elapsed_ns):
            if shift.rests():
                self._stand_on(self._warmup)
            else:
                self._warmup = None
        departure.settling = self._warmup is not None

    def _stand_on(self, warmup: Warmup) -> None:
        interval_ns = warmup.interval_ns()
        self._gap_ns = GAP * interval_ns
        arl = self._settings.false_alarm_every * 1e9 / interval_ns
        baseline = estimate(warmup.values, self.subject.quantum)
        self._shift = Shift(baseline, arl, self._settings.warmup, self._at_ms)
        self._warmup = None

    def fingerprint(self) -> str:
        """Return what the statistics rest on: with another definition they are worth nothing."""
        settings = self._settings
        return f"{VERSION}|{settings.warmup}|{float(settings.false_alarm_every)}|{self.subject.fingerprint()}"

    def to_state(self) -> MonitorState:
        """Return everything it knows as plain JSON values; floats come back exactly from their `repr`."""
        return {
            "fingerprint": self.fingerprint(),
            "at_ms": self._at_ms,
            "mono_ns": self._mono_ns,
            "gap_ns": self._gap_ns,
            "trust": self._trust,
            "warmup": None if self._warmup is None else self._warmup.to_state(),
            "shift": None if self._shift is None else self._shift.to_state(),
            "limit": None if self._limit is None else self._limit.to_state(),
            "said": dict(self._said),
        }

    @classmethod
    def from_state(cls, subject: Subject, settings: DriftSettings, raw: object) -> "Monitor":
        """Return what `to_state` was taken of; a new monitor when `raw` is damaged or of another definition."""
        monitor = cls(subject, settings)
        try:
            state = as_type(raw, MonitorState, f"baseline of {subject.path}")
            shift = None if state["shift"] is None else Shift.from_state(state["shift"])
        except WireError:
            return monitor
        if state["fingerprint"] != monitor.fingerprint():
            return monitor
        monitor._at_ms, monitor._mono_ns, monitor._gap_ns = state["at_ms"], state["mono_ns"], state["gap_ns"]
        monitor._trust, monitor._said, monitor._shift = state["trust"], state["said"], shift
        monitor._warmup = None if state["warmup"] is None else Warmup(settings.warmup, state["warmup"])
        if monitor._limit is not None and state["limit"] is not None:
            monitor._limit.resume(state["limit"])
        monitor.speaks = True
        return monitor


class Watch:
    """All the monitors of a site. `state` is what `to_state` returned before the restart, or anything at all."""

    def __init__(self, settings: DriftSettings, world: World, site: Site, state: object = None) -> None:
        kept = state if isinstance(state, dict) else {}
        self._monitors = {
            subject.number: Monitor.from_state(subject, settings, kept.get(subject.path))
            for subject in subjects(site, world.variables)
        }
        self._speaking = {number: monitor for number, monitor in self._monitors.items() if monitor.speaks}

    def observe(self, events: Sequence[Event]) -> None:
        """Take the events of a turn, in the order they were made. Text and truth values are not watched."""
        monitors = self._monitors
        for event in events:
            monitor = monitors.get(event.number)
            if monitor is None:
                continue
            value = event.value
            if type(value) is float or type(value) is int:
                if event.quality != GOOD and event.quality.startswith(BAD):
                    monitor.missed()
                    continue
                at = event.anchor.at
                monitor.update(value, at.mono_ns, at.at_ms)
                if monitor.speaks:
                    self._speaking[event.number] = monitor
            elif value is None:
                monitor.missed()

    def anomalies(self, at_ms: int, world: World) -> dict[str, Anomaly]:
        """Return the findings that are open now, by id; those in the world stand as they are while they may."""
        found = [anomaly for m in self._speaking.values() for anomaly in m.findings(world.findings, at_ms)]
        self._speaking = {number: monitor for number, monitor in self._speaking.items() if monitor.speaks}
        return {anomaly.id: anomaly for anomaly in found}

    def trends(self) -> list[Course]:
        """Return the variables that are on their way to a limit."""
        courses = (monitor.course() for monitor in self._speaking.values())
        return [course for course in courses if course is not None]

    def to_state(self) -> dict[str, MonitorState]:
        """Return the state of every monitor as plain JSON values, by path."""
        return {monitor.subject.path: monitor.to_state() for monitor in self._monitors.values()}


def detect_anomaly(watch: Watch, events: Sequence[Event], world: World, at_ms: int) -> dict[str, Anomaly]:
    """Let the statistics see the events of a turn, and return the findings that are open after it, by id."""
    watch.observe(events)
    return watch.anomalies(at_ms, world)
