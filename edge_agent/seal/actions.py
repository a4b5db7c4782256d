"""Plans, requests and actions, between nouns and canonical values (reference/formats.md §3 and §9)."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge_agent.model.action import Action, Approver, Checkpoint, Operator, Plan, Request, Stage, Write
from edge_agent.model.checked import as_type, fields_of, plain
from edge_agent.model.errors import WireError
from edge_agent.model.reading import Value
from edge_agent.model.site import ModbusSettings, Source
from edge_agent.seal.canonical import list_head, map_head, pack, unpack

_VERSION = 1
MAX_PLAN_BYTES = 16 * 1024
_REQUEST_FIELDS: dict[str, Any] = {
    "v": int, "agent": str, "akey": str, "req": bytes, "nonce": bytes, "plan": bytes, "plan_digest": bytes,
    "ckpt": dict[str, Any], "policy": bytes, "roster": bytes, "need": dict[str, Any], "ttl_s": int,
}  # fmt: skip
_ACTION_FIELDS: dict[str, Any] = {
    "stage": Stage, "request": dict[str, Any], "boot": bytes, "mono": int, "at": int, "reason": str,
    "approvals": tuple[tuple[str, str], ...], "ckpt": tuple[int, bytes] | None, "before": tuple[Value, ...],
    "near": dict[str, Value], "found": tuple[Value, ...], "writes": tuple[tuple[str, str, int, bytes, int], ...],
    "held": int | None,
}  # fmt: skip


def plan_bytes(plan: Plan) -> bytes:
    """Return the canonical bytes of a plan: what is shown, signed by digest, and carried out."""
    return pack(_lists(plain(plan)))


def plan_of(data: bytes) -> Plan:
    """Return the plan that canonical bytes hold. Raises WireError."""
    return as_type(unpack(data, MAX_PLAN_BYTES), Plan, "plan")


def digest_of(data: bytes) -> bytes:
    """Return SHA-256 of some bytes."""
    return hashlib.sha256(data).digest()


def settings_digest(settings: Mapping[str, object]) -> bytes:
    """Return the version of tables of the configuration: SHA-256 over the canonical bytes of the map of them.

    Piece by piece: of a thousand points all bytes at once would be the most that an agent ever holds.
    """
    found = hashlib.sha256()
    for piece in _pieces(settings):
        found.update(piece)
    return found.digest()


def _pieces(value: object) -> Iterator[bytes]:
    """Give the canonical bytes of a noun, part by part."""
    if isinstance(value, Mapping):
        yield map_head(len(value))
        for key in sorted(value, key=str.encode):
            yield pack(key)
            yield from _pieces(value[key])
    elif isinstance(value, (tuple, list)):
        yield list_head(len(value))
        for each in value:
            yield from _pieces(each)
    elif isinstance(value, (Source, ModbusSettings)):  # what holds all points of a device
        yield from _pieces(fields_of(value))
    else:
        yield pack(_lists(plain(value)))


def roster_digest(roster: Sequence[Approver]) -> bytes:
    """Return the version of the roster: who may approve what, with which key."""
    rows = sorted([a.name, a.keyid, a.key, a.role, float(a.max_risk), a.revoked] for a in roster)
    return digest_of(pack(["roster", 1, rows]))


def drawn(seed: bytes, plan_id: str, what: str, size: int) -> bytes:
    """Return `size` bytes that nobody can foretell who does not know `seed` (32 random bytes, new each turn)."""
    return hashlib.sha256(b"%s|%s|%s" % (seed, what.encode(), plan_id.encode())).digest()[:size]


def request_map(request: Request) -> dict[str, Any]:
    """Return a request as it is sealed."""
    return {
        "v": _VERSION,
        "agent": request.agent,
        "akey": request.akey,
        "req": request.req,
        "nonce": request.nonce,
        "plan": request.plan,
        "plan_digest": request.plan_digest,
        "ckpt": {"seq": request.seq, "head": request.head},
        "policy": request.policy,
        "roster": request.roster,
        "need": {"m": request.approvers, "role": request.role},
        "ttl_s": request.ttl_s,
    }


def request_of(raw: object) -> Request:
    """Return the request that a sealed map holds. Raises WireError."""
    row = _fields(raw, _REQUEST_FIELDS, "request")
    ckpt = _fields(row["ckpt"], {"seq": int, "head": bytes}, "request.ckpt")
    need = _fields(row["need"], {"m": int, "role": str}, "request.need")
    if row["v"] != _VERSION or digest_of(row["plan"]) != row["plan_digest"]:
        raise WireError("request: got another version, or a plan that is not the one of its digest")
    return Request(
        agent=row["agent"], akey=row["akey"], req=row["req"], nonce=row["nonce"], plan=row["plan"],
        plan_digest=row["plan_digest"], seq=ckpt["seq"], head=ckpt["head"], policy=row["policy"],
        roster=row["roster"], approvers=need["m"], role=need["role"], ttl_s=row["ttl_s"],
    )  # fmt: skip


def action_map(action: Action) -> dict[str, Any]:
    """Return an action as it is sealed, without its id."""
    mark = action.checkpoint
    return {
        "stage": action.stage,
        "request": request_map(action.request),
        "boot": action.boot,
        "mono": action.mono_ms,
        "at": action.at_ms,
        "reason": action.reason,
        "approvals": [list(each) for each in action.approvals],
        "ckpt": None if mark is None else [mark.seq, mark.head],
        "before": list(action.before),
        "near": dict(action.near),
        "found": list(action.found),
        "writes": [[w.source, w.point, w.at_ms, w.boot, w.mono_ms] for w in action.writes],
        "held": action.held_mono_ms,
    }


def action_of(key: str, raw: object) -> Action:
    """Return the action that a sealed map holds. Raises WireError."""
    row = _fields(raw, _ACTION_FIELDS, f"action {key[:80]!r}")
    request = request_of(row["request"])
    if request.req.hex() != key:
        raise WireError(f"action {key[:80]!r}: got the request {request.req.hex()[:80]!r}, wanted its own")
    return Action(
        id=key, stage=row["stage"], request=request, plan=plan_of(request.plan), boot=row["boot"], mono_ms=row["mono"],
        at_ms=row["at"], reason=row["reason"], approvals=row["approvals"],
        checkpoint=None if row["ckpt"] is None else Checkpoint(*row["ckpt"]),
        before=row["before"], near=row["near"], found=row["found"],
        writes=tuple(Write(*each) for each in row["writes"]), held_mono_ms=row["held"],
    )  # fmt: skip


def operator_row(operator: Operator) -> list[Any]:
    """Return what is remembered of an operator, as it is sealed."""
    return [operator.name, operator.counter]


def operator_of(raw: object) -> Operator:
    """Return the operator that a sealed array holds. Raises WireError."""
    return Operator(*as_type(raw, tuple[str, int], "operator"))


def _fields(raw: object, wanted: Mapping[str, Any], what: str) -> dict[str, Any]:
    if not isinstance(raw, dict) or raw.keys() != wanted.keys():
        found = sorted(map(str, raw)) if isinstance(raw, dict) else type(raw).__name__
        raise WireError(f"{what}: got {str(found)[:200]}, wanted the fields {sorted(wanted)}")
    return {name: as_type(raw[name], kind, f"{what}.{name}") for name, kind in wanted.items()}


def _lists(value: Any) -> Any:
    """Return plain data with lists for tuples: canonical bytes sort what stands in lists, and not in tuples."""
    if isinstance(value, dict):
        return {key: _lists(each) for key, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, (list, tuple)) else value
