"""The store as the service works it: room is made by squashing, and the mirror verifies straight through."""

import asyncio
import contextlib
import random

import pytest
from test_sync import Bench
from worlds import KEY

from edge_agent.model.errors import StoreError
from edge_agent.model.record import ZERO_DIGEST
from edge_agent.model.site import BrokerAccess
from edge_agent.mqtt import Session
from edge_agent.seal.digest import entity_digests, state_digest
from edge_agent.service.boot import restore
from edge_agent.service.ledger import DiskLedger
from edge_agent.store.disk import Disk
from edge_agent.store.log import Log
from edge_agent.store.segment import SEGMENT_BYTES
from edge_agent.store.snapshots import Snapshots
from edge_agent.store.told import Told
from edge_agent.store.verify import verify
from edge_agent.sync import Standing, commit, snapshot_of
from edge_agent.twin.baseline import baseline, empty_world
from edge_agent.twin.diff import diff
from edge_agent.uplink.follower import AuditTold, DetailMissed, Follower, ValueChange
from edge_agent.uplink.mirror import Mirror
from edge_agent.uplink.publisher import Publisher, will

MAX_BYTES = 2 * 1024 * 1024
WIDE = """
[[sources]]
name = "meter"
kind = "modbus"
url = "tcp://127.0.0.1"
points = [{points}]
"""


def wide(count):
    rows = (f'{{{{ name = "v{n}", function = 4, address = {2 * n}, type = "float64" }}}}' for n in range(count))
    return WIDE.replace("{points}", ", ".join(rows))


class Offline(Bench):
    """A loop whose ledger is a real disk, with upstream away."""

    def __init__(self, folder, disk=None):
        super().__init__(folder, wide(300))
        self.log = Log.open(folder / "log", max_bytes=MAX_BYTES, disk=disk)
        self.snapshots = Snapshots.open(folder / "snapshots.json", 4)
        self.ledger = DiskLedger(self.log, self.snapshots, KEY, Told(folder / "holes.json"), lambda: None)
        start = empty_world("w")
        world = baseline(self.site, start)
        standing = Standing(start, entity_digests(start), ZERO_DIGEST, {}, frozenset())
        self.standing = asyncio.run(commit(standing, world, diff(start, world), (), self.ground, self.ledger, self.now))
        asyncio.run(self.ledger.keep(*snapshot_of(self.standing, self.ground, "start")))

    def day(self, turns):
        """Make turns with every value changing; return how often there was no room."""
        rng = random.Random(1)
        full = 0
        for _ in range(turns):
            if asyncio.run(self.ledger.has_room()):
                readings = [self.reading(f"v{n}", rng.random()) for n in range(300)]
                self.turn(*readings, notes=self.ledger.notes())
            else:
                full += 1
        return full

    def used(self, folder):
        return sum(each.stat().st_size for each in (folder / "log").iterdir())


def test_weeks_without_upstream_fill_the_buffer_and_never_more_and_the_twin_is_whole(tmp_path):
    gateway = Offline(tmp_path)
    assert gateway.day(900) == 0
    assert gateway.used(tmp_path) <= MAX_BYTES
    follower, missed, told = Follower("w", KEY.public), [], []
    for item in gateway.log.records(1):
        for change in follower.take(item.envelope):
            if isinstance(change, DetailMissed):
                missed.append(change)
            elif isinstance(change, AuditTold):
                told.append(change)
    assert follower.seq == gateway.standing.world.version > 900
    assert state_digest(follower.world) == state_digest(gateway.standing.world)
    assert missed
    assert missed[0].why == "squashed"
    assert missed[0].first == 1
    assert sum(change.entry.kind == "turn" for change in told) == 900, "audit entries are never squashed away"
    assert any(change.entry.kind == "squash" for change in told)
    assert gateway.log.head.acked == 0
    gateway.ledger.close()
    gateway.log.close()


class Scales(Disk):
    """A disk that weighs the log's folder, temporary files and all, after each step that could make it heavier."""

    def __init__(self, folder):
        self.folder = folder
        self.most = 0

    def write(self, file, content, offset):
        super().write(file, content, offset)
        self._weigh()

    def create(self, path):
        file = super().create(path)
        self._weigh()
        return file

    def rename(self, old, new):
        super().rename(old, new)
        self._weigh()

    def _weigh(self):
        self.most = max(self.most, sum(each.stat().st_size for each in self.folder.iterdir()))


