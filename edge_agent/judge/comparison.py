"""Two variables that should agree: redundant sensors, or a room and its setpoint. What is watched is their difference.

With a bound the difference may be so large and no larger, for so long (`Bounded`). Without one it has a baseline of its
own and is watched as a variable is (`Strayed`): two sensors may differ by a constant, and the one that begins to stray
is noticed though nobody knows which of them it is.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from edge_agent.judge.monitor import Monitor
from edge_agent.judge.severity import by_times, next_step, worst
from edge_agent.judge.subject import Subject, all_subjects, device_of, is_swapped
from edge_agent.judge.trend import SURE, Course, Trend
from edge_agent.judge.words import clock, span
from edge_agent.model.checked import changed
from edge_agent.model.finding import Anomaly
from edge_agent.model.profile import Point
from edge_agent.model.reading import GOOD, Event
from edge_agent.model.site import ComparisonSettings, DriftSettings, Site
from edge_agent.model.world import Variable, World

KIND = "difference"
RETURN = 0.9
"""Share of its bound at which a difference is over: one that rests on its bound does not flap."""
TREND_MEMORY = 180.0
"""Readings over which a difference's trend is taken."""
PHI = 0.9
"""Taken for the autocorrelation of a difference, which is not measured: rooms are slow, and a slope is doubted."""

Known = Mapping[str, Anomaly]


class Pair(NamedTuple):
    """The two variables; the difference is the first less the second."""

    one: Subject
    other: Subject

    @property
    def name(self) -> str:
        """What the difference is called."""
        return f"{self.one.path}~{self.other.path}"


class Seen(NamedTuple):
    """The last good reading of a side."""

    value: float
    at_ms: int
    mono_ns: int


class Bounded:
    """A difference that may be `within` and no larger for `lasting_s`."""

    def __init__(self, pair: Pair, within: float, lasting_s: float) -> None:
        self._pair, self._within, self._lasting_ns = pair, within, lasting_s * 1e9
        self._since: Seen | None = None
        self._last: Seen | None = None
        self._against = math.nan
        self._trend = Trend(TREND_MEMORY)

    def update(self, one: Seen, other: Seen) -> None:
        """Take the two sides as they stand with a new reading of the first."""
        difference = one.value - other.value
        self._last, self._against = one._replace(value=difference), other.value
        self._trend.add(one.mono_ns / 1e9, difference)
        if abs(difference) >= self._within:
            self._since = self._since or one
        elif abs(difference) < RETURN * self._within:
            self._since = None

    def alarms(self, known: Known, anchors: tuple[str, ...], at_ms: int) -> list[Anomaly]:  # noqa: ARG002 - as Strayed
        """Return what is open now. What is known stands until both sides were heard again, as after a restart."""
        id_ = f"{self._pair.name}/{KIND}"
        stands = known.get(id_)
        if self._last is None:
            return [] if stands is None else [stands]
        if self._since is None:
            return []
        if stands is None and self._last.mono_ns - self._since.mono_ns < self._lasting_ns:
            return []
        severity = by_times(abs(self._last.value) / self._within)
        if stands is not None and worst(severity, stands.severity) == stands.severity:
            return [stands]  # it never becomes milder, and is said anew only when it becomes graver
        since_ms = self._since.at_ms if stands is None else stands.since_ms
        score = round(1 - 2 ** -(abs(self._last.value) / self._within), 3)
        sentence = self._sentence(since_ms)
        return [Anomaly(id_, self._pair.one.number, KIND, severity, sentence, since_ms, score, 1.0, anchors)]

    def course(self, anchors: tuple[str, ...]) -> Course | None:
        """Return where a difference heads that is beyond its bound: where it weighs a step more."""
        if self._since is None or self._last is None:
            return None
        difference = self._last.value
        times = next_step(abs(difference) / self._within)
        slope, error = self._trend.slope(PHI, 0.0)
        if times is None or slope * difference <= 0 or abs(slope) < SURE * error:
            return None
        one, other = self._pair
        limit = math.copysign(times * self._within, difference)
        name = f"the difference of {one.path} and {other.path}"
        return Course(one.number, name, difference, slope, error, limit, 1.0, one.criticality, anchors)

    def to_state(self) -> object:
        """Return nothing: what has lasted long enough stands in the world."""
        return None

    def _sentence(self, since_ms: int) -> str:
        assert self._last is not None
        one, other = self._pair
        unit = f" {one.unit}" if one.unit else ""
        side = "above" if self._last.value > 0 else "below"
        lasting = f" for more than {span(self._lasting_ns / 1e9)}" if self._lasting_ns else ""
        return (
            f"{one.path} is {abs(self._last.value):.2g}{unit} {side} {other.path} ({self._against:g}{unit}):"
            f" by {self._within:g}{unit} or more since {clock(since_ms)},{lasting}"
        ).rstrip(",")


