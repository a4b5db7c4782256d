"""The agent as a service: boot, the beat of the loop, and a clean stop.

Order of a start: the lock, the key, the log and the snapshots; the world as it was, brought in line with the
configuration; a first record that says so; then links, upstream and the beat. A stop makes one last turn, keeps
a snapshot, and gives what is not yet delivered a moment to go out; the rest waits on disk.
"""

import asyncio
import contextlib
import logging
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from edge_agent import __version__
from edge_agent.model.errors import StoreError
from edge_agent.model.layout import DataDir
from edge_agent.model.reading import Instant
from edge_agent.model.record import Entry, Fact, Report, SnapshotReason
from edge_agent.model.site import Site
from edge_agent.service.boot import open_store
from edge_agent.service.buses import Buses
from edge_agent.service.changes import Changes
from edge_agent.service.clock import Clock, boot_id
from edge_agent.service.frugal import give_back
from edge_agent.service.inbox import Inbox, limits_of
from edge_agent.service.learned import grounded, keep, regrounded
from edge_agent.service.ledger import DiskLedger
from edge_agent.service.mailbox import Mailbox
from edge_agent.service.outlets import Outlets
from edge_agent.service.reload import Reload
from edge_agent.service.runner import Runner
from edge_agent.service.status import Life, document
from edge_agent.service.tasks import first_of
from edge_agent.service.upstream import Upstream
from edge_agent.service.wiring import links
from edge_agent.sources import Link
from edge_agent.store.asks import Asks
from edge_agent.store.baselines import Baselines
from edge_agent.store.told import Told
from edge_agent.sync import Ground, commit, snapshot_of, sync
from edge_agent.twin.baseline import baseline
from edge_agent.twin.diff import diff

FIRST_TURN_S = 0.3
"""The first turn comes early: whoever switches the agent on shall see a value within a second."""
URGENT_PAUSE_S = 0.25
"""Between two turns, however urgent what comes in is: turns are limited in rate."""
DRAIN_S = 2.0
"""How long a stop waits for what is under way upstream; from SIGTERM to exit are at most five seconds, and what is left of an action."""
CURSOR_EVERY_S = 5.0
"""How often the cursor of what upstream has is written, when no record carries it along."""

_log = logging.getLogger(__name__)


