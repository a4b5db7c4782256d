"""Squashed ranges: several records of a chain as one signed record (reference/formats.md §7.1).

The last value of each variable is kept, every audit entry is kept with its own time, and so is the digest of
each record replaced: the chain verifies across a range as it did before. How two deltas become one is the
twin's knowledge and comes in as an argument.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgpack

from edge_agent.model.checked import as_type
from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.layout import RECORD_TYPE
from edge_agent.model.record import Entry, Fact
from edge_agent.model.world import Delta, World
from edge_agent.seal.canonical import pack
from edge_agent.seal.envelope import parts, seal, verified
from edge_agent.seal.keys import PrivateKey, Verifier
from edge_agent.seal.records import checked_fields, delta_map, delta_of, unseal_record

SQUASH_TYPE = RECORD_TYPE.replace("record", "squash")

Compose = Callable[[Delta, Delta], Delta]
"""Returns one delta that does what the first and then the second do."""

_VERSION = 1
_DIGEST_BYTES = 32
_FIELDS: dict[str, Any] = {
    "v": int, "world": str, "from": int, "to": int, "prev": bytes, "digests": bytes, "at": int, "synced": bool,
    "delta": dict[str, Any], "audit": list[tuple[int, int, str, dict[str, Fact]]], "state": bytes,
}  # fmt: skip


class Span(NamedTuple):
    """Which records an envelope stands for: one, or a range."""

    first: int
    last: int
    prev: bytes
    """Digest of record `first` - 1."""
    digest: bytes
    """Digest of record `last`: what the one after names as `prev`."""


class Told(NamedTuple):
    """An audit entry with the record it stood in and that record's wall time."""

    seq: int
    at_ms: int
    entry: Entry


class Stretch(NamedTuple):
    """One or more records of a chain, as one."""

    world_id: str
    first: int
    last: int
    prev: bytes
    digests: tuple[bytes, ...]
    """Of each record from `first` to `last`."""
    at_ms: int
    """Wall time of record `last`."""
    synced: bool
    """Whether the wall clock was synchronised at every one of them."""
    delta: Delta
    """From the world before `first` to the world after `last`; right from any world between them, too."""
    audit: tuple[Told, ...]
    state: bytes
    """Digest of the world after record `last`."""


def span_of(envelope: bytes) -> Span:
    """Return what a stored envelope stands for, without a look at its signature or the rest of its payload.

    Some 6 µs, where decoding all of it takes a hundred: a log of 40 000 records is walked at each start. For our
    own stored bytes, whose frame was checked. Raises WireError when they are no record and no range.
    """
    payload, kind = _opened(envelope)
    wanted = {"from", "to", "prev", "digests"} if kind == SQUASH_TYPE else {"seq", "prev"}
    raw = _picked(payload, wanted)
    prev = as_type(raw["prev"], bytes, "record.prev")
    if kind != SQUASH_TYPE:
        seq = as_type(raw["seq"], int, "record.seq")
        return Span(seq, seq, prev, hashlib.sha256(payload).digest())
    first, last = as_type((raw["from"], raw["to"]), tuple[int, int], "squash.from, squash.to")
    return Span(first, last, prev, _digests(raw["digests"], first, last)[-1])


def digest_in(envelope: bytes, seq: int) -> bytes | None:
    """Return the digest of record `seq` by a stored envelope that covers it or the one after; None when it does not.

    For our own stored bytes, as `span_of` is. Raises WireError.
    """
    span = span_of(envelope)
    if seq == span.first - 1:
        return span.prev
    if seq == span.last:
        return span.digest
    if not span.first <= seq < span.last:
        return None
    digests = _digests(_picked(_opened(envelope)[0], {"digests"})["digests"], span.first, span.last)
    return digests[seq - span.first]


def time_in(envelope: bytes) -> int:
    """Return the wall time of a stored record, or of the last in a stored range (ms). Raises WireError."""
    return as_type(_picked(_opened(envelope)[0], {"at"})["at"], int, "record.at")


def is_anew(stretch: Stretch) -> bool:
    """Whether the world was built again from nothing within it: then its delta begins at the empty world."""
    return any(told.entry.kind == "rebaseline" and told.entry.facts.get("lost") is True for told in stretch.audit)


def ground_of(stretch: Stretch, world: World) -> World:
    """Return what the delta of a stretch is to be applied to: the world before it, unless that was lost."""
    return World(world.world_id, world.version, world.at_ms, {}, {}, {}, {}) if is_anew(stretch) else world


def merge(envelopes: Sequence[bytes], keys: Verifier, compose: Compose) -> Stretch:
    """Return consecutive records and ranges as one stretch, after each signature and link was verified.

    What is merged gets signed again, so nothing that does not verify may enter. Raises WireError or TrustError.
    """
    merged = unseal_stretch(envelopes[0], keys)
    for envelope in envelopes[1:]:
        merged = _joined(merged, unseal_stretch(envelope, keys), compose)
    return merged


