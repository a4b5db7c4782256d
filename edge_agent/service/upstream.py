"""Keeps a session with the upstream broker, and the publisher at work on it, for as long as the agent runs.

It never touches what is buffered: that lives as long as the process, a session does not.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from edge_agent.model.errors import LinkError
from edge_agent.model.site import UpstreamSettings
from edge_agent.mqtt import Session
from edge_agent.service.backoff import Backoff
from edge_agent.service.certificates import Certificates
from edge_agent.service.ledger import DiskLedger
from edge_agent.sources import Clock
from edge_agent.store.keys import load_public
from edge_agent.uplink.publisher import Publisher, Terms, will
from edge_agent.uplink.receipts import Receipts

_WATCH_EVERY_S = 3600.0
_log = logging.getLogger(__name__)


class Upstream:
    """The way out."""

    def __init__(
        self,
        settings: UpstreamSettings,
        world_id: str,
        backlog: DiskLedger,
        snapshot: Callable[[], Awaitable[bytes]],
        letter: Callable[[bytes, bool], None],
        jitter: Callable[[], float],
        clock: Clock,
        before: "Upstream | None" = None,
    ) -> None:
        self.receipts: Receipts | None = _receipts(
            settings, world_id, backlog, None if before is None else before.receipts
        )
        self.publisher = Publisher(backlog, world_id, snapshot, Terms(settings.release, self.receipts), letter)
        self._settings = settings
        self._clock = clock
        self._world_id = world_id
        self._backoff = Backoff(jitter)
        self._session: Session | None = None
        self._backlog = backlog
        self._published = 0
        """Up to which record the broker had all when the session began."""
        self.certificates = Certificates(settings.cert_file)
        self.connected_ns: int | None = None
        """Since when there is a session (monotonic); None without one."""
        self.trouble: tuple[int, str] | None = None
        """When the last session was lost or could not be had (monotonic), and why."""
        self._over = False

    def confirms(self, seq: int) -> bool:
        """Whether the mirror has signed that it follows this chain up to record `seq`; true where none is configured.

        Asked with the number of this run's `start` record before anything is written to a device: see Receipts.
        """
        return self.receipts is None or self.receipts.confirms(seq)

    async def run(self) -> NoReturn:
        """Connect, publish until the session is lost, wait, and connect again, for ever."""
        while True:
            session = Session(
                self._settings.url, self._settings, f"edge-agent-{self._world_id}", will=will(self._world_id)
            )
            try:
                await asyncio.to_thread(self.certificates.look)
                await session.open()
                self._connected(session)
                await self.publisher.run(session)
            except LinkError as error:
                self._lost(error)
            finally:
                self._session = self.connected_ns = None
                await session.close()
            if self._over:  # see Runner.stop
                raise asyncio.CancelledError
            await asyncio.sleep(self._backoff.failed())

    async def watch(self) -> NoReturn:
        """Warn of certificates that come to their end; a session may last longer than they do."""
        while True:
            self.certificates.warn(self._clock())
            await asyncio.sleep(_WATCH_EVERY_S)

    async def finish(self, patience_s: float) -> None:
        """Give what is not yet delivered a moment to go out, and say goodbye. What stays waits on disk."""
        session = self._session
        if session is None:
            return
        with contextlib.suppress(LinkError, TimeoutError):
            async with asyncio.timeout(patience_s):
                await self.publisher.delivered()
                await self.publisher.farewell(session)

    async def leave(self, patience_s: float, tasks: Iterable["asyncio.Task[Any]"]) -> None:
        """Say goodbye without waiting for what is under way, and end the tasks of `run` and `watch`."""
        self._over = True
        session = self._session
        if session is not None:
            with contextlib.suppress(LinkError, TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self.publisher.farewell(session)
        for task in tasks:
            task.cancel()

    def _connected(self, session: Session) -> None:
        _log.info("%s: connected", session.name)
        self._session = session
        self.connected_ns = self._clock().mono_ns
        self.certificates.look(session.server_certificate)
        self.certificates.warn(self._clock())
        self._published = self.publisher.published

    def _lost(self, error: LinkError) -> None:
        # A session that delivered nothing was none: a record that the broker refuses is not sent again every second.
        published = self.publisher.published
        if self._session is not None and (published > self._published or self._backlog.head_seq == self._published):
            self._backoff.succeeded()
        self.trouble = (self._clock().mono_ns, str(error))
        if not self._backoff.failures:
            _log.warning("upstream %s; records are kept on disk until it is back", error)


def _receipts(settings: UpstreamSettings, world_id: str, chain: DiskLedger, before: Receipts | None) -> Receipts | None:
    if settings.mirror_key is None:
        return None
    key = load_public(Path(settings.mirror_key))
    # The same mirror has not forgotten what it signed because the way to it is another.
    if before is not None and before.key.keyid == key.keyid:
        return before
    return Receipts(world_id, key, chain, time.monotonic())
