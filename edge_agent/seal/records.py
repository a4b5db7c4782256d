"""Records and snapshots, between nouns and signed bytes (reference/formats.md §3 and §5).

A delta speaks in numbers: states are grouped by the instant and quality they share, and a group whose values
all fit single precision exactly is one binary of 4 bytes a value.
"""

import hashlib
import itertools
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from edge_agent.model.action import Action, Operator
from edge_agent.model.checked import as_type
from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.finding import Anomaly
from edge_agent.model.layout import RECORD_TYPE, SNAPSHOT_TYPE
from edge_agent.model.reading import Value
from edge_agent.model.record import Entry, Fact, Record, Sealed, Snapshot
from edge_agent.model.world import Delta, Entity, State, Variable, World
from edge_agent.seal.actions import action_map, action_of, operator_of, operator_row
from edge_agent.seal.canonical import pack, unpack
from edge_agent.seal.digest import entity_map, finding_row, state_digest
from edge_agent.seal.envelope import parts, seal, verified
from edge_agent.seal.keys import PrivateKey, PublicKey, Verifier

ROTATE = "rotate"
"""The kind of the entry that names the next key."""
_VERSION = 1
_Group = tuple[int, str, list[int], list[Value] | bytes]
_VariableRow = tuple[str, str, str | None, str, str]
_AlarmRow: Any = tuple[int, str, str, str, int, float, float, list[str]]
_WitnessRow = tuple[str, int, str, str, str, int, float, float, list[str]]
_More: Any = tuple[list[_WitnessRow], str | None]
_ALARM = 8
"""Elements of a finding's row; after them, when there is something to say, witnesses and who acknowledged it."""
_RECORD_FIELDS: dict[str, Any] = {
    "v": int, "world": str, "seq": int, "prev": bytes, "boot": bytes, "at": int, "mono": int, "synced": bool,
    "delta": dict[str, Any], "audit": list[tuple[str, dict[str, Fact]]], "state": bytes,
}  # fmt: skip
_SNAPSHOT_FIELDS: dict[str, Any] = {
    "v": int, "world": str, "seq": int, "at": int, "head": bytes, "state": bytes, "reason": str,
    "entities": dict[str, dict[str, Any]], "variables": dict[int, _VariableRow],
    "states": dict[int, tuple[Value, int, str]], "findings": dict[str, list[Any]],
}  # fmt: skip
_DESK_FIELDS: dict[str, Any] = {"actions": dict[str, dict[str, Any]], "operators": dict[str, list[Any]]}
_SINGLE_MAX = 3.4028234663852886e38


class Rotation(NamedTuple):
    """What a rotating record says: from here on another key signs (reference/formats.md §2.1)."""

    world_id: str
    seq: int
    """The rotating record, the last that the old key may speak of."""
    digest: bytes
    was: PublicKey
    key: PublicKey


def seal_record(record: Record, key: PrivateKey, successor: PrivateKey | None = None) -> Sealed:
    """Sign a record. The digest in what is returned is that of the signed payload.

    A record with a `rotate` entry is signed by its successor, too.
    """
    payload = pack(
        {
            "v": _VERSION,
            "world": record.world_id,
            "seq": record.seq,
            "prev": record.prev,
            "boot": record.boot,
            "at": record.at_ms,
            "mono": record.mono_ms,
            "synced": record.synced,
            "delta": delta_map(record.delta, record.at_ms),
            "audit": [[entry.kind, entry.facts] for entry in record.audit],
            "state": record.state,
        }
    )
    signers = (key,) if successor is None else (key, successor)
    return Sealed(record.seq, _digest(payload), seal(RECORD_TYPE, payload, *signers))


def unseal_record(envelope: bytes, keys: Verifier) -> tuple[Record, Sealed]:
    """Return a record after its signature, and both of a rotation, were verified. Raises WireError or TrustError."""
    found = parts(envelope, most=2)
    payload = verified(found, RECORD_TYPE, keys)
    record = _record(payload)
    keys.check_reach(found["signatures"][0]["keyid"], record.seq)
    if len(found["signatures"]) > 1 or any(entry.kind == ROTATE for entry in record.audit):
        _check_rotation(found, rotation_of(record.world_id, record.seq, _digest(payload), record.audit))
    return record, Sealed(record.seq, _digest(payload), envelope)