def seal_stretch(stretch: Stretch, key: PrivateKey) -> bytes:
    """Return the signed envelope of a squashed range."""
    payload = {
        "v": _VERSION,
        "world": stretch.world_id,
        "from": stretch.first,
        "to": stretch.last,
        "prev": stretch.prev,
        "digests": b"".join(stretch.digests),
        "at": stretch.at_ms,
        "synced": stretch.synced,
        "delta": delta_map(stretch.delta, stretch.at_ms),
        "audit": [[told.seq, stretch.at_ms - told.at_ms, told.entry.kind, told.entry.facts] for told in stretch.audit],
        "state": stretch.state,
    }
    return seal(SQUASH_TYPE, pack(payload), key)


def unseal_stretch(envelope: bytes, keys: Verifier) -> Stretch:
    """Return what a record or a squashed range says, after its signature was verified.

    Raises WireError or TrustError.
    """
    if _opened(envelope)[1] == SQUASH_TYPE:
        found = parts(envelope)
        stretch = _stretch(verified(found, SQUASH_TYPE, keys))
        keys.check_reach(found["signatures"][0]["keyid"], stretch.last)
        return stretch
    record, sealed = unseal_record(envelope, keys)
    return Stretch(
        world_id=record.world_id,
        first=record.seq,
        last=record.seq,
        prev=record.prev,
        digests=(sealed.digest,),
        at_ms=record.at_ms,
        synced=record.synced,
        delta=record.delta,
        audit=tuple(Told(record.seq, record.at_ms, entry) for entry in record.audit),
        state=record.state,
    )


def _stretch(payload: bytes) -> Stretch:
    raw = checked_fields(payload, _FIELDS, "squash")
    first, last, at_ms = raw["from"], raw["to"], raw["at"]
    digests = _digests(raw["digests"], first, last)
    audit = tuple(Told(seq, at_ms - age_ms, Entry(kind, facts)) for seq, age_ms, kind, facts in raw["audit"])
    order = [first, *(told.seq for told in audit), last]
    if order != sorted(order):
        raise WireError(f"squash: audit entries of {first} to {last} are out of order or belong to other records")
    delta = delta_of(raw["delta"], at_ms)
    return Stretch(
        raw["world"], first, last, raw["prev"], digests, at_ms, raw["synced"], delta, audit, raw["state"]
    )  # fmt: skip


def _joined(one: Stretch, other: Stretch, compose: Compose) -> Stretch:
    if (other.world_id, other.first, other.prev) != (one.world_id, one.last + 1, one.digests[-1]):
        raise TrustError(f"chain: record {other.first} does not name record {one.last} as the one before it")
    return Stretch(
        world_id=one.world_id,
        first=one.first,
        last=other.last,
        prev=one.prev,
        digests=one.digests + other.digests,
        at_ms=other.at_ms,
        synced=one.synced and other.synced,
        delta=other.delta if is_anew(other) else compose(one.delta, other.delta),
        audit=one.audit + other.audit,
        state=other.state,
    )


def _digests(joined: object, first: int, last: int) -> tuple[bytes, ...]:
    joined = as_type(joined, bytes, "squash.digests")
    if not 1 <= first <= last or len(joined) != _DIGEST_BYTES * (last - first + 1):
        raise WireError(f"squash: got {len(joined)} bytes of digests for records {first} to {last}, wanted 32 each")
    return tuple(joined[i : i + _DIGEST_BYTES] for i in range(0, len(joined), _DIGEST_BYTES))


def _opened(envelope: bytes) -> tuple[bytes, str]:
    """Return payload and payload type, decoding no deeper."""
    try:
        found = msgpack.unpackb(envelope, raw=False)
        return as_type((found["payload"], found["payloadType"]), tuple[bytes, str], "envelope")
    except (ValueError, TypeError, KeyError, msgpack.exceptions.UnpackException) as error:
        raise WireError(f"envelope: got malformed bytes: {error!r}") from error


def _picked(payload: bytes, wanted: set[str]) -> dict[str, Any]:
    """Return some fields of a map, skipping the others undecoded."""
    reader = msgpack.Unpacker(raw=False, max_buffer_size=max(len(payload), 1))
    reader.feed(payload)
    found: dict[str, Any] = {}
    try:
        for _ in range(reader.read_map_header()):
            key = reader.unpack()
            if key in wanted:
                found[key] = reader.unpack()
            else:
                reader.skip()
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise WireError(f"record: got a malformed payload: {error!r}") from error
    if found.keys() != wanted:
        raise WireError(f"record: got no {', '.join(sorted(wanted - found.keys()))}")
    return found
