"""What the statistics are told of a variable (`Subject`), and what a detector concludes of it (`Conclusion`)."""

from collections.abc import Mapping
from typing import NamedTuple

from edge_agent.model import layout
from edge_agent.model.checked import Name
from edge_agent.model.profile import Point, RegisterPoint
from edge_agent.model.site import EntitySettings, Site, Source
from edge_agent.model.world import Variable

DEFAULT_CRITICALITY = EntitySettings(id=Name("any"), type=Name("any")).criticality
"""Of an entity of which nothing is said."""
_NOT_NUMBERS = ("bool", "string")


class Subject(NamedTuple):
    """A watched variable."""

    number: int
    path: str
    """How it is called on site: "pump.bearing_temp"."""
    ref: str
    """The anchor of its readings, less their time."""
    unit: str | None
    shifts: bool
    """Whether its level is expected to rest, so that a shift of it means something."""
    above: float | None = None
    below: float | None = None
    """Where trouble begins."""
    quantum: float = 0.0
    """Its resolution in its unit; 0 when that is not known."""
    profile: str | None = None
    criticality: float = DEFAULT_CRITICALITY
    """0..1: how much trouble of its entity weighs. It has no part in the statistics."""

    @property
    def entity(self) -> str:
        """The entity's local name."""
        return self.path.partition(".")[0]

    @property
    def name(self) -> str:
        """The variable's name within its entity."""
        return self.path.partition(".")[2]


class Conclusion(NamedTuple):
    """What a detector has to say now about its open finding."""

    kind: str
    severity: str
    sentence: str
    since_ms: int
    raised_ms: int
    score: float
    confidence: float
    size: float = 0.0
    """In sigma."""
    remarks: tuple[str, ...] = ()
    """What is worth saying beyond the departure itself: "trend" (away from the baseline), "settling"."""


def subjects(site: Site, variables: Mapping[int, Variable]) -> list[Subject]:
    """Return what is to be watched: the numeric variables of which something is expected."""
    points: dict[tuple[str, str], tuple[Source, Point]]
    points = {(source.name, point.name): (source, point) for source in site.sources for point in source.points}
    criticality: dict[str, float] = {entity.id: entity.criticality for entity in site.settings.entities}
    found = []
    for variable in variables.values():
        source, point = points.get((variable.source, variable.name), (None, None))
        if source is not None and point is not None and _is_watched(point):
            weight = criticality.get(layout.local_name(variable.entity), DEFAULT_CRITICALITY)
            found.append(_subject(variable, source, point, weight))
    return found


def _is_watched(point: Point) -> bool:
    number = not (isinstance(point, RegisterPoint) and point.type in _NOT_NUMBERS) and point.identity is None
    limits = point.alarm_above is not None or point.alarm_below is not None
    return number and (limits or _shifts(point))


def _shifts(point: Point) -> bool:
    """Counters rise and states jump by their nature: only a gauge has a level to leave."""
    return point.drift and point.kind == "gauge"


def _subject(variable: Variable, source: Source, point: Point, criticality: float) -> Subject:
    return Subject(
        number=variable.number,
        path=layout.variable_path(variable.entity, variable.name),
        ref=layout.sensor_ref(variable.source, variable.name),
        unit=variable.unit,
        shifts=_shifts(point),
        above=point.alarm_above,
        below=point.alarm_below,
        quantum=_quantum(point),
        profile=source.profile,
        criticality=criticality,
    )


def _quantum(point: Point) -> float:
    return abs(point.scale) if isinstance(point, RegisterPoint) and "int" in point.type else 0.0
