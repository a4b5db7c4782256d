"""Keeps a session with the upstream broker, and a publisher at work on it, for as long as the agent runs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

from edge_agent.model.errors import LinkError
from edge_agent.model.site import UpstreamSettings
from edge_agent.mqtt import Session
from edge_agent.service.backoff import Backoff
from edge_agent.uplink.publisher import Backlog, Publisher, will

_log = logging.getLogger(__name__)


class Upstream:
    """The way out. It never touches what is buffered: that lives as long as the process, a session does not."""

    def __init__(
        self,
        settings: UpstreamSettings,
        world_id: str,
        backlog: Backlog,
        snapshot: Callable[[], Awaitable[bytes]],
        jitter: Callable[[], float],
    ) -> None:
        self.connected = False
        self._settings = settings
        self._world_id = world_id
        self._publisher = Publisher(backlog, world_id, snapshot)
        self._jitter = jitter