class Agent:
    """One gateway at work.

    Making one opens the store (StoreError, TrustError) and checks the sources (ConfigError), but touches no
    device and no broker. Then `run`, or `turn_once`, and in any case `close`. `clock` gives the present instant.
    """

    def __init__(self, site: Site, clock: Callable[[], Instant] | None = None) -> None:
        self.site = site
        self.inbox = Inbox(limits=limits_of(site.sources))
        self.mailbox = Mailbox(time.monotonic, self.inbox.urgent)
        self.clock = clock or Clock()
        self._life = Life(self.clock())
        found = links(site.sources, self.clock)
        self._data = DataDir(Path(site.settings.agent.data_dir))
        with contextlib.ExitStack() as undo:
            store = open_store(site, undo)
            self.ledger = DiskLedger(
                store.log, store.snapshots, store.key, Told(store.data.holes), self._committed, store.keys
            )
            undo.callback(self.ledger.close)
            self._closing = undo.pop_all()
        self.standing, self._before, self._notes = store.standing, store.before, store.notes
        self._rotations, self._baselines = store.rotations, store.baselines
        self._asks = Asks(self._data.asks)
        lessons = Baselines(self._data.lessons, what="lessons")
        self.buses = Buses(site, found, self.inbox, self.clock, lessons)
        self._hands = self.buses.hands
        self._world = baseline(site, self.standing.world)
        self.ground = grounded(self._baselines, site, self._world, store.key, boot_id())
        self._outlets = Outlets(site, self.ledger, self.clock, self._asked_snapshot, self._letter, self.status)
        self._full = False
        self._doubt = store.standing.locked
        self._start_seq = 0
        self._turned: Callable[[], None] = lambda: None
        self._reload: Reload | None = None

    @property
    def upstream(self) -> Upstream | None:
        """The way out, when there is one."""
        return self._outlets.upstream

    @property
    def runners(self) -> list[Runner]:
        """The owners of its links."""
        return self.buses.runners

    def _letter(self, envelope: bytes, retained: bool) -> None:  # noqa: FBT001 - the uplink's contract
        self.mailbox.put(envelope, retained=retained)

    def _committed(self) -> None:
        if self.upstream is not None:
            self.upstream.publisher.wake()

    async def _asked_snapshot(self) -> bytes:
        """Make a snapshot for a mirror that asked for one; it is not kept."""
        _, envelope = await self.ledger.work(lambda: snapshot_of(self.standing, self.ground, "request"))
        return self._rotations + envelope

    async def run(
        self,
        stop: asyncio.Event,
        ready: Callable[[], None],
        turned: Callable[[], None] = lambda: None,
        reload: Reload | None = None,
    ) -> None:
        """Serve until `stop` is set, calling `turned` at each beat that came to its end.

        `reload` says when there is another configuration. Raises StoreError when the disk fails: then nothing more is
        claimed.
        """
        self._turned, self._reload = turned, reload
        try:
            async with asyncio.TaskGroup() as group:
                # The way out comes first: when the log is full, nothing else makes room for the first record.
                self._outlets.start(group, self._data, None if reload is None else reload.answer)
                cursor = group.create_task(self._keep_cursor(), name="cursor")
                while not await self._has_room():
                    await self._heed_reload(room=False)
                    self._turned()
                    if await _set_before(stop, asyncio.get_running_loop().time() + self.site.settings.sync.interval):
                        break
                else:
                    await self._serve(group, stop, ready)
                cursor.cancel()
                self._outlets.stop()
        except BaseExceptionGroup as failed:
            raise first_of(failed, StoreError) from failed

    async def _serve(self, group: asyncio.TaskGroup, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        await self._begin()
        self.buses.start(group)
        ready()
        await self._beat(stop)
        await self._end()
        self.buses.stop()

    async def turn_once(self, patience_s: float) -> Report:
        """Ask every device once, wait for the answers at most `patience_s`, and make one turn of them."""
        await self._begin()
        async with asyncio.TaskGroup() as group:
            self.buses.start(group)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    while not self.buses.heard_all:
                        await self.inbox.news()
            self.buses.give_up()
            report = await self.turn()
            self.buses.stop()
        await self._keep_snapshot("stop")
        return report

    async def _heed_reload(self, *, room: bool) -> None:
        if self._reload is not None:
            await self._reload.between_turns(self, room=room)

    async def take_up(self, site: Site, links: Sequence[Link], found: Changes, facts: dict[str, Fact]) -> None:
        """Go over to another configuration, between two turns. Raises StoreError.

        What takes long is done in the disk's thread, and polls go on meanwhile; buffers are not touched.
        """
        self.ground, standing, world = await self.ledger.work(lambda: regrounded(self.ground, self.standing, site))
        self.buses.renew(site, links, found.kept)
        self.site, now = site, self.clock()
        entry = Entry("configuration", {**facts, **_versions(self.ground)})
        delta = diff(self.standing.world, world)
        self.standing = await commit(standing, world, delta, (entry,), self.ground, self.ledger, now)
        self._life.configured = now
        self.ledger.keep_at_most(site.settings.sync.snapshots_kept)
        await self._outlets.renew(site, found.tables)
        await self.ledger.work(give_back)

    async def turn(self, notes: Iterable[Entry] = ()) -> Report:
        """Make one turn of what has come in."""
        began_ns = self.clock().mono_ns
        readings, drops = self.inbox.take()
        passed_over = self.buses.take_drops()
        receipts = self.upstream.receipts.take_notes() if self.upstream and self.upstream.receipts else ()
        self.standing = self.standing._replace(locked=self._doubt or self._unconfirmed())
        told = (*notes, *drops, *passed_over, *self.ledger.notes(), *receipts)
        asked = self._asks.take()
        told = (*told, *(Entry("drop", {"reason": "not an ask", "count": 1}) for each in asked if each.ask is None))
        post = self.mailbox.take()._replace(acknowledged=tuple(each.ask for each in asked if each.ask is not None))
        # An action takes longer than a stop may: what is due waits for the next start.
        hands = None if self.ledger.stopping else self._hands
        self.standing, report = await sync(
            self.standing, readings, self.ground, self.ledger, hands, self.clock(), told, post
        )
        self._asks.done(asked)
        self._life.took(self.clock().mono_ns - began_ns)
        if report.status == "failed":
            _log.error(
                "an action did not come to a good end, and a person is needed: %s", report.actions["plan_summary"]
            )
        return report

    def close(self) -> None:
        """Let go of the store."""
        self._closing.close()

    async def _begin(self) -> None:
        """Seal the first record of this run: what was found on disk, and the world as it is configured now."""
        now = self.clock()
        start = Entry(
            "start",
            {
                "version": __version__,
                "python": platform.python_version(),
                "boot": self.ground.boot.hex(),
                "config": self.site.digest,
                **_versions(self.ground),
                "world_version": self.standing.world.version,
                "synced": now.synced,
            },
        )
        delta = diff(self._before, self._world)
        self.standing = await commit(
            self.standing, self._world, delta, (start, *self._notes), self.ground, self.ledger, now
        )
        self._start_seq = self.standing.world.version
        await self._keep_snapshot("start")

    def _unconfirmed(self) -> str:
        """Say why nothing may be written yet: an older image of this gateway would not know what was done since.

        With a mirror it is known as soon as the mirror has confirmed a record of this run.
        """
        receipts = None if self.upstream is None else self.upstream.receipts
        if receipts is None or receipts.confirms(self._start_seq):
            return ""
        return "upstream's mirror has not confirmed this run yet: until then no device is written to"

    async def _beat(self, stop: asyncio.Event) -> None:
        """Make a turn at each beat of `sync.interval`, without making up for beats that were missed."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + min(FIRST_TURN_S, self.site.settings.sync.interval)
        kept_s = loop.time()
        while not await self._called(stop, due_s, loop.time() + URGENT_PAUSE_S):
            room = await self._has_room()
            if room:
                await self.turn()
            await self._heed_reload(room=room)
            self._turned()
            now_s, settings = loop.time(), self.site.settings.sync
            if now_s >= kept_s + settings.snapshot_every or settings.mode == "full":
                await self._keep_snapshot("interval")
                kept_s = now_s
            due_s = min(due_s, now_s + settings.interval)  # it may be shorter than it was
            if now_s >= due_s:
                due_s = max(due_s + settings.interval, now_s)

    async def _called(self, stop: asyncio.Event, due_s: float, rested_s: float) -> bool:
        """Wait for the beat, or for something urgent, but not before `rested_s`; return whether to stop instead."""
        if await _set_before(stop, min(due_s, rested_s)):
            return True
        waits = [
            asyncio.create_task(event.wait(), name=name)
            for name, event in (("stop", stop), ("urgent", self.inbox.urgent))
        ]
        try:
            left_s = due_s - asyncio.get_running_loop().time()
            await asyncio.wait(waits, timeout=max(0.0, left_s), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        self.inbox.urgent.clear()
        return stop.is_set()

    async def _has_room(self) -> bool:
        """Ask for room for one more record; without any, readings wait in the inbox and no turn is made."""
        room = await self.ledger.has_room()
        if room == self._full:
            self._full = not room
            if room:
                _log.info("log: there is room again")
            else:
                _log.error("log: full of what may not be dropped: no turn is made until upstream has taken some")
        return room

    async def _end(self) -> None:
        self.ledger.stopping = True
        await self.turn((Entry("stop", {"reason": "asked to stop"}),))
        await self._keep_snapshot("stop")
        if self.upstream is not None:
            await self.upstream.finish(DRAIN_S)

    async def _keep_snapshot(self, reason: SnapshotReason) -> None:
        """Keep a snapshot of the newest record, with the baselines beside it, and send it upstream."""
        snapshot, envelope = await self.ledger.work(lambda: snapshot_of(self.standing, self.ground, reason))
        await self.ledger.keep(snapshot, envelope)
        await self.ledger.work(lambda: keep(self._baselines, self.ground))
        await self.ledger.work(give_back)
        await self._keep_lessons()
        if self.upstream is not None:
            self.upstream.publisher.publish_snapshot(self._rotations + envelope)

    def status(self) -> dict[str, Any]:
        """Return how we are: reference/status.schema.json."""
        return document(
            self.ground, self.standing.world, self.clock(), self._life, self.inbox, self.runners, self.ledger,
            self.upstream,
        )  # fmt: skip

    async def _keep_cursor(self) -> NoReturn:
        while True:
            await asyncio.sleep(CURSOR_EVERY_S)
            await self.ledger.flush()
            await self._keep_lessons()

    async def _keep_lessons(self) -> None:
        document = self.buses.lessons.news()
        if document is not None:
            await self.ledger.work(lambda: self.buses.lessons.save(document))


def _versions(ground: Ground) -> dict[str, Fact]:
    """Return what the configuration came to, as requests name it."""
    return {"policy": ground.policy_digest.hex(), "roster": ground.roster_digest.hex()}


async def _set_before(event: asyncio.Event, when_s: float) -> bool:
    """Wait until the event is set or the loop's clock reads `when_s`; return whether it is set."""
    try:
        async with asyncio.timeout_at(when_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
