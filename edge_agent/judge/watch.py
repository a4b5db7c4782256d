"""All the monitors of a site, fed by the events of each turn.

This is the one mutable thing in the pure rooms, because a small board updates thousands a second.
"""

from collections.abc import Sequence

from edge_agent.judge.monitor import Monitor, MonitorState
from edge_agent.judge.step import Step
from edge_agent.judge.subject import subjects
from edge_agent.judge.trend import Course
from edge_agent.model.finding import Anomaly
from edge_agent.model.reading import GOOD, Event, bad
from edge_agent.model.site import DriftSettings, Site
from edge_agent.model.world import World

BAD = bad("")


class Watch:
    """All the monitors of a site. `state` is what `to_state` returned before the restart, or anything at all."""

    def __init__(self, settings: DriftSettings, world: World, site: Site, state: object = None) -> None:
        kept = state if isinstance(state, dict) else {}
        watched = subjects(site, world.variables)
        step, shares = Step(), max(1, len(watched))
        self._monitors = {
            subject.number: Monitor.from_state(subject, settings, kept.get(subject.path), shares, step)
            for subject in watched
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
                    monitor.missed(event.anchor.at.at_ms)
                else:
                    at = event.anchor.at
                    monitor.update(value, at.mono_ns, at.at_ms)
            elif value is None:
                monitor.missed(event.anchor.at.at_ms)
            if monitor.speaks:
                self._speaking[event.number] = monitor

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
