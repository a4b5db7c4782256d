"""The world before its first reading, from the configuration; and the bindings of readings to its variables.

Never a turn without a baseline: at each start the world that was kept is brought in line with the
configuration. What is still configured keeps its number and its state; what is new gets the next number; what
is gone is removed. A variable whose unit, kind or source changed is another variable.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from edge_agent.model.action import Operator
from edge_agent.model.layout import entity_id, local_name
from edge_agent.model.profile import Point
from edge_agent.model.site import Site, named
from edge_agent.model.world import SAME_AS, Entity, State, Variable, World
from edge_agent.twin.diff import UNREAD


class Binding(NamedTuple):
    """Where the readings of one point go."""

    number: int
    entity: str
    point: Point


Bindings = Mapping[tuple[str, str], Binding]
"""By (source, point)."""


def empty_world(world_id: str) -> World:
    """Return the world of a gateway that was never configured."""
    return World(world_id, 0, 0, {}, {}, {}, {})


def baseline(site: Site, before: World) -> World:
    """Return `before` brought in line with the configuration; its version and time are left as they are."""
    entities = {e.id: e for e in _entities(site, before)}
    known = {(v.entity, v.name, v.unit, v.kind, v.source): v for v in before.variables.values()}
    number = max(before.variables, default=0)
    variables: dict[int, Variable] = {}
    states: dict[str, dict[int, State]] = {entity: {} for entity in entities}
    for entity, name, unit, kind, source in _definitions(site):
        kept = known.get((entity, name, unit, kind, source))
        if kept is None:
            number += 1
        variable = kept or Variable(number, entity, name, unit, kind, source)
        variables[variable.number] = variable
        states[entity][variable.number] = UNREAD if kept is None else before.state_of(kept.number)
    return World(
        before.world_id,
        before.version,
        before.at_ms,
        entities,
        {n: variables[n] for n in sorted(variables)},
        {entity: {n: rows[n] for n in sorted(rows)} for entity, rows in states.items()},
        {key: f for key, f in before.findings.items() if variables.keys() >= set(f.numbers)},
        before.actions,
        _operators(site, before),
    )


def bindings(site: Site, world: World) -> Bindings:
    """Return where the readings of each configured point go. `world` is in line with the configuration."""
    numbers = {(v.source, v.point): v for v in world.variables.values()}
    return {
        (source.name, point.name): Binding(variable.number, variable.entity, point)
        for source in site.sources
        for point in source.points
        for variable in (numbers[source.name, point.name],)
    }


def _operators(site: Site, before: World) -> Mapping[str, Operator]:
    """Return those on the roster and those who once were: whoever comes back must not find the counter fallen."""
    found = {
        a.keyid: Operator(a.name, known.counter if (known := before.operators.get(a.keyid)) is not None else 0)
        for a in site.roster
    }
    return before.operators if {**before.operators, **found} == before.operators else {**before.operators, **found}


def _definitions(site: Site) -> Iterator[tuple[str, str, str | None, str, str]]:
    """Give each variable. Where several sources give one, the most trusted has its name; the others add their own."""
    bearers = named(site.sources)
    for source in site.sources:
        for point in source.points:
            first = bearers[source.entity, point.name][0] is source
            yield (
                source.entity,
                point.name if first else f"{point.name}@{source.name}",
                point.unit,
                point.kind,
                source.name,
            )


def _entities(site: Site, before: World) -> Iterator[Entity]:
    """Give the configured entities and those the sources describe, with what was learned of them before."""
    settings = site.settings
    types = {source.entity: source.entity_type for source in site.sources}
    full = {local_name(key): key for key in types}
    declared = {}
    for entity in settings.entities:
        key = full.setdefault(entity.id, entity_id(site.world_id, entity.type, entity.id))
        types.setdefault(key, entity.type)
        declared[key] = entity
    links = {key: link for key in types if (link := _link(before.entities.get(key), types)) is not None}
    for key, entity_type in types.items():
        old = before.entities.get(key)
        written = declared.get(key)
        yield Entity(
            id=key,
            type=entity_type,
            labels=() if written is None else written.labels,
            aliases=(
                *(f"source:{source.name}" for source in site.sources if source.entity == key),
                *(absorbed for absorbed, kept in links.items() if kept == key),
            ),
            attributes=_attributes(site, key, old),
            state=(state := _state(site, key, old, None if written is None else written.state)),
            since_ms=old.since_ms if old is not None and old.state == state else None,
            relations=_relations(site, key, full, links.get(key)),
        )


def _relations(site: Site, key: str, full: Mapping[str, str], link: str | None) -> tuple[tuple[str, str], ...]:
    written = [(e.relation, full[e.dst]) for e in site.settings.relationships if full[e.src] == key]
    return tuple(dict.fromkeys([*written, *([] if link is None else [(SAME_AS, link)])]))


def _link(old: Entity | None, types: Mapping[str, str]) -> str | None:
    """Return what an entity was found to be the same as, while that is still configured."""
    relations = () if old is None else old.relations
    return next((other for relation, other in relations if relation == SAME_AS and other in types), None)


def _attributes(site: Site, key: str, old: Entity | None) -> dict[str, str]:
    """Return what was learned of an entity, and the profile it is read by now."""
    names = {source.name for source in site.sources}
    known = {} if old is None else old.attributes
    # Whom a point is read from (twin/trust.py) holds as long as there is that source.
    learned = {
        name: text
        for name, text in known.items()
        if name != "profile" and (text in names or not name.endswith(" from"))
    }
    profiles = sorted({s.profile for s in site.sources if s.entity == key and s.profile is not None})
    return {**learned, "profile": " ".join(profiles)} if profiles else learned


def _state(site: Site, key: str, old: Entity | None, start: str | None) -> str | None:
    """Return the place in its state machine that an entity keeps or starts from."""
    rules = [t for t in site.settings.transitions if t.entity == local_name(key)]
    known = {state for rule in rules for state in (rule.src, rule.dst)}
    return old.state if old is not None and old.state in known else start
