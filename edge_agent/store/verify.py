"""Is a log whole, in order and its gateway's own? With the public key alone; nothing is changed.

The first place where something does not hold is named: what is behind it rests on it. Checked are the bytes of
every frame, every signature, the chain, the digest of the world after each record (from record 1 or the oldest
snapshot on), and every snapshot against the record it stands at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.record import ZERO_DIGEST, Snapshot
from edge_agent.model.world import World
from edge_agent.seal.digest import Digests, entity_digests, root_digest
from edge_agent.seal.keyring import Keyring
from edge_agent.seal.keys import PublicKey
from edge_agent.seal.records import unseal_snapshot
from edge_agent.seal.squash import Stretch, ground_of, unseal_stretch
from edge_agent.store.segment import Hole
from edge_agent.store.shelf import Item, Shelf
from edge_agent.store.snapshots import Stored
from edge_agent.twin.baseline import empty_world
from edge_agent.twin.diff import apply

_Known = tuple[World, Digests]


@dataclass(frozen=True)
class Fault:
    """Where something does not hold, and what."""

    file: str
    """A segment, or `snapshots.json`; `log` when the segment itself is gone."""
    offset: int | None
    """The byte in it, as far as there is one."""
    seq: int
    """The record, the first one of several."""
    wrong: str

    def __str__(self) -> str:
        place = self.file if self.offset is None else f"{self.file} at byte {self.offset}"
        return f"{place}: record {self.seq}: {self.wrong}"


class _FoundError(TrustError):
    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass
class Verdict:
    """What was checked, and the first fault, or None."""

    first: int
    last: int
    """The sequence numbers that hold; last < first when there are none."""
    head: bytes = ZERO_DIGEST
    """Digest of record `last`."""
    squashed: int = 0
    """How many of the records stand only as part of a squashed range."""
    worlds: int = 0
    """After how many records or ranges the world was computed and its digest compared."""
    snapshots: int = 0
    fault: Fault | None = None


def verify(shelf: Shelf, stored: Sequence[Stored], key: PublicKey | Keyring) -> Verdict:
    """Return the verdict on a log and its snapshots, following the key where it was replaced.

    Raises StoreError when they cannot be read.
    """
    keys = key if isinstance(key, Keyring) else Keyring(key)
    while shelf.inspect():
        pass
    first = shelf.oldest
    verdict = Verdict(first, first - 1)
    try:
        snapshots = list(_snapshots(stored, keys))
        verdict.snapshots = len(snapshots)
        _walk(shelf, snapshots, keys, verdict)
    except _FoundError as found:
        verdict.fault = found.fault
    return verdict


def _snapshots(stored: Sequence[Stored], keys: Keyring) -> Iterator[Snapshot]:
    for each in stored:
        try:
            yield unseal_snapshot(each.envelope, keys)
        except (WireError, TrustError) as error:
            raise _snapshot_fault(each.seq, f"the snapshot that stands there: {error}") from error


def _walk(shelf: Shelf, snapshots: Sequence[Snapshot], keys: Keyring, verdict: Verdict) -> None:
    holes = {hole.first: hole for hole in shelf.holes}
    oldest = min(snapshots, key=_seq, default=None)
    known = _known(oldest) if oldest is not None and _seq(oldest) < verdict.first else None
    for item in shelf.records(verdict.first):
        stretch = _opened(shelf, item, keys)
        if stretch.first == 1:
            known = empty_world(stretch.world_id), {}
        _check_follows(shelf, item, stretch, verdict, holes)
        if known is not None and stretch.first <= known[0].version + 1 <= stretch.last:
            known = _next_world(shelf, item, stretch, known)
            verdict.worlds += 1
        keys = keys.after(stretch)
        verdict.last, verdict.head = stretch.last, stretch.digests[-1]
        if stretch.last > stretch.first:
            verdict.squashed += stretch.last - stretch.first + 1
        for snapshot in [each for each in snapshots if stretch.first <= _seq(each) <= stretch.last]:
            known = _met(snapshot, stretch, known)
    if verdict.last < shelf.stand.seq:
        _missing(verdict, holes, shelf.stand.seq)
    late = [_seq(each) for each in snapshots if _seq(each) > verdict.last]
    if late:
        raise _snapshot_fault(max(late), f"a snapshot stands there, and the log ends at record {verdict.last}")


def _seq(snapshot: Snapshot) -> int:
    return snapshot.world.version


def _known(snapshot: Snapshot) -> _Known:
    return snapshot.world, entity_digests(snapshot.world)


def _opened(shelf: Shelf, item: Item, keys: Keyring) -> Stretch:
    try:
        stretch = unseal_stretch(item.envelope, keys)
        keys.after(stretch)
    except (WireError, TrustError) as error:
        raise _fault(shelf, item, str(error)) from error
    return stretch


def _check_follows(shelf: Shelf, item: Item, stretch: Stretch, verdict: Verdict, holes: Mapping[int, Hole]) -> None:
    if stretch.first != verdict.last + 1:
        _missing(verdict, holes, stretch.first - 1)
    if verdict.head == ZERO_DIGEST and verdict.last > 0:
        return  # the oldest record kept: what it follows is no longer here
    if stretch.prev != verdict.head:
        raise _fault(shelf, item, f"it does not name the digest of record {verdict.last} before it")


def _missing(verdict: Verdict, holes: Mapping[int, Hole], last: int) -> None:
    hole = holes.get(verdict.last + 1)
    wrong = f"records {verdict.last + 1} to {last} are missing"
    if hole is None:
        raise _FoundError(Fault("log", None, verdict.last + 1, wrong))
    raise _FoundError(Fault(hole.file, hole.offset if hole.segment else None, hole.first, f"{wrong} ({hole.reason})"))


def _next_world(shelf: Shelf, item: Item, stretch: Stretch, known: _Known) -> _Known:
    try:
        after = apply(ground_of(stretch, known[0]), stretch.delta, stretch.last, stretch.at_ms)
    except WireError as error:
        raise _fault(shelf, item, str(error)) from error
    digests = entity_digests(after, known)
    if root_digest(after.world_id, digests) != stretch.state:
        raise _fault(shelf, item, "the world after it has not the digest it names")
    return after, digests


def _met(snapshot: Snapshot, stretch: Stretch, known: _Known | None) -> _Known | None:
    """Check a snapshot against the record it stands at; return the world to go on with."""
    seq = snapshot.world.version
    if stretch.digests[seq - stretch.first] != snapshot.head:
        raise _snapshot_fault(seq, f"the snapshot that stands there names another record {seq}")
    if seq != stretch.last:
        return known
    if snapshot.state != stretch.state:
        raise _snapshot_fault(seq, "the snapshot that stands there has another world than the record")
    return _known(snapshot)


def _fault(shelf: Shelf, item: Item, wrong: str) -> _FoundError:
    segment = next(each for each in shelf.segments if each.after < item.seq <= each.last)
    offset = next(place.offset for place in shelf.places(segment) if place.span.last == item.seq)
    return _FoundError(Fault(segment.path.name, offset, item.seq, wrong))


def _snapshot_fault(seq: int, wrong: str) -> _FoundError:
    return _FoundError(Fault("snapshots.json", None, seq, wrong))
