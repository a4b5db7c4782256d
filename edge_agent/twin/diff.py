"""The difference of two worlds, its application, and the composition of two differences.

The laws (tests/twin/test_diff.py): `apply(a, diff(a, b)) == b` in all that is digested, and
`apply(apply(a, x), y) == apply(a, compose(x, y))`.
"""

from collections.abc import Mapping
from typing import TypeVar

from edge_agent.model.errors import WireError
from edge_agent.model.world import Delta, Entity, State, Variable, World

K = TypeVar("K")
V = TypeVar("V")

UNREAD = State(None, 0, "bad:unknown")
"""What a variable that was just defined holds, until something is read."""


def diff(before: World, after: World) -> Delta:
    """Return what makes `after` of `before`. Cheap where the worlds share parts: those are told by identity."""
    variables = _changes(before.variables, after.variables)
    states: dict[int, State] = {}
    for entity, new in after.states.items():
        old = before.states.get(entity)
        if old is new:
            continue
        for number, state in new.items():
            known = UNREAD if old is None else old.get(number, UNREAD)
            if number in variables:
                known = UNREAD
            if not same(state, known):
                states[number] = state
    return Delta(
        entities=_changes(before.entities, after.entities),
        variables=variables,
        states=states,
        findings=_changes(before.findings, after.findings),
        actions=_changes(before.actions, after.actions),
        operators=_changes(before.operators, after.operators),
    )


def apply(world: World, delta: Delta, version: int, at_ms: int) -> World:
    """Return the next world. Raises WireError when the delta speaks of something that is not defined."""
    entities = _applied(world.entities, delta.entities)
    variables = _applied(world.variables, delta.variables)
    _check_defined(world, entities, variables, delta)
    states = _applied_states(world, delta, variables)
    if delta.entities:
        states = {entity: states.get(entity, {}) for entity in entities}
    return World(
        world.world_id,
        version,
        at_ms,
        entities,
        variables,
        states,
        findings=_applied(world.findings, delta.findings),
        actions=_applied(world.actions, delta.actions),
        operators=_applied(world.operators, delta.operators),
    )


def compose(first: Delta, second: Delta) -> Delta:
    """Return one delta that does what `first` and then `second` do."""
    gone = {number for number, definition in second.variables.items() if definition is None}
    renewed = second.variables.keys()
    kept = {number: state for number, state in first.states.items() if number not in renewed}
    return Delta(
        entities={**first.entities, **second.entities},
        variables={**first.variables, **second.variables},
        states={number: state for number, state in {**kept, **second.states}.items() if number not in gone},
        findings={**first.findings, **second.findings},
        actions={**first.actions, **second.actions},
        operators={**first.operators, **second.operators},
    )


def same(one: State, other: State) -> bool:
    """Whether two states have the same canonical bytes; 1, 1.0 and True are equal to Python and not to a digest."""
    return one is other or (one == other and type(one.value) is type(other.value))


def _changes(before: Mapping[K, V], after: Mapping[K, V]) -> dict[K, V | None]:
    if before is after:
        return {}
    changed: dict[K, V | None] = {key: value for key, value in after.items() if before.get(key) != value}
    changed.update(dict.fromkeys(before.keys() - after.keys()))
    return changed


def _applied(before: Mapping[K, V], changes: Mapping[K, V | None]) -> Mapping[K, V]:
    if not changes:
        return before
    after = dict(before)
    for key, value in changes.items():
        if value is None:
            after.pop(key, None)
        else:
            after[key] = value
    return after


def _applied_states(world: World, delta: Delta, variables: Mapping[int, Variable]) -> Mapping[str, Mapping[int, State]]:
    touched: dict[str, dict[int, State]] = {}

    def rows(entity: str) -> dict[int, State]:
        if entity not in touched:
            touched[entity] = dict(world.states.get(entity, {}))
        return touched[entity]

    for number, definition in delta.variables.items():
        if number in world.variables:
            rows(world.variables[number].entity).pop(number, None)
        if definition is not None:
            rows(definition.entity)[number] = UNREAD
    for number, state in delta.states.items():
        rows(variables[number].entity)[number] = state
    if delta.variables:
        touched = {entity: {n: found[n] for n in sorted(found)} for entity, found in touched.items()}
    return {**world.states, **touched} if touched else world.states


def _check_defined(
    before: World, entities: Mapping[str, Entity], variables: Mapping[int, Variable], delta: Delta
) -> None:
    for v in variables.values() if delta.entities or delta.variables else ():
        if v.entity not in entities:
            raise WireError(f"delta: variable {v.number} belongs to {v.entity[:80]!r}, which is not defined")
    findings = delta.findings if None not in delta.variables.values() else _applied(before.findings, delta.findings)
    named = [*delta.states, *(number for f in findings.values() if f is not None for number in f.numbers)]
    for number in named:
        if number not in variables:
            raise WireError(f"delta: variable {number} is not defined")