@contextlib.asynccontextmanager
async def publishing(gateway, url):
    """Publish over one session, as the service does."""
    session = Session(url, BrokerAccess(), "agent", will=will("w"))
    await session.open()
    publisher = Publisher(gateway.ledger, "w", None)
    task = asyncio.create_task(publisher.run(session))
    try:
        yield publisher
    finally:
        await session.close()
        await asyncio.gather(task, return_exceptions=True)


async def delivered(gateway, mirror, url):
    """Deliver all there is to a mirror; return what it told."""
    told = []
    async with asyncio.timeout(60), mirror:
        await mirror._connected()
        async with publishing(gateway, url):
            while mirror.world.version < gateway.standing.world.version or mirror.waiting:
                told.append(await mirror.next_change())
            while gateway.log.head.acked < gateway.standing.world.version:  # noqa: ASYNC110 - the log tells nobody
                await asyncio.sleep(0.01)
    return told


def test_after_weeks_offline_a_real_broker_brings_the_mirror_the_whole_twin_and_every_audit_entry(tmp_path, broker):
    (tmp_path / "log").mkdir()
    scales = Scales(tmp_path / "log")
    gateway = Offline(tmp_path, scales)
    mirror = Mirror(broker.url, "w", KEY.public)
    gateway.day(5)
    before = asyncio.run(delivered(gateway, mirror, broker.url))
    assert state_digest(mirror.world) == state_digest(gateway.standing.world)
    upto = mirror.world.version
    broker.kill()
    assert gateway.day(900) == 0, "the loop goes on as if nothing were the matter"
    assert MAX_BYTES // 2 < scales.most <= MAX_BYTES
    assert gateway.log.head.acked == upto
    broker.restart()
    told = asyncio.run(delivered(gateway, mirror, broker.url))
    assert mirror.world == gateway.standing.world
    assert mirror.counts["lies"] == mirror.counts["snapshots"] == 0
    assert gateway.log.head.acked == gateway.standing.world.version
    audit = [change for change in before + told if isinstance(change, AuditTold) and change.entry.kind == "turn"]
    assert len(audit) == 905, "audit entries are never squashed away"
    assert [change.seq for change in audit] == sorted({change.seq for change in audit})
    missed = [change for change in told if isinstance(change, DetailMissed)]
    squashed = {seq for change in missed for seq in range(change.first, change.last + 1)}
    assert {change.why for change in missed} == {"squashed"}
    assert len(squashed) > 500
    assert min(squashed) > upto
    seen = {change.seq for change in told if isinstance(change, ValueChange)}
    assert seen | squashed == set(range(upto + 1, gateway.standing.world.version + 1)), "each is seen or named"
    assert scales.most <= MAX_BYTES
    # What is in memory of a log is a row a segment and the places of three segments' records, whatever waits.
    assert len(gateway.log._shelf._places) <= 3
    assert len(gateway.log._shelf.segments) < 4 * MAX_BYTES // SEGMENT_BYTES
    gateway.ledger.close()
    gateway.log.close()


def test_a_squashed_log_verifies_and_boots(tmp_path):
    gateway = Offline(tmp_path)
    gateway.day(700)
    gateway.ledger.close()
    gateway.log.close()
    log = Log.open(tmp_path / "log", max_bytes=MAX_BYTES)
    found = restore("w", log.head[:2], log.records, gateway.snapshots.list(), KEY.public)
    assert found.notes == ()
    assert state_digest(found.standing.world) == state_digest(gateway.standing.world)
    verdict = verify(log._shelf, gateway.snapshots.list(), KEY.public)
    assert verdict.fault is None
    assert verdict.squashed > 100
    log.close()


def test_the_last_records_of_a_stop_may_take_the_reserve(tmp_path):
    gateway = Offline(tmp_path)
    gateway.log.room = lambda _size=None: "full"
    assert gateway.day(1) == 1
    with pytest.raises(StoreError, match="full"):
        gateway.turn(gateway.reading("v1", 5.0))
    gateway.ledger.stopping = True
    gateway.turn(gateway.reading("v1", 5.0))
    assert gateway.log.head.seq == gateway.standing.world.version
    gateway.ledger.close()
    gateway.log.close()