def unseal_rotation(envelope: bytes, known: PublicKey) -> Rotation:
    """Return a rotation from or to the known key after both signatures were verified.

    Raises WireError or TrustError.
    """
    found = parts(envelope, most=2)
    place = next((i for i, each in enumerate(found["signatures"]) if each["keyid"] == known.keyid), 0)
    payload = verified(found, RECORD_TYPE, known, place)
    record = _record(payload)
    rotation = rotation_of(record.world_id, record.seq, _digest(payload), record.audit)
    _check_rotation(found, rotation)
    return rotation


def rotation_of(world_id: str, seq: int, digest: bytes, audit: Iterable[Entry]) -> Rotation:
    """Return what the one `rotate` entry of a record says. Raises WireError, and TrustError for a key of small order."""
    entries = [entry for entry in audit if entry.kind == ROTATE]
    if len(entries) != 1 or entries[0].facts.keys() != {"was", "key"}:
        raise WireError(f"record {seq}: got {len(entries)} entries of a rotation, wanted one, of `was` and `key`")
    facts = as_type(entries[0].facts, dict[str, str], "rotate")
    try:
        was, key = bytes.fromhex(facts["was"]), bytes.fromhex(facts["key"])
    except ValueError as error:
        raise WireError(f"record {seq}: rotate: wanted keys of 64 hexadecimal digits: {error}") from error
    return Rotation(world_id, seq, digest, PublicKey(was), PublicKey(key))


def _check_rotation(found: dict[str, Any], rotation: Rotation) -> None:
    signers = [each["keyid"] for each in found["signatures"]]
    wanted = [rotation.was.keyid, rotation.key.keyid]
    if signers != wanted:
        raise TrustError(f"record {rotation.seq}: a rotation signed by {signers}, wanted {wanted}")
    for place, key in enumerate((rotation.was, rotation.key)):
        verified(found, RECORD_TYPE, key, place)


def seal_snapshot(snapshot: Snapshot, key: PrivateKey) -> bytes:
    """Return the signed envelope of a snapshot."""
    return seal(SNAPSHOT_TYPE, snapshot_payload(snapshot), key)


def snapshot_payload(snapshot: Snapshot) -> bytes:
    """Return what is signed of a snapshot."""
    world = snapshot.world
    payload = {
        "v": _VERSION,
        "world": world.world_id,
        "seq": world.version,
        "at": world.at_ms,
        "head": snapshot.head,
        "state": snapshot.state,
        "reason": snapshot.reason,
        "entities": {key_: entity_map(entity) for key_, entity in world.entities.items()},
        "variables": {number: _variable_row(v) for number, v in world.variables.items()},
        "states": {number: state for states in world.states.values() for number, state in states.items()},
        "findings": {key_: finding_row(f) for key_, f in world.findings.items()},
        **_desk_maps(world.actions, world.operators),
    }
    return pack(payload)


def unseal_snapshot(envelope: bytes, keys: Verifier) -> Snapshot:
    """Return a snapshot after its signature and its own state digest were verified.

    Raises WireError or TrustError.
    """
    found = parts(envelope)
    snapshot = snapshot_in(verified(found, SNAPSHOT_TYPE, keys))
    keys.check_reach(found["signatures"][0]["keyid"], snapshot.world.version)
    return snapshot


def snapshot_in(payload: bytes) -> Snapshot:
    """Return a snapshot after its own state digest was verified. Raises WireError."""
    raw = checked_fields(payload, _SNAPSHOT_FIELDS, "snapshot", _DESK_FIELDS)
    variables = {number: _variable(number, row) for number, row in raw["variables"].items()}
    entities = {key_: _entity(key_, row) for key_, row in raw["entities"].items()}
    states: dict[str, dict[int, State]] = {entity: {} for entity in entities}
    try:
        for number, row in raw["states"].items():
            states[variables[number].entity][number] = State(*row)
        findings = {key_: _finding(key_, row) for key_, row in raw["findings"].items()}
        for number in (number for finding in findings.values() for number in finding.numbers):
            variables[number]
    except KeyError as error:
        raise WireError(f"snapshot: a state or variable of something not defined: {error}") from error
    actions = {key_: action_of(key_, row) for key_, row in raw["actions"].items()}
    operators = {keyid: operator_of(row) for keyid, row in raw["operators"].items()}
    world = World(raw["world"], raw["seq"], raw["at"], entities, variables, states, findings, actions, operators)
    if state_digest(world) != raw["state"]:
        raise WireError(f"snapshot: the world at record {world.version} does not have the digest it claims")
    return Snapshot(world, raw["head"], raw["state"], raw["reason"])


