"""Digests of the world, a tree of two levels: variables under entities under the root (reference/formats.md §4).

`entity_digests` computes only the entities that differ from an earlier world, which it tells by identity: a
world shares with the one before it whatever did not change.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from edge_agent.model.finding import Anomaly
from edge_agent.model.world import Entity, World
from edge_agent.seal.actions import action_map, operator_row
from edge_agent.seal.canonical import pack

Digests = Mapping[str, bytes]
"""Entity id to digest (32 bytes); under `_ACTIONS` that of the actions and operators, when there are any."""
_ACTIONS = "actions"
"""No entity is called so: their ids have colons."""


def entity_digests(world: World, before: tuple[World, Digests] | None = None) -> Digests:
    """Return the digest of each entity; those unchanged since `before` are taken from there."""
    if before is None:
        return {entity: _entity_digest(world, entity) for entity in world.entities} | _actions_digest(world)
    old, known = before
    if old.variables is not world.variables:
        return entity_digests(world)
    findings_moved = old.findings is not world.findings
    same_actions = old.actions is world.actions and old.operators is world.operators
    acts = {key: known[key] for key in (_ACTIONS,) if key in known} if same_actions else _actions_digest(world)
    return {
        entity: known[entity]
        if entity in known
        and _same(old, world, entity)
        and not (findings_moved and _findings_moved(old, world, entity))
        else _entity_digest(world, entity)
        for entity in world.entities
    } | acts


def root_digest(world_id: str, digests: Digests) -> bytes:
    """Return the digest of the world (32 bytes)."""
    return hashlib.sha256(pack(["world", 1, world_id, dict(digests)])).digest()


def state_digest(world: World) -> bytes:
    """Return the digest of the world from nothing but the world."""
    return root_digest(world.world_id, entity_digests(world))


def entity_map(entity: Entity) -> dict[str, Any]:
    """Return an entity's head as it is sealed, without its id."""
    since = {} if entity.since_ms is None else {"since": entity.since_ms}
    return {
        **since,
        "aliases": list(entity.aliases),
        "attributes": dict(entity.attributes),
        "labels": list(entity.labels),
        "relations": [list(edge) for edge in entity.relations],
        "state": entity.state,
        "type": entity.type,
    }


def finding_row(finding: Anomaly) -> tuple[Any, ...]:
    """Return a finding as it is sealed, without its id."""
    row = (
        finding.number, finding.kind, finding.severity, finding.sentence, finding.since_ms,
        float(finding.score), float(finding.confidence), list(finding.anchors),
    )  # fmt: skip
    if not finding.witnesses and finding.acknowledged is None:
        return row
    return (*row, [[each.id, *finding_row(each)] for each in finding.witnesses], finding.acknowledged)


def _entity_digest(world: World, entity: str) -> bytes:
    head = entity_map(world.entities[entity]) | {"id": entity}
    variables = world.variables
    rows = {
        number: (v.name, v.unit, v.kind, v.source, state.value, state.at_ms, state.quality)
        for number, state in world.states[entity].items()
        for v in (variables[number],)
    }
    findings = {key: finding_row(f) for key, f in world.findings.items() if variables[f.number].entity == entity}
    return hashlib.sha256(pack(["entity", 1, head, rows, findings])).digest()


def _actions_digest(world: World) -> dict[str, bytes]:
    if not world.actions and not world.operators:
        return {}
    actions = {key: action_map(action) for key, action in world.actions.items()}
    operators = {keyid: operator_row(operator) for keyid, operator in world.operators.items()}
    return {_ACTIONS: hashlib.sha256(pack(["actions", 1, actions, operators])).digest()}


def _same(old: World, new: World, entity: str) -> bool:
    return old.entities.get(entity) is new.entities[entity] and old.states.get(entity) is new.states[entity]


def _findings_moved(old: World, new: World, entity: str) -> bool:
    def of(world: World) -> dict[str, Anomaly]:
        return {key: f for key, f in world.findings.items() if world.variables[f.number].entity == entity}

    return of(old) != of(new)
