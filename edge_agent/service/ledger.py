"""Where records and checkpoints become durable: the store, worked by one thread, so that no fsync stops the loop."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.record import Entry, Sealed, Snapshot
from edge_agent.seal.keys import PrivateKey, Verifier
from edge_agent.seal.squash import digest_in, merge, seal_stretch, time_in
from edge_agent.store.log import Log
from edge_agent.store.snapshots import Snapshots
from edge_agent.store.told import Told
from edge_agent.twin.diff import compose

_log = logging.getLogger(__name__)

T = TypeVar("T")


class OnDisk(NamedTuple):
    """What a log holds and takes."""

    oldest: int
    """The first record that is still kept."""
    bytes: int
    waiting_bytes: int
    """Of the segments in which something is not delivered."""
    holes: int


class DiskLedger:
    """See sync.Ledger and uplink.publisher.Backlog. `committed` is called on the event loop after each record."""

    def __init__(
        self,
        log: Log,
        snapshots: Snapshots,
        key: PrivateKey,
        told: Told,
        committed: Callable[[], None],
        keys: Verifier | None = None,
    ) -> None:
        self._log = log
        self._snapshots = snapshots
        self._key = key
        self._keys: Verifier = keys or key.public
        self._committed = committed
        self._told = told
        self._squashed: deque[Entry] = deque()
        self._thread = ThreadPoolExecutor(1, "disk")
        self.squashed = 0
        """Records since start that became part of a range."""
        self.stopping = False
        """Whether what is committed now are the last records of a safe stop, which may take the reserve."""

    async def has_room(self) -> bool:
        """Make room for a record if there is none, by squashing; False when nothing more helps. Raises StoreError."""
        return self._log.room() == "free" or await self.work(self._make_room)

    async def commit(self, sealed: Sealed) -> None:
        """Append to the log. Raises StoreError."""
        append = self._log.append_last if self.stopping else self._log.append

        def write() -> None:
            append(sealed)
            self._told.keep(self._log.head.oldest)

        await self.work(write)
        self._committed()

    async def keep(self, snapshot: Snapshot, envelope: bytes) -> None:
        """Add to the snapshots, and tell the log from which record on it is needed. Raises StoreError."""
        world = snapshot.world

        def add() -> None:
            self._snapshots.add(envelope, world.version, world.at_ms, snapshot.reason, snapshot.state)
            self._log.keep_from(self._snapshots.oldest_seq() + 1)

        await self.work(add)

    def keep_at_most(self, snapshots: int) -> None:
        """Keep so many snapshots from the next one on."""
        self._snapshots.keep = snapshots

    async def flush(self) -> None:
        """Make durable how far upstream has come. Raises StoreError."""
        await self.work(self._log.flush_acknowledged)

    def notes(self) -> list[Entry]:
        """Return what must be said of the log since the last call: damage that was found, ranges that were squashed."""
        new = self._told.take(self._log.holes)
        found = [Entry("hole", {**hole._asdict(), "segment": hole.file}) for hole in new]
        while self._squashed:
            found.append(self._squashed.popleft())
        return found

    @property
    def head_seq(self) -> int:
        """The newest record (see uplink.publisher.Backlog)."""
        return self._log.head.seq

    @property
    def acked(self) -> int:
        """The last record that was delivered."""
        return self._log.head.acked

    @property
    def first_waiting(self) -> int:
        """The first record that was not delivered and can be. Raises StoreError."""
        after = self.acked + 1
        found = self._log.read(after, 1)
        return max(found[0].first, after) if found else after

    def read(self, first_seq: int, max_bytes: int) -> list[tuple[int, bytes]]:
        """Return (last record covered, envelope) of what is to be sent. Raises StoreError."""
        return [(item.seq, item.envelope) for item in self._log.read(first_seq, max_bytes)]

    def digest_of(self, seq: int) -> bytes | None:
        """Return the digest of a record, None when the log does not know it. Raises StoreError."""
        head = self._log.head
        if seq == head.seq:
            return head.digest
        found = self._log.read(seq, 1)
        return digest_in(found[0].envelope, seq) if found else None

    def oldest_waiting_ms(self) -> int | None:
        """Return the wall time of the oldest record that is not delivered (the last one of a range), if there is one.

        Raises StoreError or WireError.
        """
        found = self._log.read(self.acked + 1, 1) if self.acked < self.head_seq else []
        return time_in(found[0].envelope) if found else None

    @property
    def on_disk(self) -> OnDisk:
        """What the log takes."""
        head, log = self._log.head, self._log
        waiting = log.size_after(head.acked) if head.acked < head.seq else 0
        return OnDisk(head.oldest, log.size, waiting, len(log.holes))

    def acknowledge(self, seq: int) -> None:
        """Remember that everything up to `seq` was delivered."""
        self._log.acknowledge(seq)

    async def work(self, what: Callable[[], T]) -> T:
        """Do something in the disk's thread, after what is already under way there."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, what)

    def close(self) -> None:
        """Wait for the disk and end its thread."""
        self._thread.shutdown()

    def _make_room(self) -> bool:
        while self._log.room() == "squash":
            work = self._log.squash_candidates()
            if work is None:
                break
            try:
                stretch = merge(work.envelopes, self._keys, compose)
            except (TrustError, WireError) as error:
                # What does not verify is not signed again; it stays as it is, for whoever examines it.
                _log.error("log: records %d to %d are left as they are: %s", work.first, work.last, error)
                self._log.leave_as_is(work.first)
                continue
            self._log.replace(work.first, work.last, seal_stretch(stretch, self._key))
            self.squashed += work.last - work.first + 1
            self._squashed.append(Entry("squash", {"from": work.first, "to": work.last}))
        return self._log.room() == "free"
