"""From what stands on disk to a standing: the newest good snapshot, and the records after it, each verified.

`open_store` takes the lock first, so that nobody else writes meanwhile.

Nothing is taken on trust from a card that was in somebody's pocket: where the replay does not hold, an older
snapshot is tried, and without any the world is built again from readings, on the same chain and saying so.
"""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from edge_agent.model.checked import shown
from edge_agent.model.errors import ConfigError, Problem, StoreError, TrustError, WireError
from edge_agent.model.layout import DataDir
from edge_agent.model.record import ZERO_DIGEST, Entry
from edge_agent.model.site import BufferSettings, Site
from edge_agent.model.world import World, replace_world
from edge_agent.seal.digest import entity_digests, state_digest
from edge_agent.seal.keyring import Keyring
from edge_agent.seal.keys import PrivateKey, Verifier
from edge_agent.seal.records import unseal_snapshot
from edge_agent.seal.squash import ground_of, unseal_stretch
from edge_agent.store.baselines import Baselines
from edge_agent.store.doubt import Doubt, keep_doubt, read_doubt
from edge_agent.store.keys import load_or_make, load_public
from edge_agent.store.lock import Lock
from edge_agent.store.log import Log
from edge_agent.store.rotations import read_rotations, readable_ring, settle_rotation
from edge_agent.store.shelf import Item, Shelf
from edge_agent.store.snapshots import Snapshots, Stored, read_snapshots
from edge_agent.sync import Standing
from edge_agent.twin.baseline import empty_world
from edge_agent.twin.diff import apply


class Store(NamedTuple):
    """What an agent holds open on disk, and what it found there."""

    data: DataDir
    key: PrivateKey
    keys: Keyring
    rotations: bytes
    """The records that led to `key`, back to back: they go in front of each snapshot that is published."""
    log: Log
    snapshots: Snapshots
    baselines: Baselines
    standing: Standing
    before: World
    """What the delta of the first record is to begin from (see Restored)."""
    notes: tuple[Entry, ...]


class Restored(NamedTuple):
    """What was found, and what must be said about it in the first record."""

    standing: Standing
    before: World
    """The same world; the empty one when it was lost, for that is what those who follow will apply the delta to."""
    notes: tuple[Entry, ...]


def open_store(site: Site, undo: contextlib.ExitStack) -> Store:
    """Open the data folder; `undo` lets go of it.

    Raises StoreError, TrustError for a key that may not be used, ConfigError when it is another gateway's.
    """
    settings = site.settings
    data = DataDir(Path(settings.agent.data_dir))
    undo.callback(Lock.take(data).release)
    foreign = renamed(site.world_id, data)
    if foreign is not None:
        raise ConfigError([foreign])
    key = load_or_make(data, site.world_id)
    keys, _ = readable_ring(data, key.public)
    snapshots = Snapshots.open(data.snapshots, settings.sync.snapshots_kept)
    notes: list[Entry] = []
    if snapshots.fault:
        notes.append(Entry("rebaseline", {"reason": snapshots.fault, "lost": False}))
    known = _newest(snapshots.list(), site.world_id, keys)
    doubt = _doubt(data, known[0])
    if doubt is not None:
        notes.append(Entry("rolled-back", doubt.facts))
    buffer = settings.upstream.buffer if settings.upstream else BufferSettings()
    log = Log.open(data.log, max_bytes=buffer.max_bytes, known=known, key=keys)
    undo.callback(log.close)
    log.keep_from(snapshots.oldest_seq() + 1)
    newest = log.read(log.head.seq, 1) if log.head.seq else []
    key = settle_rotation(data, site.world_id, key, newest[-1].envelope if newest else None)
    keys, unreadable = readable_ring(data, key.public)
    if unreadable:
        notes.append(Entry("rebaseline", {"reason": unreadable, "lost": False}))
    restored = restore(site.world_id, log.head[:2], log.records, snapshots.list(), keys)
    notes += restored.notes
    standing = restored.standing if doubt is None else restored.standing._replace(locked=doubt.reason)
    rotations, baselines = b"" if unreadable else read_rotations(data), Baselines(data.baselines)
    before = restored.before
    return Store(data, key, keys, rotations, log, snapshots, baselines, standing, before, tuple(notes))


def renamed(world_id: str, data: DataDir) -> Problem | None:
    """Return what is wrong when a data folder is that of a gateway of another name, as far as it can be read.

    What was signed for one gateway proves nothing about another, so a chain keeps its name.
    """
    name = None
    with contextlib.suppress(OSError, StoreError, TrustError):  # it is not this user's, or damaged: a start says so
        if not data.snapshots.exists():
            return None
        keys, _ = readable_ring(data, load_public(data.public_key))
        for stored in read_snapshots(data.snapshots):
            with contextlib.suppress(WireError, TrustError):
                name = unseal_snapshot(stored.envelope, keys).world.world_id
                if name == world_id:
                    return None
    if name is None:
        return None
    wanted = f"{shown(name)}, whose log is in {data.root}"
    hint = f'for a gateway of another name: data_dir = "{data.root / world_id}"'
    return Problem("agent.world_id", shown(world_id), wanted, hint)