class Strayed:
    """A difference with a baseline of its own."""

    def __init__(self, pair: Pair, drift: DriftSettings, devices: str, state: object) -> None:
        one = pair.one
        # It is no reading: it has no limits, and only its number leads back to a variable.
        point = changed(one.point, alarm_above=None, alarm_below=None, range=None, kind="gauge", drift=True)
        variable: Variable = changed(one.variable, name=f"{one.variable.name}~{pair.other.path}", kind="gauge")
        subject = one._replace(variable=variable, point=point)
        self._monitor = Monitor.from_state(subject, drift, state, device=devices)

    def update(self, one: Seen, other: Seen) -> None:
        """Take the two sides as they stand with a new reading of the first."""
        self._monitor.update(one.value - other.value, one.mono_ns, one.at_ms)

    def alarms(self, known: Known, anchors: tuple[str, ...], at_ms: int) -> list[Anomaly]:
        """Return what is open now; what is known stands as it is while there is no news."""
        found = [f for f in self._monitor.findings(known, at_ms) if f.id.endswith("/shift")]
        return [f if f is known.get(f.id) else changed(f, kind=KIND, anchors=anchors) for f in found]

    def course(self, anchors: tuple[str, ...]) -> Course | None:  # noqa: ARG002 - as Bounded
        """Return nothing: there is no limit to reach."""
        return None

    def to_state(self) -> object:
        """Return its statistics as plain JSON values."""
        return self._monitor.to_state()


class Comparisons:
    """All of a site. `state` is what `to_state` returned before the restart, or anything at all."""

    def __init__(self, site: Site, world: World, state: object = None) -> None:
        kept = state if isinstance(state, dict) else {}
        known = {subject.path: subject for subject in all_subjects(site, world.variables)}
        pairs = [(Pair(known[c.variable], known[c.with_]), c) for c in site.settings.comparisons]
        self._drift = drift = site.settings.drift
        self._entities = world.entities
        self._watched: list[tuple[Pair, Bounded | Strayed]] = []
        for pair, settings in pairs:
            bound = bound_of(settings, pair.other.point, drift)
            if bound is None:
                self._watched.append((pair, self._strayed(pair, kept.get(pair.name))))
            else:
                self._watched.append((pair, Bounded(pair, bound, settings.lasting)))
        self._sides = {number for pair, _ in self._watched for number in (pair.one.number, pair.other.number)}
        self._by_first: dict[int, list[int]] = {}
        """Where in `_watched` the differences of a first side stand."""
        for place, (pair, _) in enumerate(self._watched):
            self._by_first.setdefault(pair.one.number, []).append(place)
        self._seen: dict[int, Seen] = {}

    def observe(self, events: Iterable[Event]) -> None:
        """Take the events of a turn; a difference is taken anew with each good reading of its first side."""
        if not self._sides:
            return
        for event in events:
            value = event.value
            if event.number in self._sides and event.quality == GOOD and type(value) in (int, float):
                self._seen[event.number] = Seen(float(value), event.anchor.at.at_ms, event.anchor.at.mono_ns)  # type: ignore[arg-type]
                self._update(event.number)

    def alarms(self, known: Known, at_ms: int) -> dict[str, Anomaly]:
        """Return the alarms that are open now, by id. `known` are those that stand."""
        found = [alarm for pair, each in self._watched for alarm in each.alarms(known, self._anchors(pair), at_ms)]
        return {alarm.id: alarm for alarm in found}

    def trends(self) -> list[Course]:
        """Return the differences that are on their way to weigh more."""
        courses = (each.course(self._anchors(pair)) for pair, each in self._watched)
        return [course for course in courses if course is not None]

    def to_state(self) -> dict[str, object]:
        """Return what was learned of each difference, by name."""
        return {pair.name: each.to_state() for pair, each in self._watched}

    def look_again(self, world: World) -> None:
        """Begin anew with the difference of two devices of which one was swapped: it was that of other ones."""
        if world.entities is self._entities:
            return
        before, self._entities = self._entities, world.entities
        for place, (pair, each) in enumerate(self._watched):
            sides = [side.variable.entity for side in pair]
            if isinstance(each, Strayed) and any(is_swapped(before[s], world.entities[s]) for s in sides):
                self._watched[place] = pair, self._strayed(pair, None)

    def _strayed(self, pair: Pair, state: object) -> Strayed:
        devices = [device_of(self._entities[side.variable.entity]) for side in pair]
        return Strayed(pair, self._drift, "~".join((*devices, pair.other.fingerprint())), state)

    def _update(self, number: int) -> None:
        for place in self._by_first.get(number, ()):
            pair, each = self._watched[place]
            if pair.other.number in self._seen:
                each.update(self._seen[number], self._seen[pair.other.number])

    def _anchors(self, pair: Pair) -> tuple[str, ...]:
        return tuple(side.anchor(self._seen[side.number].at_ms) for side in pair if side.number in self._seen)


def compare(comparisons: Comparisons, events: Iterable[Event], world: World, at_ms: int) -> dict[str, Anomaly]:
    """Let the comparisons see the events of a turn, and return the alarms that are open after it, by id."""
    comparisons.observe(events)
    comparisons.look_again(world)
    return comparisons.alarms(world.findings, at_ms)


def bound_of(settings: ComparisonSettings, other: Point, drift: DriftSettings) -> float | None:
    """Return how large a difference may be: as configured, or [drift] `largest` of the second variable's range."""
    if settings.within is not None or drift.largest is None or other.range is None:
        return settings.within
    low, high = other.range
    return drift.largest * (high - low)
