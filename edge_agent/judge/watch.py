"""All the monitors of a site, fed by the events of each turn.

This is the one mutable thing in the pure rooms, because a small board updates thousands a second.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from edge_agent.judge.days import DayOf, utc_day
from edge_agent.judge.monitor import Insight, Monitor, MonitorState
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Subject, device_of, is_swapped, subjects
from edge_agent.judge.trend import Course
from edge_agent.model.finding import Anomaly
from edge_agent.model.reading import GOOD, Event, Instant, bad
from edge_agent.model.site import DriftSettings, Site
from edge_agent.model.world import World

BAD = bad("")
EACH_TURN = 64
"""Variables whose silence is looked for in a turn: of more, some in each, so that a turn costs no more for many."""


class Watch:
    """All the monitors of a site.

    `state` is what `to_state` returned before the restart, or anything at all; or the monitors themselves, by path, as
    they stand when the configuration changes while they run. `day_of` tells the days that people there live by.
    """

    def __init__(
        self, settings: DriftSettings, world: World, site: Site, state: object = None, day_of: DayOf = utc_day
    ) -> None:
        kept = state if isinstance(state, Mapping) else {}
        watched = subjects(site, world.variables)
        self._settings, self._day_of = settings, day_of
        self._step, self._shares = Step(), max(1, len(watched))
        self._entities = world.entities
        self.forgotten = 0
        """Variables of which something was learned that these statistics cannot go on from."""
        self._monitors = {s.number: self._resumed(s, kept.get(s.path)) for s in watched}
        self._speaking = {number: monitor for number, monitor in self._monitors.items() if monitor.speaks}
        self._round = itertools.cycle(self._monitors)
        self._from_ns: int | None = None  # when the first turn was: what was not heard before was not listened to

    def _resumed(self, subject: Subject, state: object) -> Monitor:
        device = device_of(self._entities[subject.variable.entity])
        if isinstance(state, Monitor):  # one at a time: all states at once would be all that was learned, twice
            state = state.to_state()
        monitor = Monitor.from_state(subject, self._settings, state, self._shares, self._step, device, self._day_of)
        self.forgotten += monitor.is_new and _was_learned(state)
        return monitor

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
                    monitor.missed(event.anchor.at.at_ms)
                else:
                    at = event.anchor.at
                    monitor.update(value, at.mono_ns, at.at_ms)
            elif value is None:
                monitor.missed(event.anchor.at.at_ms)
            if monitor.speaks:
                self._speaking[event.number] = monitor

    def look_for_silence(self, now: Instant) -> None:
        """Let the clock tell some variables how long they were not heard: nothing has to arrive for that."""
        if self._from_ns is None:
            self._from_ns = now.mono_ns
        for number in itertools.islice(self._round, min(EACH_TURN, len(self._monitors))):
            monitor = self._monitors[number]
            if monitor.overdue(now.mono_ns, now.at_ms, self._from_ns) is not None:
                self._speaking[number] = monitor

    def anomalies(self, at_ms: int, world: World) -> dict[str, Anomaly]:
        """Return the findings that are open now, by id; those in the world stand as they are while they may."""
        if world.entities is not self._entities:
            self._look_again(world)
        found = [anomaly for m in self._speaking.values() for anomaly in m.findings(world.findings, at_ms)]
        self._speaking = {number: monitor for number, monitor in self._speaking.items() if monitor.speaks}
        return {anomaly.id: anomaly for anomaly in found}

    def _look_again(self, world: World) -> None:
        """Begin anew with the variables of a device that was swapped: what was learned was of another one."""
        before, self._entities = self._entities, world.entities
        for number, monitor in self._monitors.items():
            entity = monitor.subject.variable.entity
            was, now = before[entity], world.entities[entity]
            if was is now:
                continue
            monitor.device = device_of(now)
            if is_swapped(was, now):
                self._monitors[number] = self._resumed(monitor.subject, None)
                self._speaking.pop(number, None)

    def trends(self) -> list[Course]:
        """Return the variables that are on their way to a limit."""
        courses = (monitor.course() for monitor in self._speaking.values())
        return [course for course in courses if course is not None]

    def insights(self) -> list[Insight]:
        """Return what a person asks about each variable."""
        return [monitor.insight() for monitor in self._monitors.values()]

    @property
    def monitors(self) -> Mapping[int, Monitor]:
        """All of them, by the number of the variable."""
        return self._monitors

    def states(self) -> Iterator[tuple[str, MonitorState]]:
        """Give the path of each variable and the state of its monitor as plain JSON values, one after the other."""
        for monitor in self._monitors.values():
            yield monitor.subject.path, monitor.to_state()

    def to_state(self) -> dict[str, MonitorState]:
        """Return the states of all monitors by path."""
        return dict(self.states())


def _was_learned(kept: object) -> bool:
    """Whether something was kept that says more than that nothing was heard yet."""
    own = kept.get("own") if isinstance(kept, dict) else None
    return kept is not None and not (isinstance(own, list) and own[3:4] == [0])


def detect_anomaly(watch: Watch, events: Sequence[Event], world: World, now: Instant) -> dict[str, Anomaly]:
    """Let the statistics see the events of a turn, and what did not come; return the findings open after it, by id."""
    watch.observe(events)
    watch.look_for_silence(now)
    return watch.anomalies(now.at_ms, world)
