"""Playbooks: what may be done about a trouble. A trigger that holds makes a plan with steps, and nothing more.

Bound to the world once, as transitions are; each plan says all that an operator must know, for its digest is what is
signed. A playbook answers a trouble once: as long as its last action for the same trouble is open, or has ended in
anything but silence, it does not ask again.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from edge_agent.judge.lifecycle import ENDS
from edge_agent.judge.severity import at_least
from edge_agent.model.action import Plan, Step, Undo
from edge_agent.model.condition import Condition
from edge_agent.model.finding import Anomaly, Risk
from edge_agent.model.layout import local_name, record_ref, variable_path
from edge_agent.model.profile import Point, RegisterPoint
from edge_agent.model.site import PlaybookSettings, Site, named
from edge_agent.model.world import World

MOST_CAUSES, MOST_ANCHORS = 8, 32
"""Of a risk that are told in a plan, the gravest first: a request holds 16 KiB, and a person reads no more."""


class Target(NamedTuple):
    """A variable that can be written, and how."""

    source: str
    point: str
    settle_s: float
    verify: str
    tolerance: float
    numbers: Mapping[str, int] = {}
    """Of an enumeration: what its names stand for."""


class Cause(NamedTuple):
    """Why a trigger holds: what is so, how far it can be relied upon, and since when (its occurrence)."""

    occurrence: str
    sentence: str
    confidence: float
    anchors: tuple[str, ...]


def targets(site: Site) -> Mapping[str, Target]:
    """Return the points that profiles make writable, by `entity.point`; of the source that has the variable's name."""
    return {
        variable_path(entity, name): _target(source.name, point)
        for (entity, name), (source, point) in named(site.sources).items()
        if isinstance(point, RegisterPoint) and point.write is not None
    }


def numbers_of(point: Point) -> Mapping[str, int]:
    """Return what the names of an enumeration stand for; nothing for any other point."""
    return {name: int(raw) for raw, name in point.enum.items()} if isinstance(point, RegisterPoint) else {}


def playbook_plans(
    site: Site, world: World, risk: Risk, ahead: Risk, writable: Mapping[str, Target]
) -> tuple[Plan, ...]:
    """Return a plan for each playbook whose trigger holds and that has not answered this trouble yet."""
    answered = {action.plan.id for action in world.actions.values() if action.stage != "expired"}
    busy = {action.plan.playbook for action in world.actions.values() if action.stage not in ENDS}
    return tuple(
        plan
        for book in site.settings.playbooks
        if book.name not in busy
        for plan in _plans(book, world, risk, ahead, writable)
        if plan.id not in answered
    )


def _plans(
    book: PlaybookSettings, world: World, risk: Risk, ahead: Risk, writable: Mapping[str, Target]
) -> Iterator[Plan]:
    cause = next(iter(_causes(book, world, risk, ahead)), None)
    if cause is not None:
        yield Plan(
            id=f"{book.name}-{cause.occurrence}",
            summary=book.summary,
            steps=tuple(_steps(book, writable)),
            anchors=cause.anchors,
            playbook=book.name,
            why=cause.sentence,
            confidence=cause.confidence,
            inverse=tuple(_inverse(book, writable)),
            criteria=tuple(Condition(c.variable, c.is_, c.value) for c in book.criteria),
            deadline_s=float(book.deadline),
            risk=float(book.risk),
            if_it_fails=book.if_it_fails,
            role=book.role,
        )


def _causes(book: PlaybookSettings, world: World, risk: Risk, ahead: Risk) -> Iterator[Cause]:
    on = book.on
    if on.anomaly is not None:
        for finding in world.findings.values():
            if finding.acknowledged is None:
                yield from _alarm_causes(book, world, finding)
    elif on.entity is not None:
        for entity in world.entities.values():
            if local_name(entity.id) == on.entity and entity.state == on.state:
                since = "" if entity.since_ms is None else f"-{entity.since_ms}"
                sentence = f"{on.entity} is {on.state}"
                yield Cause(f"{on.entity}-{on.state}{since}", sentence, 1.0, (record_ref(world.version),))
    elif on.risk_above is not None:
        worst = max(risk, ahead, key=lambda each: each.level)
        if worst.level > on.risk_above:
            told = [*worst.factors[:MOST_CAUSES]]
            if len(worst.factors) > MOST_CAUSES:
                told.append(f"and {len(worst.factors) - MOST_CAUSES} more")
            sentence = f"the risk is {worst.level:.2f}, above {on.risk_above:g}: {'; '.join(told)}"
            yield Cause("risk", sentence, 1.0, worst.anchors[:MOST_ANCHORS])


def _alarm_causes(book: PlaybookSettings, world: World, finding: Anomaly) -> Iterator[Cause]:
    """Give the alarms of a finding that the trigger is about.

    The alarms and not the finding: it has the number of the one it began with and the kind of the gravest.
    """
    on = book.on
    for alarm in finding.witnesses or (finding,):
        v = world.variables[alarm.number]
        about = variable_path(v.entity, v.name) == on.variable and on.anomaly in ("any", alarm.kind)
        if about and at_least(alarm.severity, on.severity):
            occurrence = f"{alarm.id}-{alarm.since_ms}"
            yield Cause(occurrence, alarm.sentence, alarm.confidence, alarm.anchors)


def _steps(book: PlaybookSettings, writable: Mapping[str, Target]) -> Iterator[Step]:
    for step in book.steps:
        at = writable[step.point]
        hold_s = None if step.hold is None else float(step.hold)
        yield Step(at.source, at.point, step.value, step.expect, hold_s, at.settle_s, at.verify, at.tolerance)


def _inverse(book: PlaybookSettings, writable: Mapping[str, Target]) -> Iterable[Undo]:
    """Give what is written when it fails, last step first when it is what stood before."""
    if book.on_failure == "restore":
        for step in reversed(book.steps):
            at = writable[step.point]
            yield Undo(at.source, at.point, None, at.settle_s, at.tolerance)
    elif book.on_failure == "inverse":
        for undo in book.inverse:
            at = writable[undo.point]
            yield Undo(at.source, at.point, undo.value, at.settle_s, at.tolerance)


def _target(source: str, point: RegisterPoint) -> Target:
    rule = point.write
    assert rule is not None
    return Target(source, point.name, float(rule.settle), rule.verify or "", float(rule.tolerance), numbers_of(point))
