"""Who is behind an entity: what devices say of themselves becomes the entity's attributes.

A device that answers with another serial number at the same place has been swapped; that is an audit entry
with what it was and what it is now.
"""

from collections.abc import Iterable, Mapping

from edge_agent.model.reading import GOOD, Event
from edge_agent.model.record import Entry
from edge_agent.model.world import World, replace_entity
from edge_agent.twin.baseline import Binding, Bindings


def identity_points(bindings: Bindings) -> Mapping[int, Binding]:
    """Return the bindings of the points by which devices say who they are, by number."""
    return {b.number: b for b in bindings.values() if b.point.identity is not None}


def resolve_identity(
    world: World, events: Iterable[Event], points: Mapping[int, Binding]
) -> tuple[World, tuple[Entry, ...]]:
    """Return the world with what devices said of themselves, and an entry for each thing learned or changed."""
    entries: list[Entry] = []
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
    return world, tuple(entries)
