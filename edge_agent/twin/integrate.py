"""From events to the next world: the last event of a variable wins, the statistics having seen them all.

A failed reading changes the quality and nothing else: the last value stays, dated as it was. A good value that
is the same again, or moved by less than its deadband, leaves the world as it is.
"""

from collections.abc import Iterable, Mapping

from edge_agent.model.reading import GOOD, Event
from edge_agent.model.world import State, World, replace_world
from edge_agent.twin.baseline import Bindings


def deadbands(bindings: Bindings) -> Mapping[int, float]:
    """Return the deadband of each variable that has one, by number."""
    return {b.number: b.point.deadband for b in bindings.values() if b.point.deadband > 0}


def integrate(before: World, events: Iterable[Event], deadband: Mapping[int, float]) -> World:
    """Return the world with the events worked in. It shares with `before` every entity that did not change."""
    changed: dict[str, dict[int, State]] = {}
    variables = before.variables
    for event in events:
        entity = variables[event.number].entity
        rows = changed.get(entity)
        old = before.states[entity][event.number] if rows is None else rows[event.number]
        new = _next(old, event, deadband)
        if new is old:
            continue
        if rows is None:
            rows = changed[entity] = dict(before.states[entity])
        rows[event.number] = new
    if not changed:
        return before
    return replace_world(before, states={**before.states, **changed})


def _next(old: State, event: Event, deadband: Mapping[int, float]) -> State:
    value, quality = event.value, event.quality
    if value is None:
        return old if old.quality == quality else State(old.value, old.at_ms, quality)
    if old.quality == quality and type(old.value) is type(value):
        if old.value == value:
            return old
        band = deadband.get(event.number)
        if band is not None and quality == GOOD and abs(value - old.value) < band:  # type: ignore[operator]
            return old
    return State(value + 0.0 if type(value) is float else value, event.anchor.at.at_ms, quality)
