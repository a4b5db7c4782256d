"""The world in the canonical form of the reference workflow. Pure; described in reference/world-state.md.

A variable that was never read stands in it with the value `{"missing": true, "reason": …}`. Left out, nobody
could tell it from a variable that does not exist; a number in its place would be a lie.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from edge_agent.model.action import Action, Plan, Ruling, Stage, Step
from edge_agent.model.finding import Anomaly
from edge_agent.model.layout import record_ref
from edge_agent.model.reading import iso_utc
from edge_agent.model.site import TransitionSettings
from edge_agent.model.world import SAME_AS, Entity, State, Variable, World, home
from edge_agent.twin.alias import UNSPECIFIC
from edge_agent.uplink.claims import (
    AGENT,
    CONFIGURED,
    MEASURED,
    Json,
    anchor,
    entity_ref,
    epistemic,
    provenance,
    reading_fields,
    reading_tags,
    state_anchors,
    state_uncertainty,
)

_CONFIGURATION: Json = {"kind": "file", "ref": "agent.toml"}
_HOUR_MS = 3_600_000
_STATUS: dict[Stage, str] = {
    "proposed": "planned", "waiting": "planned", "approved": "approved", "checkpointed": "approved",
    "writing": "executed", "verifying": "executed", "verified": "executed", "rolling_back": "rolled_back",
    "rolled_back": "rolled_back", "failed": "failed", "unknown": "failed", "refused": "failed", "expired": "failed",
}  # fmt: skip
"""Stages in the words of the reference, which has fewer; the first line of `verification` tells the stage itself."""


class Retention(NamedTuple):
    """How much of the past a gateway keeps."""

    log_max_bytes: int
    snapshots_kept: int


def world_state(
    world: World,
    state_digest: bytes,
    parent: bytes | None,
    *,
    transitions: Sequence[TransitionSettings] = (),
    rulings: Sequence[Ruling] = (),
    retention: Retention | None = None,
) -> Json:
    """Return the canonical world state, ready for JSON.

    `state_digest` is the world's (32 bytes), `parent` that of the world before it, None when not known.
    `transitions` are the site's rules and `rulings` what policy said to the plans of this version's turn. Who
    does not know the site, such as a mirror, leaves them and `retention` out.
    """
    rows = [(v, world.state_of(number)) for number, v in sorted(world.variables.items())]
    asked = [action.plan for action in world.actions.values()]
    found: Json = {
        "meta": _meta(world, state_digest, parent),
        "entities": [_entity(world, whole) for whole in _wholes(world)],
        "relationships": list(_relationships(world)),
        "state_variables": [
            *(_reading(world, v, state) for v, state in rows),
            *(_finding(world, finding) for _, finding in sorted(world.findings.items())),
        ],
        "observations": [_observation(world, v, state) for v, state in rows if state.value is not None],
        "transition_rules": [_rule(world, index, rule) for index, rule in enumerate(transitions)],
        "actions": [
            *(_planned(world, r.plan) for r in rulings if r.verdict != "refuse" and r.plan not in asked),
            *(_action(world, action) for _, action in sorted(world.actions.items())),
        ],
    }
    found["indexes"] = _indexes(found, [state.at_ms for _, state in rows if state.value is not None])
    return found if retention is None else found | {"retention_policy": _retention(retention)}


def _meta(world: World, state_digest: bytes, parent: bytes | None) -> Json:
    parent_id = None if parent is None else _version_id(parent)
    return {
        "world_id": world.world_id,
        "as_of": iso_utc(world.at_ms),
        "timezone": "UTC",
        "scope": record_ref(world.version),
        "version_id": _version_id(state_digest),
        "parent_version_id": parent_id,
        "lineage": [] if parent_id is None else [parent_id],
    }


def _version_id(digest: bytes) -> str:
    return "sha256:" + digest.hex()


def _sealed(world: World) -> Json:
    return anchor(record_ref(world.version), world.at_ms)


def _entity(world: World, entity: Entity) -> Json:
    known = "serial" in entity.attributes
    return {
        "id": entity.id,
        "type": entity.type,
        "labels": list(entity.labels),
        "aliases": list(entity.aliases),
        "attributes": dict(entity.attributes) | _since(entity),
        "status": entity.state,
        "provenance": provenance(world, entity.id, "classify", [_sealed(world)]),
        "uncertainty": epistemic(MEASURED, "identified by its own serial number")
        if known
        else epistemic(CONFIGURED, "identified by the configuration"),
    }


def _wholes(world: World) -> list[Entity]:
    """Return the entities with those worked in that were found to be the same; what the canonical one says counts."""
    parts: dict[str, list[Entity]] = {}
    for key, entity in sorted(world.entities.items(), key=lambda item: (home(world, item[0]) != item[0], item[0])):
        parts.setdefault(home(world, key), []).append(entity)
    return [_whole(each) if len(each) > 1 else each[0] for _, each in sorted(parts.items())]


def _whole(parts: Sequence[Entity]) -> Entity:
    attributes: dict[str, str] = {}
    for part in reversed(parts):
        attributes |= part.attributes
    placed = next((part for part in parts if part.state is not None), parts[0])
    return Entity(
        id=parts[0].id,
        type=next((part.type for part in parts if part.type != UNSPECIFIC), parts[0].type),
        labels=tuple(dict.fromkeys(label for part in parts for label in part.labels)),
        aliases=tuple(dict.fromkeys(alias for part in parts for alias in part.aliases)),
        attributes=attributes,
        state=placed.state,
        since_ms=placed.since_ms,
    )


def _since(entity: Entity) -> Json:
    return {} if entity.since_ms is None else {"state_since": iso_utc(entity.since_ms)}


def _relationships(world: World) -> Iterator[Json]:
    told = set[tuple[str, str, str]]()
    for _, entity in sorted(world.entities.items()):
        for relation, other in entity.relations:
            edge = (home(world, entity.id), relation, home(world, other))
            if edge in told or (relation == SAME_AS and edge[0] == edge[2]):
                continue
            told.add(edge)
            about = f"{entity.id}/{relation}/{other}"
            yield {
                "src": entity_ref(world, entity.id),
                "dst": entity_ref(world, other),
                "relation": relation,
                "provenance": provenance(world, about, "integrate", [_CONFIGURATION, _sealed(world)]),
                "uncertainty": epistemic(CONFIGURED, "written by a person"),
            }


def _reading(world: World, v: Variable, state: State) -> Json:
    missing = {"missing": True, "reason": state.quality.partition(":")[2]}
    return {
        "name": v.name,
        "subject": entity_ref(world, v.entity),
        "value": {
            "value": missing if state.value is None else state.value,
            "unit": v.unit,
            "uncertainty": state_uncertainty(state),
        },
        # Nothing was read, so there is no reading to date: absence is as of this version.
        "timestamp": iso_utc(world.at_ms if state.value is None else state.at_ms),
        "source": "observation",
        "provenance": provenance(
            world, f"{v.entity}/{v.name}", "integrate", state_anchors(v, state, world.version, world.at_ms)
        ),
        "tags": [f"number:{v.number}", *reading_tags(v, state.quality)],
    }


def _finding(world: World, finding: Anomaly) -> Json:
    v = world.variables[finding.number]
    evidence = [*map(anchor, finding.anchors), _sealed(world)]
    return {
        "name": f"{v.name}/{finding.kind}",
        "subject": entity_ref(world, v.entity),
        "value": {
            "value": {
                "severity": finding.severity,
                "sentence": finding.sentence,
                "score": finding.score,
                "witnesses": [witness.sentence for witness in finding.witnesses],
                "acknowledged": finding.acknowledged,
            },
            "unit": None,
            "uncertainty": epistemic(finding.confidence, "how far the baseline behind it can be relied upon"),
        },
        "timestamp": iso_utc(finding.since_ms),
        "source": "inference",
        "provenance": provenance(world, finding.id, "detect", evidence),
        "tags": [f"number:{v.number}", "kind:finding", f"severity:{finding.severity}"],
    }


def _observation(world: World, v: Variable, state: State) -> Json:
    return {
        "event_id": f"{world.world_id}/state/{v.number}/{state.at_ms}/{state.quality}",
        "timestamp": iso_utc(state.at_ms),
        "source": "sensor",
        "payload": reading_fields(v, state),
        "anchors": state_anchors(v, state, world.version, world.at_ms),
        "parsed_as": ["observation.changed"],
        "uncertainty": state_uncertainty(state),
    }


def _rule(world: World, index: int, rule: TransitionSettings) -> Json:
    when = rule.when
    about = f"transition/{index}/{rule.entity}/{rule.src}/{rule.dst}"
    return {
        "rule_id": about,
        "trigger": {
            "variable": when.variable,
            "is": when.is_,
            "value": when.value,
            "for_s": float(when.lasting),
            "hysteresis": when.hysteresis,
        },
        "guards": [f"{rule.entity}.state == {rule.src}"],
        "effects": [f"{rule.entity}.state = {rule.dst}"],
        "allowed_next_states": [rule.dst],
        "provenance": provenance(world, about, "transition", [_CONFIGURATION]),
    }


def _planned(world: World, plan: Plan) -> Json:
    return {
        "action_id": plan.id,
        "timestamp": iso_utc(world.at_ms),
        "actor": f"{AGENT}:{world.world_id}",
        "intent": plan.summary,
        "status": "planned",
        "plan_ref": record_ref(world.version),
        "changes": [_change(step) for step in plan.steps],
        "anchors": [*map(anchor, plan.anchors)],
    }


def _action(world: World, action: Action) -> Json:
    """Return an action that was asked for: how far it came, what it was to change, what reading it back showed."""
    plan, mark = action.plan, action.checkpoint
    known = [anchor(record_ref(action.request.seq))]
    kept = [] if mark is None else [anchor(record_ref(mark.seq))]
    found = [
        f"{step.source}.{step.shown_at} read back as {json.dumps(value, ensure_ascii=False)}"
        for step, value in zip(plan.steps, action.found, strict=False)
    ]
    return {
        "action_id": action.id,
        "timestamp": iso_utc(action.at_ms),
        "actor": ", ".join(f"human:{name}" for name, _ in action.approvals) or f"{AGENT}:{world.world_id}",
        "intent": plan.summary,
        "status": _STATUS[action.stage],
        "plan_ref": f"sha256:{action.request.plan_digest.hex()}",
        "changes": [_change(step) for step in plan.steps],
        "verification": [f"{action.stage}: {action.reason}", *found],
        "anchors": [*map(anchor, plan.anchors), *known, *kept],
    }


def _change(step: Step) -> str:
    was, wanted = (json.dumps(value, ensure_ascii=False) for value in (step.expect, step.value))
    return f"{step.source}.{step.point}: {was} -> {wanted}"


def _indexes(found: Mapping[str, list[Json]], observed_ms: Sequence[int]) -> Json:
    """Return JSON Pointers (RFC 6901) into the document, by entity id, by variable name, by hour of the reading."""
    by_entity: dict[str, list[str]] = {e["id"]: [f"/entities/{i}"] for i, e in enumerate(found["entities"])}
    by_variable: dict[str, list[str]] = {}
    by_time: dict[str, list[str]] = {}
    for i, edge in enumerate(found["relationships"]):
        by_entity[edge["src"]["entity_id"]].append(f"/relationships/{i}")
    for i, variable in enumerate(found["state_variables"]):
        by_entity[variable["subject"]["entity_id"]].append(f"/state_variables/{i}")
        by_variable.setdefault(variable["name"], []).append(f"/state_variables/{i}")
    for i, at_ms in enumerate(observed_ms):
        by_time.setdefault(iso_utc(at_ms - at_ms % _HOUR_MS), []).append(f"/observations/{i}")
    return {"by_entity": by_entity, "by_variable": by_variable, "by_time": by_time}


def _retention(kept: Retention) -> Json:
    log = {"max_bytes": kept.log_max_bytes}
    return {"observations": log, "audit_logs": dict(log), "snapshots": {"max_count": kept.snapshots_kept}}
