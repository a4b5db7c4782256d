"""Who is behind an entity: what devices say of themselves becomes the entity's attributes.

A device that answers with another serial number at the same place has been swapped; that is an audit entry with what
it was and what it is now. Whatever was learned may show that two entities are one thing, or are not (twin/alias.py):
each merge, suggestion and split is an entry with its evidence.
"""

from collections.abc import Iterable, Iterator, Mapping

from edge_agent.model.layout import sensor_ref
from edge_agent.model.reading import GOOD, Event
from edge_agent.model.record import Entry, Fact
from edge_agent.model.world import World, home, replace_entity
from edge_agent.twin.alias import (
    AUTO_MERGE,
    HIGH_SIGNAL,
    SUGGEST_MERGE,
    Likeness,
    doubtful,
    likeness,
    merge,
    obstacle,
    shared_identifiers,
    split,
    strangers,
)
from edge_agent.twin.baseline import Binding, Bindings


def identity_points(bindings: Bindings) -> Mapping[int, Binding]:
    """Return the bindings of the points by which devices say who they are, by number."""
    return {b.number: b for b in bindings.values() if b.point.identity is not None}


def resolve_identity(
    world: World, events: Iterable[Event], points: Mapping[int, Binding]
) -> tuple[World, tuple[Entry, ...]]:
    """Return the world with what devices said of themselves, and an entry for each thing learned or changed."""
    entries: list[Entry] = []
    learned: dict[str, None] = {}
    for event in events:
        if event.number not in points or event.quality != GOOD:
            continue
        binding = points[event.number]
        attribute = binding.point.identity
        assert attribute is not None
        entity = world.entities[binding.entity]
        was, now = entity.attributes.get(attribute), str(event.value)
        if was == now:
            continue
        facts = {"entity": entity.id, "attribute": attribute, "was": was, "now": now}
        entries.append(Entry("identity", {**facts, "swapped": attribute == "serial" and was is not None}))
        world = replace_entity(world, entity.id, attributes={**entity.attributes, attribute: now})
        learned[entity.id] = None
    for each in learned:
        world, told = reconcile(world, each, points)
        entries += told
    return world, tuple(entries)


def reconcile(world: World, entity: str, points: Mapping[int, Binding]) -> tuple[World, list[Entry]]:
    """Return the world after what was learned of an entity: parted from what it cannot be, joined to what it is."""
    entries: list[Entry] = []
    while (stranger := next(strangers(world, entity), None)) is not None:
        absorbed, reason = stranger
        facts: dict[str, Fact] = {"entity": home(world, absorbed), "other": absorbed, "action": "parted"}
        entries.append(Entry("split", facts | {"reason": reason}))
        world = split(world, absorbed)
    for absorbed, score in doubtful(world, entity):
        facts = {"entity": home(world, absorbed), "other": absorbed, "action": "suggested"}
        entries.append(Entry("split", facts | {"reason": f"they are alike to {score:g} only"}))
    for other in world.entities:
        if home(world, other) == home(world, entity) or obstacle(world, entity, other) is not None:
            continue
        found = likeness(world, entity, other)
        if found.score < SUGGEST_MERGE:
            continue
        sure = found.score >= AUTO_MERGE and _certain(world, entity, other, found)
        joined = merge(world, entity, other) if sure else world
        kept, absorbed = sorted((home(world, entity), home(world, other)))
        facts = {"entity": kept, "other": absorbed, "action": "merged" if sure else "suggested", "score": found.score}
        why = ", ".join(f"{name} {share:g}" for name, share in found.features.items())
        evidence = " ".join(_evidence(world, {entity, other}, points))
        entries.append(Entry("merge", {**facts, "features": why, "evidence": evidence}))
        world = joined
    return world, entries


def _certain(world: World, one: str, other: str, found: Likeness) -> bool:
    return "exact_id_match" in found.features or bool(shared_identifiers(world.entities[one], world.entities[other]))


def _evidence(world: World, entities: set[str], points: Mapping[int, Binding]) -> Iterator[str]:
    for number, binding in points.items():
        if binding.entity in entities and binding.point.identity in HIGH_SIGNAL:
            variable = world.variables[number]
            yield f"{sensor_ref(variable.source, variable.point)}@{world.state_of(number).at_ms}"
