"""Which of several sources to believe: the trust model, for variables that more than one source gives.

Each source's value is a variable of its own, with its own evidence: the loser of a dispute stands in the twin as the
winner does. What the model decides is which of them is meant by the variable's name, in rules and for whoever reads.
Weights, decay and tie-breakers are those of the reference (authority_trust_model, 1.0.0); two readings of it are ours:

* A good value holds as of now, whenever it changed last: it was confirmed by the last poll (reference/adr/0005). So
  trust and recency decay for what is not good, from the time of its value on.
* An authority for a field weighs as the most trusted source does, and goes first where scores tie.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from edge_agent.model.finding import Anomaly, Dispute, Disputes
from edge_agent.model.layout import sensor_ref, variable_path
from edge_agent.model.reading import Instant, Value, iso_utc
from edge_agent.model.record import Entry
from edge_agent.model.site import TRUST_WEIGHTS, Site
from edge_agent.model.world import SAME_AS, State, Variable, World, home, replace_entity

CONFIDENCE = {"good": 1.0, "uncertain": 0.5, "bad": 0.1}
"""Of a value by its quality. A bad one is the last that was read."""
TIE = 0.01
"""Scores no further apart than this do not decide; the least step between two kinds of source is 0.03."""
KIND = "conflict"


class Trust(NamedTuple):
    """What the decisions of a site rest on."""

    weights: Mapping[str, float]
    """By source."""
    authorities: Mapping[tuple[str, str], int]
    """By source and point: its place among the authorities for that field."""
    deadbands: Mapping[int, float]
    tolerance: float
    patience_s: float
    half_life_s: float
    least: float
    groups: tuple[tuple[int, ...], ...]
    """Variables of one entity and point from several sources, as configured."""


class Claim(NamedTuple):
    """What one source says."""

    variable: Variable
    state: State
    score: float
    place: int
    """Among the authorities; the lower the better."""


def trust_of(site: Site, world: World, deadbands: Mapping[int, float]) -> Trust:
    """Prepare what decisions rest on. `world` is in line with the configuration."""
    settings = site.settings.trust
    kinds = {source.name: source.trust for source in site.sources}
    return Trust(
        weights={name: TRUST_WEIGHTS[kind] for name, kind in kinds.items()},
        authorities={
            (name, field.field): field.authorities.index(kind)
            for name, kind in kinds.items()
            for field in settings.fields
            if kind in field.authorities
        },
        deadbands=deadbands,
        tolerance=settings.tolerance,
        patience_s=settings.patience,
        half_life_s=settings.half_life,
        least=settings.min_trust,
        groups=_groups(world.variables.values(), lambda entity: entity),
    )


def weigh(
    world: World, trust: Trust, disputes: Disputes, known: Mapping[str, Anomaly], now: Instant
) -> tuple[World, Disputes, dict[str, Anomaly], tuple[Entry, ...]]:
    """Return the world in which each name stands for the source to believe, and what is disputed.

    An alarm says that the model cannot decide; an entry, each time that it decides against another value.
    """
    alarms: dict[str, Anomaly] = {}
    open_: dict[int, Dispute] = {}
    entries: list[Entry] = []
    for numbers in (*trust.groups, *_joined(world)):
        claims = _ranked([_claim(world, number, trust, now) for number in numbers])
        best, rivals = claims[0], [c for c in claims[1:] if _differ(claims[0], c, trust)]
        clear = not any(_tied(best, rival) for rival in rivals)
        if clear:
            world = _stand_by(world, best.variable, numbers)
        if not rivals:
            continue
        dispute = disputes.get(numbers[0], Dispute(now.mono_ns, now.at_ms, told=False))
        lasted = now.mono_ns - dispute.since_ns >= trust.patience_s * 1e9
        open_[numbers[0]] = dispute._replace(told=dispute.told or lasted)
        if not lasted:
            continue
        if not clear:
            alarm = _undecided(best, rivals[0], dispute)
            alarms[alarm.id] = known.get(alarm.id, alarm)
        elif not dispute.told:
            entries += [_decided(best, rival) for rival in rivals]
    return world, open_, alarms, tuple(entries)


def stands_for(world: World, number: int) -> int:
    """Return the variable that is meant by another's name: the source that is believed, else itself."""
    variable = world.variables[number]
    whole = world.entities[home(world, variable.entity)]
    believed = whole.attributes.get(_attribute(variable))
    if believed is None or believed == variable.source:
        return number
    return next(
        (n for n, v in world.variables.items() if (v.source, v.point) == (believed, variable.point) and _together(world, v, variable)),
        number,
    )  # fmt: skip


def _together(world: World, one: Variable, other: Variable) -> bool:
    return home(world, one.entity) == home(world, other.entity)


def _groups(variables: Iterable[Variable], whole: Callable[[str], str]) -> tuple[tuple[int, ...], ...]:
    """Return the numbers that speak of one thing: the same point, unit and kind of one whole entity."""
    found: dict[tuple[str, str, str | None, str], list[int]] = {}
    for v in variables:
        found.setdefault((whole(v.entity), v.point, v.unit, v.kind), []).append(v.number)
    return tuple(tuple(numbers) for numbers in found.values() if len(numbers) > 1)


