"""Signed envelopes, DSSE in canonical MessagePack (reference/formats.md §2): bytes are signed, not objects."""

from typing import Any

from edge_agent.model.errors import TrustError, WireError
from edge_agent.seal.canonical import pack, unpack
from edge_agent.seal.keys import PrivateKey, PublicKey


def seal(payload_type: str, payload: bytes, key: PrivateKey) -> bytes:
    """Return the envelope of `payload`, signed."""
    signature = {"keyid": key.public.keyid, "sig": key.sign(signed_bytes(payload_type, payload))}
    return pack({"payload": payload, "payloadType": payload_type, "signatures": [signature]})


def unseal(envelope: bytes, payload_type: str, key: PublicKey) -> bytes:
    """Return the payload after its signature was verified.

    Raises WireError when the bytes are no envelope, TrustError when type, key or signature are not as wanted.
    """
    found = parts(envelope)
    if found["payloadType"] != payload_type:
        raise TrustError(f"envelope: got payload type {str(found['payloadType'])[:80]!r}, wanted {payload_type!r}")
    signature = found["signatures"][0]
    if signature["keyid"] != key.keyid:
        raise TrustError(f"envelope: signed by key {str(signature['keyid'])[:80]!r}, wanted {key.keyid!r}")
    payload: bytes = found["payload"]
    if not key.verifies(signature["sig"], signed_bytes(payload_type, payload)):
        raise TrustError(f"envelope: the signature of key {key.keyid} does not hold")
    return payload


def parts(envelope: bytes) -> dict[str, Any]:
    """Return the map of an envelope, its form checked and its signature not. Raises WireError."""
    found = unpack(envelope)
    if not isinstance(found, dict) or set(found) != {"payload", "payloadType", "signatures"}:
        raise WireError("envelope: wanted a map of payload, payloadType and signatures")
    signatures = found["signatures"]
    well_formed = (
        isinstance(found["payload"], bytes)
        and isinstance(signatures, list)
        and len(signatures) == 1
        and isinstance(signatures[0], dict)
        and set(signatures[0]) == {"keyid", "sig"}
        and isinstance(signatures[0]["keyid"], str)
        and isinstance(signatures[0]["sig"], bytes)
    )
    if not well_formed:
        raise WireError("envelope: wanted a binary payload and one signature of keyid and sig")
    return found


def signed_bytes(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed of a payload: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)