def _newest(snapshots: Iterable[Stored], world_id: str, keys: Verifier) -> tuple[int, bytes]:
    """Return the record that the newest good snapshot stands at, and its digest."""
    for stored in snapshots:
        with contextlib.suppress(WireError, TrustError):
            snapshot = unseal_snapshot(stored.envelope, keys)
            if snapshot.world.world_id == world_id:
                return snapshot.world.version, snapshot.head
    return 0, ZERO_DIGEST


def _doubt(data: DataDir, seq: int) -> Doubt | None:
    """Note durably when a snapshot is ahead of the log: the log is an older copy, or it lost its end.

    The log goes on behind the snapshot and shows it no more; so the note comes first, and stays until a person says
    that all is well.
    """
    end = Shelf.survey(data.log).stand.seq if data.log.is_dir() else 0
    if end < seq:
        keep_doubt(data, Doubt(end, seq))
    return read_doubt(data)


def restore(
    world_id: str,
    end: tuple[int, bytes],
    records: Callable[[int], Iterable[Item]],
    snapshots: Iterable[Stored],
    keys: Verifier,
) -> Restored:
    """Return the world as the newest record left it.

    `end` is the log's last sequence number and its digest, `records` gives its items from a sequence number on, `snapshots` come newest
    first. Raises StoreError when the disk cannot be read.
    """
    faults: list[str] = []
    for stored in snapshots:
        try:
            world, head = _led_by(stored, world_id, end, records, keys)
        except (WireError, TrustError) as error:
            faults.append(f"snapshot at record {stored.seq}: {error}")
        else:
            return Restored(_standing(world, head), world, tuple(_notes(faults)))
    notes = list(_notes(faults))
    if end[0]:
        reason = "no snapshot leads to the newest record: the world is built again from readings"
        notes.append(Entry("rebaseline", {"reason": reason, "lost": True}))
    before = replace_world(empty_world(world_id), version=end[0])
    world = replace_world(_kept(world_id, records, keys), version=end[0])
    return Restored(_standing(world, end[1]), before, tuple(notes))


def _kept(world_id: str, records: Callable[[int], Iterable[Item]], keys: Verifier) -> World:
    """Return the empty world with what must outlive every other loss: actions under way, budgets and counters.

    They do not follow from readings. Of each the last that any readable record says counts.
    """
    empty = empty_world(world_id)
    actions, operators = dict(empty.actions), dict(empty.operators)
    for item in records(1):
        with contextlib.suppress(WireError, TrustError):
            delta = unseal_stretch(item.envelope, keys).delta
            actions |= {name: action for name, action in delta.actions.items() if action is not None}
            for name in [name for name, action in delta.actions.items() if action is None]:
                actions.pop(name, None)
            operators |= {keyid: operator for keyid, operator in delta.operators.items() if operator is not None}
    return replace_world(empty, actions=actions, operators=operators)


def _led_by(
    stored: Stored, world_id: str, end: tuple[int, bytes], records: Callable[[int], Iterable[Item]], keys: Verifier
) -> tuple[World, bytes]:
    """Return where a snapshot and the records after it lead. Raises WireError or TrustError."""
    snapshot = unseal_snapshot(stored.envelope, keys)
    if snapshot.world.world_id != world_id:
        raise TrustError(f"it is of gateway {snapshot.world.world_id[:80]!r}, wanted {world_id!r}")
    world, head = replay(snapshot.world, snapshot.head, records(snapshot.world.version + 1), keys)
    if (world.version, head) != end:
        raise TrustError(f"it leads to record {world.version}, and the log ends at {end[0]}")
    return world, head


def replay(world: World, head: bytes, items: Iterable[Item], keys: Verifier) -> tuple[World, bytes]:
    """Return the world and the head after some records. Raises WireError or TrustError where it does not hold."""
    for item in items:
        stretch = unseal_stretch(item.envelope, keys)
        if stretch.last <= world.version:
            continue
        # A squashed range may begin before a snapshot: it is right from any world within it, too.
        before = world.version - stretch.first
        if before < -1 or (stretch.prev if before == -1 else stretch.digests[before]) != head:
            raise TrustError(f"record {stretch.first}: does not follow record {world.version}")
        world = apply(ground_of(stretch, world), stretch.delta, stretch.last, stretch.at_ms)
        if state_digest(world) != stretch.state:
            raise TrustError(f"record {stretch.last}: the world after it has not the digest it names")
        head = stretch.digests[-1]
    return world, head


def _standing(world: World, head: bytes) -> Standing:
    return Standing(world, entity_digests(world), head, {}, frozenset())


def _notes(faults: Iterable[str]) -> Iterable[Entry]:
    return (Entry("rebaseline", {"reason": fault, "lost": False}) for fault in faults)
