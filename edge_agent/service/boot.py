"""From what stands on disk to a standing: the newest good snapshot, and the records after it, each verified.

Nothing is taken on trust from a card that was in somebody's pocket: where the replay does not hold, an older
snapshot is tried, and without any the world is built again from readings, on the same chain and saying so.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.record import Entry
from edge_agent.model.world import World, replace_world
from edge_agent.seal.digest import entity_digests, state_digest
from edge_agent.seal.keys import PublicKey
from edge_agent.seal.records import unseal_snapshot
from edge_agent.seal.squash import unseal_stretch
from edge_agent.store.shelf import Item
from edge_agent.store.snapshots import Stored
from edge_agent.sync import Standing
from edge_agent.twin.baseline import empty_world
from edge_agent.twin.diff import apply


class Restored(NamedTuple):
    """What was found, and what must be said about it in the first record."""

    standing: Standing
    notes: tuple[Entry, ...]


def restore(
    world_id: str, end: tuple[int, bytes], records: Callable[[int], Iterable[Item]], snapshots: Iterable[Stored], key: PublicKey
) -> Restored:
    """Return the world as the newest record left it.

    `end` is the log's last sequence number and its digest, `records` gives its items from a sequence number on, `snapshots` come newest
    first. Raises StoreError when the disk cannot be read.
    """
    faults: list[str] = []
    for stored in snapshots:
        try:
            world, head = _led_by(stored, world_id, end, records, key)
        except (WireError, TrustError) as error:
            faults.append(f"snapshot at record {stored.seq}: {error}")
        else:
            return Restored(_standing(world, head), tuple(_notes(faults)))
    if end[0]:
        faults.append("no snapshot leads to the newest record: the world is built again from readings")
    world = replace_world(empty_world(world_id), version=end[0])
    return Restored(_standing(world, end[1]), tuple(_notes(faults)))


def _led_by(
    stored: Stored, world_id: str, end: tuple[int, bytes], records: Callable[[int], Iterable[Item]], key: PublicKey
) -> tuple[World, bytes]:
    """Return where a snapshot and the records after it lead. Raises WireError or TrustError."""
    snapshot = unseal_snapshot(stored.envelope, key)
    if snapshot.world.world_id != world_id:
        raise TrustError(f"it is of gateway {snapshot.world.world_id[:80]!r}, wanted {world_id!r}")
    world, head = replay(snapshot.world, snapshot.head, records(snapshot.world.version + 1), key)
    if (world.version, head) != end:
        raise TrustError(f"it leads to record {world.version}, and the log ends at {end[0]}")
    return world, head


def replay(world: World, head: bytes, items: Iterable[Item], key: PublicKey) -> tuple[World, bytes]:
    """Return the world and the head after some records. Raises WireError or TrustError where it does not hold."""
    for item in items:
        stretch = unseal_stretch(item.envelope, key)
        if stretch.last <= world.version:
            continue
        if stretch.first != world.version + 1 or stretch.prev != head:
            raise TrustError(f"record {stretch.first}: does not follow record {world.version}")
        world = apply(world, stretch.delta, stretch.last, stretch.at_ms)
        if state_digest(world) != stretch.state:
            raise TrustError(f"record {stretch.last}: the world after it has not the digest it names")
        head = stretch.digests[-1]
    return world, head


def _standing(world: World, head: bytes) -> Standing:
    return Standing(world, entity_digests(world), head, {}, frozenset())


def _notes(faults: Iterable[str]) -> Iterable[Entry]:
    return (Entry("rebaseline", {"reason": fault}) for fault in faults)