def _joined(world: World) -> tuple[tuple[int, ...], ...]:
    """Return the groups that merges made of entities which are configured apart."""
    linked = {key for key, e in world.entities.items() if any(relation == SAME_AS for relation, _ in e.relations)}
    if not linked:
        return ()
    wholes = {home(world, key) for key in linked}
    parts = [v for v in world.variables.values() if home(world, v.entity) in wholes]
    alike = _groups(parts, lambda entity: home(world, entity))
    return tuple(group for group in alike if len({world.variables[n].entity for n in group}) > 1)


def _claim(world: World, number: int, trust: Trust, now: Instant) -> Claim:
    variable, state = world.variables[number], world.state_of(number)
    word = state.quality.partition(":")[0]
    age_s = 0.0 if word == "good" else max(0.0, (now.at_ms - state.at_ms) / 1000)
    recency = math.exp(-age_s / trust.half_life_s)
    place = trust.authorities.get((variable.source, variable.point), len(TRUST_WEIGHTS))
    weight = max(TRUST_WEIGHTS.values()) if place < len(TRUST_WEIGHTS) else trust.weights[variable.source]
    confidence = 0.0 if state.value is None else CONFIDENCE.get(word, CONFIDENCE["bad"])
    return Claim(variable, state, max(trust.least, weight * recency) * confidence * recency, place)


def _ranked(claims: Sequence[Claim]) -> list[Claim]:
    """Return the claims, the one to believe first; within a tie the authority goes first, then the one configured."""
    best = max(claim.score for claim in claims)

    def order(claim: Claim) -> tuple[bool, int, float, int]:
        tied = best - claim.score <= TIE
        return (not tied, claim.place if tied else 0, 0.0 if tied else -claim.score, claim.variable.number)

    return sorted(claims, key=order)


def _tied(best: Claim, rival: Claim) -> bool:
    """Whether nothing tells two claims apart: neither the score nor an authority."""
    return abs(best.score - rival.score) <= TIE and best.place == rival.place


def _differ(one: Claim, other: Claim, trust: Trust) -> bool:
    """Whether two claims disagree. What is bad contradicts nothing: it says what was."""
    if one.state.quality.startswith("bad:") or other.state.quality.startswith("bad:"):
        return False
    mine, theirs = one.state.value, other.state.value
    if _numeric(mine) and _numeric(theirs):
        band = max(trust.deadbands.get(claim.variable.number, 0.0) for claim in (one, other))
        return bool(abs(mine - theirs) > max(band, trust.tolerance * max(abs(mine), abs(theirs))))  # type: ignore[operator,arg-type]
    return mine != theirs


def _stand_by(world: World, believed: Variable, numbers: Sequence[int]) -> World:
    """Note in the entity whom its variable is read from, unless it is the source that is named first anyway."""
    key = home(world, world.variables[numbers[0]].entity)
    attributes = dict(world.entities[key].attributes)
    name = _attribute(believed)
    namesakes = [number for number in numbers if world.variables[number].name == believed.point]
    if namesakes == [believed.number]:
        attributes.pop(name, None)
    else:
        attributes[name] = believed.source
    return world if attributes == world.entities[key].attributes else replace_entity(world, key, attributes=attributes)


def _attribute(variable: Variable) -> str:
    return f"{variable.point} from"


def _decided(best: Claim, rival: Claim) -> Entry:
    facts: dict[str, Value] = {"variable": variable_path(best.variable.entity, best.variable.point)}
    for word, claim in (("believed", best), ("against", rival)):
        facts |= {
            word: claim.variable.source,
            f"{word}_value": claim.state.value,
            f"{word}_score": round(claim.score, 4),
        }
        facts[f"{word}_evidence"] = _evidence(claim)
    return Entry("trust", facts)


def _undecided(best: Claim, rival: Claim, dispute: Dispute) -> Anomaly:
    first = min((best, rival), key=lambda claim: claim.variable.number)
    last = rival if first is best else best
    path = variable_path(first.variable.entity, first.variable.point)
    unit = f" {first.variable.unit}" if first.variable.unit else ""
    said = [f"{claim.variable.source} says {claim.state.value}{unit}" for claim in (first, last)]
    sentence = (
        f"{path}: {' and '.join(said)} since {iso_utc(dispute.since_ms)[11:19]} UTC;"
        " neither is more to be trusted, a person must decide"
    )
    anchors = (_evidence(first), _evidence(last))
    return Anomaly(
        f"{path}/{KIND}", first.variable.number, KIND, "medium", sentence, dispute.since_ms, 0.9, 1.0, anchors
    )


def _evidence(claim: Claim) -> str:
    return f"{sensor_ref(claim.variable.source, claim.variable.point)}@{claim.state.at_ms}"


def _numeric(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
