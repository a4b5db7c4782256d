"""Signed envelopes, DSSE in canonical MessagePack (reference/formats.md §2): bytes are signed, not objects."""

from typing import Any

from edge_agent.model.errors import TrustError, WireError
from edge_agent.seal.canonical import pack, unpack
from edge_agent.seal.keys import PrivateKey, UnknownKeyError, Verifier


def seal(payload_type: str, payload: bytes, *keys: PrivateKey) -> bytes:
    """Return the envelope of `payload`, signed by each of the keys: by one, but for a rotation."""
    message = signed_bytes(payload_type, payload)
    signatures = [{"keyid": key.public.keyid, "sig": key.sign(message)} for key in keys]
    return pack({"payload": payload, "payloadType": payload_type, "signatures": signatures})


def unseal(envelope: bytes, payload_type: str, keys: Verifier) -> bytes:
    """Return the payload after its one signature was verified.

    Raises WireError when the bytes are no envelope, TrustError when type, key or signature are not as wanted.
    """
    return verified(parts(envelope), payload_type, keys)


def verified(found: dict[str, Any], payload_type: str, keys: Verifier, place: int = 0) -> bytes:
    """Return the payload of an envelope's map after the signature at `place` was verified.

    Raises TrustError; UnknownKeyError when it may be that only the key is not known yet.
    """
    if found["payloadType"] != payload_type:
        raise TrustError(f"envelope: got payload type {str(found['payloadType'])[:80]!r}, wanted {payload_type!r}")
    signature = found["signatures"][place]
    key = keys.find(signature["keyid"])
    if key is None:
        raise UnknownKeyError(signature["keyid"], keys.keyid)
    payload: bytes = found["payload"]
    if not key.verifies(signature["sig"], signed_bytes(payload_type, payload)):
        raise TrustError(f"envelope: the signature of key {key.keyid} does not hold")
    return payload


def parts(envelope: bytes, most: int = 1) -> dict[str, Any]:
    """Return the map of an envelope, its form checked and its signatures, at most so many, not. Raises WireError."""
    found = unpack(envelope)
    if not isinstance(found, dict) or set(found) != {"payload", "payloadType", "signatures"}:
        raise WireError("envelope: wanted a map of payload, payloadType and signatures")
    signatures = found["signatures"]
    well_formed = (
        isinstance(found["payload"], bytes)
        and isinstance(signatures, list)
        and 1 <= len(signatures) <= most
        and all(map(_is_signature, signatures))
    )
    if not well_formed:
        wanted = "one signature" if most == 1 else f"1 to {most} signatures"
        raise WireError(f"envelope: wanted a binary payload and {wanted} of keyid and sig")
    return found


def _is_signature(found: object) -> bool:
    return (
        isinstance(found, dict)
        and set(found) == {"keyid", "sig"}
        and isinstance(found["keyid"], str)
        and isinstance(found["sig"], bytes)
    )


def signed_bytes(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed of a payload: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)
