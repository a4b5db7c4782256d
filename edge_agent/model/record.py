"""What is sealed and what is told: `Entry`, `Record`, `Snapshot`, `Report`. Their bytes: reference/formats.md."""

from typing import Any, Literal

import msgspec

from edge_agent.model.world import Delta, World

ZERO_DIGEST = bytes(32)
"""What the first record of a chain names as the one before it."""

Fact = float | int | bool | str | None


class Entry(msgspec.Struct, frozen=True):
    """A line of the audit trail. The kinds and their facts are listed in reference/formats.md."""

    kind: str
    facts: dict[str, Fact]


class Record(msgspec.Struct, frozen=True):
    """One turn that changed or decided something."""

    world_id: str
    seq: int
    """1, 2, 3 … without a gap over the life of a chain."""
    prev: bytes
    """Digest of the record before (32 bytes), or `ZERO_DIGEST`."""
    boot: bytes
    """The kernel's boot id (16 bytes): order within it is monotonic time."""
    at_ms: int
    mono_ms: int
    synced: bool
    delta: Delta
    audit: tuple[Entry, ...]
    state: bytes
    """Digest of the world after this record (32 bytes)."""


class Sealed(msgspec.Struct, frozen=True):
    """A signed record as it is stored and sent."""

    seq: int
    digest: bytes
    """SHA-256 of the signed payload (32 bytes): what the next record names as `prev`."""
    envelope: bytes


SnapshotReason = Literal["start", "interval", "checkpoint", "stop", "request", "place"]


class Snapshot(msgspec.Struct, frozen=True):
    """The whole world at one record."""

    world: World
    head: bytes
    """Digest of record number `world.version`, or `ZERO_DIGEST` at version 0."""
    state: bytes
    """Digest of the world (32 bytes)."""
    reason: SnapshotReason


class Report(msgspec.Struct, frozen=True):
    """What a turn came to, in the reference workflow's own fields and no others.

    The nested maps have exactly the keys of the design (tests/test_sync.py holds the list).
    """

    workflow_id: str
    world_id: str
    sync_timestamp: str
    status: Literal["synced", "drift_detected", "action_taken", "rolled_back", "failed"]
    twin_snapshot: dict[str, Any]
    drift_report: dict[str, Any]
    risk_assessment: dict[str, Any]
    actions: dict[str, Any]
    verification: dict[str, Any]
    audit: dict[str, Any]
    rollback: dict[str, Any]
    next_sync: dict[str, Any]
    confidence: float
    evidence_anchors: list[str]
    assumptions: list[str]
