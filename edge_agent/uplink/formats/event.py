"""Sealed records as canonical events of the reference workflow. Pure; described in reference/events.md.

One event for each state that a record changed, each finding it opened, updated or closed, and each audit entry.
A squashed range gives its states and findings as those of its last record, and all its audit entries as they were.
"""

from collections import Counter
from collections.abc import Iterator

from edge_agent.model.finding import Anomaly
from edge_agent.model.layout import record_ref, variable_path
from edge_agent.model.reading import bad, iso_utc
from edge_agent.model.record import Fact
from edge_agent.model.world import State, Variable, World
from edge_agent.seal.digest import finding_row
from edge_agent.seal.squash import Stretch, Told
from edge_agent.uplink.claims import (
    AGENT,
    Json,
    anchor,
    entity_ref,
    epistemic,
    reading_fields,
    reading_tags,
    state_anchors,
    state_uncertainty,
)

_PROVENANCE = {"transformer": __name__, "transform_version": "1"}
"""The version rises when the same record would give other events."""

_QUALITY_SEVERITY = {"good": "info", "uncertain": "warn"}
_FINDING_SEVERITY = {"low": "info", "medium": "warn", "high": "error", "critical": "critical"}
# Something was lost or failed: error; something to know of: warn; a person must come: critical.
_AUDIT_SEVERITY: dict[tuple[str, Fact], str] = {
    ("turn", "drift_detected"): "warn",
    ("plan", "refuse"): "warn",
    ("identity", True): "warn",
    ("merge", "suggested"): "warn",
    ("split", None): "warn",
    ("drop", None): "error",
    ("rebaseline", None): "error",
    ("action", "waiting"): "warn",
    ("action", "refused"): "warn",
    ("action", "expired"): "warn",
    ("action", "failed"): "error",
    ("action", "rolling_back"): "error",
    ("action", "rolled_back"): "error",
    ("action", "unknown"): "critical",
    ("approvals-refused", None): "warn",
}
_DECIDING_FACT = {"turn": "status", "plan": "verdict", "identity": "swapped", "merge": "action", "action": "to"}


def events(record: Stretch, before: World, after: World) -> Iterator[Json]:
    """Give the canonical events of a record, ready for JSON: states by number, findings by id, then audit entries.

    `before` and `after` are the worlds that the record stands between: they resolve the numbers in which a
    delta speaks.
    """
    for number, state in sorted(record.delta.states.items()):
        yield _observation(record, after, after.variables[number], state)
    for key, change in sorted(record.delta.findings.items()):
        yield from _finding(record, before, after, key, change)
    index: Counter[int] = Counter()
    for told in record.audit:
        yield _audit(record, after, index[told.seq], told)
        index[told.seq] += 1


def _observation(record: Stretch, world: World, v: Variable, state: State) -> Json:
    # A value that turned bad keeps the time it was read; that it turned is an event of this turn.
    turned = state.value is None or state.quality.startswith("bad:")
    numeric = isinstance(state.value, (int, float)) and not isinstance(state.value, bool)
    metric = {"name": variable_path(v.entity, v.name), "value": state.value, "unit": v.unit}
    return {
        **_head(record, f"state/{v.number}", record.at_ms if turned else state.at_ms, "observation.changed"),
        "source": {"kind": "sensor", "name": v.source, "channel": v.name, "host": record.world_id},
        "severity": _state_severity(state),
        "tags": [*reading_tags(v, state.quality), *_clock_tags(record)],
        "entity_refs": [entity_ref(world, v.entity)],
        **({"metric": metric} if numeric else {}),
        "raw": {
            "number": v.number,
            "age": record.at_ms - state.at_ms,
            "quality": state.quality,
            "value": state.value,
        },
        "canonical": reading_fields(v, state),
        "anchors": state_anchors(v, state, record.last, record.at_ms),
        "uncertainty": state_uncertainty(state),
    }


def _finding(record: Stretch, before: World, after: World, key: str, change: Anomaly | None) -> Iterator[Json]:
    old = before.findings.get(key)
    finding = old if change is None else change
    if finding is None:
        return  # closed before anyone saw it open: between the two worlds nothing happened
    v = (after if change is not None else before).variables[finding.number]
    what = "closed" if change is None else "opened" if old is None else "updated"
    yield {
        **_head(record, f"finding/{key}", record.at_ms, f"finding.{what}"),
        "source": {"kind": "log", "name": AGENT, "channel": finding.kind, "host": record.world_id},
        "severity": "info" if change is None else _FINDING_SEVERITY.get(finding.severity, "warn"),
        "tags": [f"kind:{finding.kind}", f"severity:{finding.severity}", *_clock_tags(record)],
        "entity_refs": [entity_ref(after, v.entity)],
        "raw": {"id": key, "row": None if change is None else list(finding_row(change))},
        "canonical": _finding_fields(finding, v) | ({"until": iso_utc(record.at_ms)} if change is None else {}),
        "anchors": [*map(anchor, finding.anchors), _sealed(record)],
        "uncertainty": epistemic(finding.confidence, "how far the baseline behind it can be relied upon"),
    }


def _finding_fields(finding: Anomaly, v: Variable) -> Json:
    return {
        "finding": finding.id,
        "entity": v.entity,
        "variable": v.name,
        "number": v.number,
        "kind": finding.kind,
        "severity": finding.severity,
        "sentence": finding.sentence,
        "since": iso_utc(finding.since_ms),
        "score": finding.score,
        "confidence": finding.confidence,
        "witnesses": [witness.id for witness in finding.witnesses],
        "acknowledged": finding.acknowledged,
    }


def _audit(record: Stretch, world: World, index: int, told: Told) -> Json:
    entry = told.entry
    entity = entry.facts.get("entity")
    known = isinstance(entity, str) and entity in world.entities
    return {
        **_head(record, f"audit/{index}", told.at_ms, f"audit.{entry.kind}", told.seq),
        "source": {"kind": "log", "name": AGENT, "channel": "audit", "host": record.world_id},
        "severity": _audit_severity(told),
        "tags": _clock_tags(record),
        "entity_refs": [entity_ref(world, str(entity))] if known else [],
        "raw": {"kind": entry.kind, "facts": dict(entry.facts)},
        "canonical": {
            "kind": entry.kind,
            "facts": dict(entry.facts),
            "record": told.seq,
            "synced": record.synced,
        },
        "anchors": [anchor(record_ref(told.seq), told.at_ms)],
    }


def _head(record: Stretch, about: str, at_ms: int, event_type: str, seq: int | None = None) -> Json:
    return {
        "event_id": f"{record.world_id}/{record.last if seq is None else seq}/{about}",
        "timestamp": iso_utc(at_ms),
        "event_type": event_type,
        "provenance": dict(_PROVENANCE),
    }


def _sealed(record: Stretch) -> Json:
    return anchor(record_ref(record.last), record.at_ms)


def _clock_tags(record: Stretch) -> list[str]:
    return [] if record.synced else ["clock:unsynced"]


def _state_severity(state: State) -> str:
    if state.quality == bad("unknown"):
        return "info"  # not lost: it was never there
    return _QUALITY_SEVERITY.get(state.quality.partition(":")[0], "error")


def _audit_severity(told: Told) -> str:
    entry = told.entry
    decides = _DECIDING_FACT.get(entry.kind)
    fact = None if decides is None else entry.facts.get(decides)
    return _AUDIT_SEVERITY.get((entry.kind, fact), "info")
