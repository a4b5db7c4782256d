"""Receipts: a mirror's signed word of how far it has verified a gateway's chain (reference/formats.md §6.1)."""

from typing import Any, NamedTuple

from edge_agent.model.errors import WireError
from edge_agent.model.layout import RECEIPT_TYPE
from edge_agent.model.record import ZERO_DIGEST
from edge_agent.seal.canonical import pack
from edge_agent.seal.envelope import parts, seal, signed_bytes
from edge_agent.seal.keys import PrivateKey, PublicKey
from edge_agent.seal.records import checked_fields

MAX_RECEIPT_BYTES = 1024
_VERSION = 1
_FIELDS: dict[str, Any] = {"v": int, "world": str, "from": int, "seq": int, "head": bytes}


class Receipt(NamedTuple):
    """The records `first` to `seq` of a world were verified, each of them, and the digest of the last is `head`."""

    world_id: str
    first: int
    """`seq` + 1 when nothing was verified but a snapshot at record `seq`."""
    seq: int
    head: bytes


def seal_receipt(receipt: Receipt, key: PrivateKey) -> bytes:
    """Return the envelope of a receipt, signed by the mirror."""
    world_id, first, seq, head = receipt
    payload = {"v": _VERSION, "world": world_id, "from": first, "seq": seq, "head": head}
    return seal(RECEIPT_TYPE, pack(payload), key)


def opened_receipt(envelope: bytes, key: PublicKey) -> Receipt | str:
    """Return a receipt whose signature holds, or the word of the first check that it does not pass."""
    try:
        found = parts(envelope)
    except WireError:
        return "envelope"
    refusal = _refusal(found, key)
    if refusal is not None:
        return refusal
    try:
        raw = checked_fields(found["payload"], _FIELDS, "receipt")
    except WireError:
        return "form"
    well_formed = raw["seq"] > 0 and 0 < raw["from"] <= raw["seq"] + 1 and len(raw["head"]) == len(ZERO_DIGEST)
    return Receipt(raw["world"], raw["from"], raw["seq"], raw["head"]) if well_formed else "form"


def _refusal(found: dict[str, Any], key: PublicKey) -> str | None:
    signature = found["signatures"][0]
    if found["payloadType"] != RECEIPT_TYPE:
        return "type"
    if signature["keyid"] != key.keyid:
        return "key"
    return None if key.verifies(signature["sig"], signed_bytes(RECEIPT_TYPE, found["payload"])) else "signature"
