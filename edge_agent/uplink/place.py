"""A mirror's place in the chain of a gateway, as bytes and back: what it goes on from after a restart. Pure.

The file is the mirror's own (reference/formats.md §6.3), and nobody signs it: it holds what was verified when it was
written. A bit that flips is found out by the sum; whoever alters the world or the head, by the next record.
"""

import hashlib
from typing import Any, NamedTuple

from edge_agent.model.checked import as_type
from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.record import Snapshot
from edge_agent.seal.canonical import pack, unpack
from edge_agent.seal.keyring import Keyring
from edge_agent.seal.keys import PublicKey
from edge_agent.seal.records import Rotation, snapshot_in, snapshot_payload

_VERSION = 1
_SUM_BYTES = 32
_FIELDS: dict[str, Any] = {
    "v": int, "since": int, "before": bytes, "lied": bool, "key": bytes, "rotations": list[tuple[int, bytes, bytes]],
    "snapshot": bytes,
}  # fmt: skip


class Place(NamedTuple):
    """How far a gateway was followed."""

    snapshot: Snapshot
    """The world after the last record that was verified, and that record's digest."""
    since: int
    """From which record on each was verified."""
    before: bytes
    """Digest of the record before that one."""
    keys: Keyring
    lied: bool
    """Whether the gateway's own key signed what cannot be true."""


def place_bytes(place: Place) -> bytes:
    """Return a place as it is kept."""
    rotations = [(each.seq, each.digest, each.key.raw) for each in place.keys.rotations]
    kept = pack(
        {
            "v": _VERSION,
            "since": place.since,
            "before": place.before,
            "lied": place.lied,
            "key": place.keys.keys[0].raw,
            "rotations": rotations,
            "snapshot": snapshot_payload(place.snapshot),
        }
    )
    return hashlib.sha256(kept).digest() + kept


def place_in(kept: bytes, world_id: str, key: PublicKey) -> Place:
    """Return the place that was kept. Raises WireError when it is none, TrustError when it is another gateway's."""
    if hashlib.sha256(kept[_SUM_BYTES:]).digest() != kept[:_SUM_BYTES]:
        raise WireError(f"place: got {len(kept)} bytes that do not hold their own sum")
    raw = unpack(kept[_SUM_BYTES:])
    if not isinstance(raw, dict) or raw.keys() != _FIELDS.keys() or raw["v"] != _VERSION:
        raise WireError(f"place: got something else than a map of {', '.join(_FIELDS)}, with v = {_VERSION}")
    found = {name: as_type(raw[name], wanted, f"place.{name}") for name, wanted in _FIELDS.items()}
    keys = _keys(PublicKey(found["key"]), found["rotations"], world_id)
    snapshot = snapshot_in(found["snapshot"])
    if snapshot.world.world_id != world_id or keys.find(key.keyid) is None:
        raise TrustError(f"place: got one of gateway {snapshot.world.world_id[:80]!r} with key {keys.keyid}")
    return Place(snapshot, found["since"], found["before"], keys, found["lied"])


def _keys(first: PublicKey, rows: list[tuple[int, bytes, bytes]], world_id: str) -> Keyring:
    ring = Keyring(first)
    for seq, digest, raw in rows:
        ring = ring.turned(Rotation(world_id, seq, digest, ring.newest, PublicKey(raw)))
    return ring
