"""Approvals as bytes: signed by an operator, opened by the gateway (reference/formats.md §9).

`opened` makes the first half of the checks, in their order, on bytes that anybody may have written; the second half,
against the request that is open, is judge/approve.py. A refusal is a word, not an error.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from edge_agent.model.action import Action, Approval, Approver
from edge_agent.model.checked import as_type
from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.layout import APPROVAL_TYPE
from edge_agent.seal.canonical import pack, unpack
from edge_agent.seal.envelope import parts, seal, signed_bytes
from edge_agent.seal.keys import PrivateKey, PublicKey

MAX_ENVELOPE_BYTES = 8 * 1024
MAX_PAYLOAD_BYTES = 4 * 1024
_VERSION = 1
_INTEGERS = range(2**63)
_FIELDS: dict[str, Any] = {
    "v": int, "act": str, "agent": str, "akey": str, "req": bytes, "nonce": bytes, "plan": bytes,
    "ckpt": dict[str, Any], "policy": bytes, "roster": bytes, "op": str, "ctr": int, "ttl": int,
}  # fmt: skip
_CKPT: dict[str, Any] = {"seq": int, "head": bytes}


class Opened(NamedTuple):
    """An approval whose signature holds, whose key signed it, and the very bytes, which are the proof."""

    approval: Approval
    approver: Approver
    envelope: bytes


def answer(action: Action, act: str, op: str, ctr: int, ttl_s: int) -> Approval:
    """Return what an operator signs to approve or reject an action as it was shown."""
    asked = action.request
    return as_type(
        {
            "act": act, "agent": asked.agent, "akey": asked.akey, "req": asked.req, "nonce": asked.nonce,
            "plan": asked.plan_digest, "seq": asked.seq, "head": asked.head, "policy": asked.policy,
            "roster": asked.roster, "op": op, "ctr": ctr, "ttl_s": ttl_s,
        },
        Approval,
        "approval",
    )  # fmt: skip


def seal_approval(approval: Approval, key: PrivateKey) -> bytes:
    """Return the envelope of an approval, signed by the operator."""
    return seal(APPROVAL_TYPE, pack(payload_map(approval)), key)


def payload_map(a: Approval) -> dict[str, Any]:
    """Return the thirteen fields that are signed."""
    return {
        "v": _VERSION, "act": a.act, "agent": a.agent, "akey": a.akey, "req": a.req, "nonce": a.nonce, "plan": a.plan,
        "ckpt": {"seq": a.seq, "head": a.head}, "policy": a.policy, "roster": a.roster, "op": a.op, "ctr": a.ctr,
        "ttl": a.ttl_s,
    }  # fmt: skip


def opened(envelope: bytes, roster: Mapping[str, Approver]) -> Opened | str:
    """Return the approval, or the word of the first check that it does not pass. `roster` is by keyid.

    In this order: size, envelope, type, keyid, revoked, signature, payload, fields.
    """
    if len(envelope) > MAX_ENVELOPE_BYTES:
        return "size"
    try:
        found = parts(envelope)
    except WireError:
        return "envelope"
    signature = found["signatures"][0]
    approver = roster.get(signature["keyid"])
    if found["payloadType"] != APPROVAL_TYPE or approver is None:
        return "type" if found["payloadType"] != APPROVAL_TYPE else "keyid"
    payload: bytes = found["payload"]
    if approver.revoked or not _signed_by(approver, signature["sig"], payload):
        return "revoked" if approver.revoked else "signature"
    raw = _read(payload)
    approval = None if raw is None else _approval(raw)
    if approval is None:
        return "payload" if raw is None else "fields"
    return Opened(approval, approver, envelope)


def _signed_by(approver: Approver, signature: bytes, payload: bytes) -> bool:
    try:
        return PublicKey(approver.key).verifies(signature, signed_bytes(APPROVAL_TYPE, payload))
    except TrustError:  # a key of small order: the configuration refuses it, and so do we
        return False


def _read(payload: bytes) -> Any:
    """Return what canonical bytes without any float mean, or None when they are none such."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        return None
    try:
        raw = unpack(payload, MAX_PAYLOAD_BYTES)
    except WireError:
        return None
    return None if _has_float(raw) else raw


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))
    return any(map(_has_float, value)) if isinstance(value, list) else isinstance(value, float)


def _approval(raw: Any) -> Approval | None:
    if not isinstance(raw, dict) or raw.keys() != _FIELDS.keys():
        return None
    try:
        row = {name: as_type(raw[name], kind, "approval") for name, kind in _FIELDS.items()}
        ckpt = {name: as_type(row["ckpt"].get(name), kind, "approval.ckpt") for name, kind in _CKPT.items()}
        fields = {name: row[name] for name in _FIELDS.keys() - {"v", "ckpt", "ttl"}}
        found = as_type({**fields, **ckpt, "ttl_s": row["ttl"]}, Approval, "approval")
    except WireError:
        return None
    sound = (
        row["v"] == _VERSION
        and row["ckpt"].keys() == _CKPT.keys()
        and all(number in _INTEGERS for number in (found.ctr, found.ttl_s, found.seq))
        and [len(each) for each in (found.req, found.nonce, found.plan, found.head, found.policy, found.roster)]
        == [16, 32, 32, 32, 32, 32]
    )
    return found if sound else None
