"""What every claim carries when it leaves: when it was, where it comes from, how sure it is, who says so.

Shared by the encoders in formats/. Only the forms of reference/world-state.md and reference/events.md; nothing
here decides anything.
"""

from collections.abc import Sequence
from typing import Any

from edge_agent.model.layout import local_name, record_ref, sensor_ref
from edge_agent.model.reading import REASONS, iso_utc
from edge_agent.model.world import State, Variable, World, home

Json = dict[str, Any]
"""A JSON object: text keys, finite numbers."""

AGENT = "edge-agent"

# The weights of the reference trust model (reference/world-state.md): a hardware sensor; an inference, which a value to
# be used with care comes to; and the floor below which trust does not decay, for a value that nothing confirms.
_SURE = {"good": ("aleatoric", 0.95), "uncertain": ("mixed", 0.65), "bad": ("epistemic", 0.25)}
CONFIGURED = 0.92
"""What a person wrote in the configuration: the weight of a system of record."""
MEASURED = _SURE["good"][1]

_ANCHOR_KINDS = {"sensor": "sensor", "record": "log"}


def anchor(ref: str, at_ms: int | None = None) -> Json:
    """Return a piece of evidence by its reference (model/layout.py), with the time it stands for when known."""
    found: Json = {"kind": _ANCHOR_KINDS.get(ref.partition(":")[0], "tool"), "ref": ref}
    return found if at_ms is None else found | {"timestamp": iso_utc(at_ms)}


def state_anchors(v: Variable, state: State, seq: int, sealed_ms: int) -> list[Json]:
    """Return the evidence of a variable's state: the sensor that was read, and the record that holds it."""
    read_ms = None if state.value is None else state.at_ms
    return [anchor(sensor_ref(v.source, v.point), read_ms), anchor(record_ref(seq), sealed_ms)]


def entity_ref(world: World, entity: str) -> Json:
    """Return a reference to an entity, or to the one it was found to be; its type is left out when it is not known."""
    whole = home(world, entity)
    found = world.entities.get(whole)
    kind = {} if found is None else {"entity_type": found.type}
    return {"entity_id": whole, **kind, "alias": local_name(entity)}


def reading_fields(v: Variable, state: State) -> Json:
    """Return a variable's state as plain fields: an event's `canonical`, an observation's `payload`."""
    return {
        "entity": v.entity,
        "variable": v.name,
        "number": v.number,
        "kind": v.kind,
        "unit": v.unit,
        "source": v.source,
        "value": state.value,
        "quality": state.quality,
        "at": None if state.value is None else iso_utc(state.at_ms),
    }


def reading_tags(v: Variable, quality: str) -> list[str]:
    """Return what to filter readings by."""
    return [f"kind:{v.kind}", f"quality:{quality}"]


def state_uncertainty(state: State) -> Json:
    """Return how far a state can be relied upon. The confidence holds the source's weight already."""
    word, _, reason = state.quality.partition(":")
    type_, confidence = _SURE.get(word, _SURE["bad"])
    if state.value is None:
        type_, confidence = "epistemic", 0.0
    notes = {"notes": f"{state.quality}: {REASONS.get(reason, reason)}"} if reason else {}
    return {"type": type_, "confidence": confidence, **notes}


def epistemic(confidence: float, notes: str) -> Json:
    """Return an uncertainty that more knowledge would lessen."""
    return {"type": "epistemic", "confidence": confidence, "notes": notes}


def provenance(world: World, about: str, capability: str, anchors: Sequence[Json]) -> list[Json]:
    """Return who says so: this agent, as of the world's version, by one step of the loop, on this evidence."""
    return [
        {
            "claim_id": f"{world.world_id}/{world.version}/{about}",
            "created_at": iso_utc(world.at_ms),
            "agent": f"{AGENT}:{world.world_id}",
            "capability": capability,
            "anchors": list(anchors),
        }
    ]
