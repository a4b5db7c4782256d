"""An MQTT broker in this process, for demonstrations on a machine without one. MQTT 3.1.1, 127.0.0.1, anyone.

tests/plant/test_broker.py holds what is relied upon: QoS 1 in order, retained messages and their removal, last
will. Known of amqtt 0.12, and to be borne by who connects:

* a client of MQTT 5 gets no answer at all, and runs into its own timeout;
* a new client is at once sent the retained messages that match anybody's subscription, besides its own later;
* what is published with QoS 0 reaches a subscriber of QoS 1 with QoS 1;
* nothing is kept for a client that is away, whatever session it asked for;
* of two clients with one name the second is served, but the connection of the first stays open.
"""

import asyncio
import logging
from contextlib import suppress

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig

_ANYONE = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


class BrokerPlant:
    """A broker on one port of 127.0.0.1; `port` 0 takes a free one."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._broker: _Broker | None = None

    @property
    def url(self) -> str:
        """Where it listens, while it is started."""
        return f"mqtt://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen. Raises amqtt's BrokerError when the port is taken."""
        for noisy in ("amqtt", "transitions"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        listener = ListenerConfig(bind=f"127.0.0.1:{self.port}")
        broker = _Broker(BrokerConfig(listeners={"default": listener}, plugins=_ANYONE))
        await broker.start()
        self.port = broker._servers["default"].instance.sockets[0].getsockname()[1]  # noqa: SLF001 - no other way to it
        self._broker = broker

    async def stop(self) -> None:
        """Close the port and every connection; may be called when it is not open."""
        if self._broker is not None:
            await self._broker.shutdown()
            await self._broker.end_connections()
            self._broker = None


class _Broker(Broker):  # type: ignore[misc]  # amqtt has no types
    """amqtt's broker, made to let go of every connection: it forgets those that never became a session."""

    def __init__(self, config: BrokerConfig) -> None:
        super().__init__(config)
        self._serving: set[asyncio.Task[None]] = set()

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with suppress(OSError):  # the client is gone already
                await super().stream_connected(reader, writer, listener_name)
        finally:
            self._serving.discard(task)
            writer.close()

    async def end_connections(self) -> None:
        """End what `shutdown` leaves behind."""
        left = list(self._serving)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
