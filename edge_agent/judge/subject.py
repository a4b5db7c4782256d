"""What the statistics are told of a variable (`Subject`), and what a detector concludes of it (`Conclusion`)."""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

from edge_agent.model import layout
from edge_agent.model.checked import Name, changed
from edge_agent.model.profile import Point, RegisterPoint
from edge_agent.model.site import EntitySettings, Site, Source
from edge_agent.model.world import Entity, Variable

DEFAULT_CRITICALITY = EntitySettings(id=Name("any"), type=Name("any")).criticality
"""Of an entity of which nothing is said."""
_NOT_NUMBERS = ("bool", "string")
_SAYS_WHO = ("model", "serial", "firmware")
"""Attributes by which a device says who it is."""


class Subject(NamedTuple):
    """A watched variable, with the point it is read from. Both belong to others: this costs next to nothing."""

    variable: Variable
    point: Point
    profile: str | None = None
    criticality: float = DEFAULT_CRITICALITY
    """0..1: how much trouble of its entity weighs. It has no part in the statistics."""

    @property
    def number(self) -> int:
        """Its number in the world."""
        return self.variable.number

    @property
    def path(self) -> str:
        """How it is called on site: "pump.bearing_temp"."""
        return layout.variable_path(self.variable.entity, self.variable.name)

    @property
    def unit(self) -> str | None:
        """What its values are counted in."""
        return self.variable.unit

    @property
    def above(self) -> float | None:
        """The limit above which there is trouble."""
        return self.point.alarm_above

    @property
    def below(self) -> float | None:
        """The limit below which there is trouble."""
        return self.point.alarm_below

    @property
    def shifts(self) -> bool:
        """Whether its level should rest. Counters rise and states jump by nature: only a gauge has one to leave."""
        return self.point.drift and self.variable.kind == "gauge"

    @property
    def is_watched(self) -> bool:
        """Whether anything is expected of it."""
        return self.shifts or self.has_limits or self.point.max_rate is not None

    @property
    def has_limits(self) -> bool:
        """Whether there is a limit on either side."""
        return (self.above, self.below) != (None, None)

    @property
    def quantum(self) -> float:
        """Its resolution in its unit; 0 when that is not known."""
        point = self.point
        return abs(point.scale) if isinstance(point, RegisterPoint) and "int" in point.type else 0.0

    def anchor(self, at_ms: int) -> str:
        """Return the evidence anchor of its reading at a wall time."""
        return f"{layout.sensor_ref(self.variable.source, self.variable.point)}@{at_ms}"

    def fingerprint(self) -> str:
        """Return all of its definition that statistics rest on."""
        point = repr(changed(self.point, deadband=0.0)).encode()  # the statistics see what a deadband holds back
        parts = (self.path, self.variable.source, self.unit, self.shifts, self.profile, f"{zlib.crc32(point):08x}")
        return "|".join(map(str, parts))


class Conclusion(NamedTuple):
    """How an open finding stands, in figures: what decides whether it is said anew."""

    severity: str
    since_ms: int
    raised_ms: int
    size: float
    """In sigma; 0 where there is no such thing."""
    remarks: tuple[str, ...] = ()
    """What is worth saying beyond the departure itself: "trend" (away from the baseline), "settling"."""


def subjects(site: Site, variables: Mapping[int, Variable]) -> list[Subject]:
    """Return what is to be watched: the numeric variables of which something is expected."""
    return [subject for subject in all_subjects(site, variables) if subject.is_watched]


def all_subjects(site: Site, variables: Mapping[int, Variable]) -> list[Subject]:
    """Return every numeric variable with the point it is read from."""
    points: dict[tuple[str, str], tuple[Source, Point]]
    points = {(source.name, point.name): (source, point) for source in site.sources for point in source.points}
    criticality: dict[str, float] = {entity.id: entity.criticality for entity in site.settings.entities}
    found = []
    for variable in variables.values():
        source, point = points.get((variable.source, variable.point), (None, None))
        if source is not None and point is not None and _is_number(point):
            weight = criticality.get(layout.local_name(variable.entity), DEFAULT_CRITICALITY)
            found.append(Subject(variable, point, source.profile, weight))
    return found


def device_of(entity: Entity) -> str:
    """Return what a device says that it is; empty while it has said nothing."""
    return ",".join(entity.attributes[each] for each in _SAYS_WHO if each in entity.attributes)


def is_swapped(before: Entity, after: Entity) -> bool:
    """Whether a device is another one than it was: it says otherwise now. What it had not said before tells nothing."""
    known = before.attributes
    return any(known.get(each, after.attributes.get(each)) != after.attributes.get(each) for each in _SAYS_WHO)


def _is_number(point: Point) -> bool:
    return not (isinstance(point, RegisterPoint) and point.type in _NOT_NUMBERS) and point.identity is None
