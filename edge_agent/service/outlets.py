"""What others hear of the agent: upstream, figures for Prometheus, and whoever asks on this machine.

When the configuration changes, what is as it was goes on; a broker that is another is gone over to, and what waits on
disk goes out there.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NoReturn

from edge_agent.model.layout import DataDir
from edge_agent.model.site import Site
from edge_agent.service.ledger import DiskLedger
from edge_agent.service.local import Answer, answering
from edge_agent.service.metrics import serve_metrics
from edge_agent.service.status import telling
from edge_agent.service.tasks import after
from edge_agent.service.upstream import Upstream
from edge_agent.sources import Clock

LEAVE_S = 1.0
"""How long a broker that is left is waited for, to hear that the gateway goes; no turn is made meanwhile."""

Task = asyncio.Task[NoReturn]


class Outlets:
    """One for the agent. `snapshot` makes one as of now, `letter` takes what claims to be an approval."""

    def __init__(
        self,
        site: Site,
        ledger: DiskLedger,
        clock: Clock,
        snapshot: Callable[[], Awaitable[bytes]],
        letter: Callable[[bytes, bool], None],
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self._site, self._ledger, self._clock = site, ledger, clock
        self._snapshot, self._letter, self._status = snapshot, letter, status
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, list[Task]] = {}
        self.upstream = self._way_out(None)

    def start(self, group: asyncio.TaskGroup, data: DataDir, reload: Answer | None) -> None:
        """Begin, in tasks of the group; `reload` answers who wants a changed configuration taken up."""
        self._group = group
        self._begin_upstream(())
        self._tasks["status"] = [group.create_task(self._tell(data, reload), name="status")]
        self._begin_metrics()

    def stop(self) -> None:
        """End all of it."""
        for task in (task for tasks in self._tasks.values() for task in tasks):
            task.cancel()

    async def renew(self, site: Site, tables: Collection[str]) -> None:
        """Go over to another configuration, in which these tables are another."""
        self._site = site
        if "metrics" in tables:
            self._begin_metrics()
        if "upstream" not in tables:
            return
        before, ending = self.upstream, self._tasks.get("upstream", [])
        if before is not None:
            await before.leave(LEAVE_S, ending)
        self.upstream = self._way_out(before)
        self._begin_upstream(ending)
        if self.upstream is not None:
            self.upstream.publisher.publish_snapshot(await self._snapshot())

    def _way_out(self, before: Upstream | None) -> Upstream | None:
        settings = self._site.settings.upstream
        if settings is None:
            return None
        world_id = self._site.world_id
        return Upstream(
            settings, world_id, self._ledger, self._snapshot, self._letter, random.random, self._clock, before
        )

    def _begin_upstream(self, ending: Sequence[Task]) -> None:
        up = self.upstream
        self._tasks["upstream"] = [] if up is None else [self._begin(up.run, ending), self._begin(up.watch, ending)]

    def _begin_metrics(self) -> None:
        before = self._tasks.pop("metrics", [])
        for task in before:
            task.cancel()
        settings = self._site.settings.metrics
        if settings is not None:
            self._tasks["metrics"] = [self._begin(lambda: serve_metrics(settings.port, self._status), before)]

    def _begin(self, what: Callable[[], Awaitable[NoReturn]], ending: Sequence[Task]) -> Task:
        assert self._group is not None
        return self._group.create_task(after(ending, what), name="outlet")

    async def _tell(self, data: DataDir, reload: Answer | None) -> NoReturn:
        async with contextlib.AsyncExitStack() as sockets:
            await sockets.enter_async_context(telling(data.status, self._status))
            if reload is not None:
                await sockets.enter_async_context(answering(data.reload, reload))
            await asyncio.Event().wait()
        raise AssertionError
