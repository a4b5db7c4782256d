"""Where records and checkpoints become durable: the store, worked by one thread, so that no fsync stops the loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edge_agent.model.record import Sealed, Snapshot
from edge_agent.store.log import Log
from edge_agent.store.snapshots import Snapshots

T = TypeVar("T")


class DiskLedger:
    """See sync.Ledger and uplink.publisher.Backlog. `committed` is called on the event loop after each record."""

    def __init__(self, log: Log, snapshots: Snapshots, committed: Callable[[], None]) -> None:
        self.log = log
        self.snapshots = snapshots
        self._committed = committed
        self._thread = ThreadPoolExecutor(1, "disk")

    async def commit(self, sealed: Sealed) -> None:
        """Append to the log. Raises StoreError."""
        await self.work(lambda: self.log.append(sealed))
        self._committed()

    async def keep(self, snapshot: Snapshot, envelope: bytes) -> None:
        """Add to the snapshots, and tell the log from which record on it is needed. Raises StoreError."""
        world = snapshot.world

        def add() -> None:
            self.snapshots.add(envelope, world.version, world.at_ms, snapshot.reason, snapshot.state)
            self.log.keep_from(self.snapshots.oldest_seq())

        await self.work(add)

    @property
    def head_seq(self) -> int:
        """The newest record (see uplink.publisher.Backlog)."""
        return self.log.head.seq

    @property
    def acked(self) -> int:
        """The last record that was delivered."""
        return self.log.head.acked

    def read(self, first_seq: int, max_bytes: int) -> list[tuple[int, bytes]]:
        """Return (last record covered, envelope) of what is to be sent. Raises StoreError."""
        return [(item.seq, item.envelope) for item in self.log.read(first_seq, max_bytes)]

    def acknowledge(self, seq: int) -> None:
        """Remember that everything up to `seq` was delivered."""
        self.log.acknowledge(seq)

    async def work(self, what: Callable[[], T]) -> T:
        """Do something in the disk's thread, after what is already under way there."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, what)

    def close(self) -> None:
        """Wait for the disk and end its thread."""
        self._thread.shutdown()