def _digest(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()


def _record(payload: bytes) -> Record:
    raw = checked_fields(payload, _RECORD_FIELDS, "record")
    return Record(
        world_id=raw["world"],
        seq=raw["seq"],
        prev=raw["prev"],
        boot=raw["boot"],
        at_ms=raw["at"],
        mono_ms=raw["mono"],
        synced=raw["synced"],
        delta=delta_of(raw["delta"], raw["at"]),
        audit=tuple(Entry(kind, facts) for kind, facts in raw["audit"]),
        state=raw["state"],
    )


def checked_fields(
    payload: bytes, fields: dict[str, Any], what: str, optional: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the fields of a payload of this version, exactly these and of these types. Raises WireError.

    `optional` fields are maps that are left out when they are empty.
    """
    raw = unpack(payload)
    if not isinstance(raw, dict) or raw.get("v") != _VERSION:
        version = raw.get("v") if isinstance(raw, dict) else None
        raise WireError(f"{what}: got format version {version!r}, wanted {_VERSION}")
    absent: dict[str, Any] = {name: {} for name in (optional or {}) if name not in raw}
    if {} in [raw.get(name) for name in (optional or {})]:
        raise WireError(f"{what}: got an empty map, wanted it left out")
    raw, fields = raw | absent, fields | dict(optional or {})
    if raw.keys() != fields.keys():
        raise WireError(f"{what}: got fields {sorted(map(str, raw))}, wanted {sorted(fields)}")
    return {name: as_type(raw[name], wanted, f"{what}.{name}") for name, wanted in fields.items()}


def delta_map(delta: Delta, at_ms: int) -> dict[str, Any]:
    """Return a delta as it is sealed; ages are relative to `at_ms`."""
    found: dict[str, Any] = {}
    if delta.entities:
        found["entities"] = {key: None if e is None else entity_map(e) for key, e in delta.entities.items()}
    if delta.variables:
        found["variables"] = {n: None if v is None else _variable_row(v) for n, v in delta.variables.items()}
    if delta.states:
        found["states"] = _groups(delta.states, at_ms)
    if delta.findings:
        found["findings"] = {key: None if f is None else finding_row(f) for key, f in delta.findings.items()}
    return found | _desk_maps(delta.actions, delta.operators)


def _desk_maps(
    actions: Mapping[str, Action] | Mapping[str, Action | None],
    operators: Mapping[str, Operator] | Mapping[str, Operator | None],
) -> dict[str, Any]:
    """Return what is sealed of actions and operators; an empty map is left out."""
    found: dict[str, Any] = {}
    if actions:
        found["actions"] = {key: None if a is None else action_map(a) for key, a in actions.items()}
    if operators:
        found["operators"] = {keyid: None if o is None else operator_row(o) for keyid, o in operators.items()}
    return found


def _groups(states: Mapping[int, State], at_ms: int) -> list[list[Any]]:
    shared: dict[tuple[int, str], list[int]] = {}
    for number in sorted(states):
        _, seen_ms, quality = states[number]
        shared.setdefault((seen_ms, quality), []).append(number)
    return [
        [at_ms - seen_ms, quality, gaps(part), values]
        for (seen_ms, quality), numbers in shared.items()
        for part, values in _columns(numbers, [states[number].value for number in numbers])
    ]


def gaps(numbers: list[int]) -> list[int]:
    """Return rising numbers as the first and then the differences."""
    return [numbers[0], *(b - a for a, b in itertools.pairwise(numbers))]


def _columns(numbers: list[int], values: list[Value]) -> list[tuple[list[int], list[Value] | bytes]]:
    """Part a group into what fits single precision exactly and what does not."""
    whole = _singles(values)
    if whole is not None:
        return [(numbers, whole)]
    singles = [i for i, value in enumerate(values) if _is_single(value)]
    if not singles:
        return [(numbers, values)]
    others = sorted(set(range(len(values))).difference(singles))
    packed = _singles([values[i] for i in singles])
    assert packed is not None
    return [([numbers[i] for i in singles], packed), ([numbers[i] for i in others], [values[i] for i in others])]


def _singles(values: list[Value]) -> bytes | None:
    if set(map(type, values)) != {float}:
        return None
    form = f">{len(values)}f"
    try:
        packed = struct.pack(form, *values)
    except OverflowError:
        return None
    return packed if list(struct.unpack(form, packed)) == values else None


def _is_single(value: Value) -> bool:
    return (
        type(value) is float and abs(value) <= _SINGLE_MAX and struct.unpack(">f", struct.pack(">f", value))[0] == value
    )


def delta_of(raw: dict[str, Any], at_ms: int) -> Delta:
    """Return what a sealed delta says. Raises WireError."""
    unknown = raw.keys() - {"entities", "variables", "states", "findings", *_DESK_FIELDS}
    if unknown:
        raise WireError(f"record.delta: got unknown fields {sorted(unknown)}")
    entities = as_type(raw.get("entities", {}), dict[str, dict[str, Any] | None], "delta.entities")
    variables = as_type(raw.get("variables", {}), dict[int, _VariableRow | None], "delta.variables")
    groups = as_type(raw.get("states", []), list[_Group], "delta.states")
    findings = as_type(raw.get("findings", {}), dict[str, list[Any] | None], "delta.findings")
    actions = as_type(raw.get("actions", {}), dict[str, dict[str, Any] | None], "delta.actions")
    operators = as_type(raw.get("operators", {}), dict[str, list[Any] | None], "delta.operators")
    states: dict[int, State] = {}
    for age_ms, quality, steps, column in groups:
        _read_group(states, at_ms - age_ms, quality, steps, column)
    return Delta(
        entities={key: None if row is None else _entity(key, row) for key, row in entities.items()},
        variables={number: None if row is None else _variable(number, row) for number, row in variables.items()},
        states=states,
        findings={key: None if row is None else _finding(key, row) for key, row in findings.items()},
        actions={key: None if row is None else action_of(key, row) for key, row in actions.items()},
        operators={keyid: None if row is None else operator_of(row) for keyid, row in operators.items()},
    )


def _read_group(
    states: dict[int, State], at_ms: int, quality: str, steps: list[int], column: list[Value] | bytes
) -> None:
    if isinstance(column, bytes):
        if len(column) != 4 * len(steps):
            raise WireError(f"delta.states: got {len(column)} bytes for {len(steps)} numbers, wanted 4 each")
        column = list(struct.unpack(f">{len(steps)}f", column))
    if len(column) != len(steps):
        raise WireError(f"delta.states: got {len(column)} values for {len(steps)} numbers")
    number = 0
    for step, value in zip(steps, column, strict=True):
        number += step
        if step <= 0 or number in states or value != value:  # noqa: PLR0124 - NaN is what differs from itself
            raise WireError("delta.states: numbers must rise, stand once and have finite values")
        states[number] = State(value, at_ms, quality)


def _entity(key: str, row: dict[str, Any]) -> Entity:
    fields: dict[str, Any] = {
        "type": str, "labels": tuple[str, ...], "aliases": tuple[str, ...], "attributes": dict[str, str],
        "state": str | None, "relations": tuple[tuple[str, str], ...],
    }  # fmt: skip
    if row.keys() - {"since"} != fields.keys():
        raise WireError(f"entity {key[:80]!r}: got fields {sorted(row)}, wanted {sorted(fields)}")
    since_ms = as_type(row["since"], int, "entity.since") if "since" in row else None
    known = {name: as_type(row[name], wanted, f"entity.{name}") for name, wanted in fields.items()}
    return Entity(id=key, since_ms=since_ms, **known)


def _variable_row(v: Variable) -> tuple[str, str, str | None, str, str]:
    return (v.entity, v.name, v.unit, v.kind, v.source)


def _variable(number: int, row: _VariableRow) -> Variable:
    return Variable(number, *row)


def _finding(key: str, row: list[Any]) -> Anomaly:
    alarm = as_type(row[:_ALARM], _AlarmRow, "finding")
    if len(row) <= _ALARM:
        return _alarm(key, alarm)
    rows, acknowledged = as_type(row[_ALARM:], _More, "finding")
    if not rows and acknowledged is None:
        raise WireError(f"finding {key[:80]!r}: got {len(row)} elements that say nothing more, wanted {_ALARM}")
    return _alarm(key, alarm, tuple(_alarm(id_, rest) for id_, *rest in rows), acknowledged)


def _alarm(
    key: str, row: Sequence[Any], witnesses: tuple[Anomaly, ...] = (), acknowledged: str | None = None
) -> Anomaly:
    number, kind, severity, sentence, since_ms, score, confidence, anchors = row
    evidence = tuple(anchors)
    return Anomaly(
        key, number, kind, severity, sentence, since_ms, score, confidence, evidence, witnesses, acknowledged
    )
