"""An MQTT broker in this process, for demonstrations on a machine without one. MQTT 3.1.1, 127.0.0.1, anyone.

Held to by tests/plant/test_broker.py: QoS 1, retained messages and their removal, last will, a client that is
taken over. Known of amqtt 0.12 and to be borne: it speaks no MQTT 5; it sends every new client the retained
messages that match anybody's subscription, before and besides its own; it keeps nothing for a client that is away.
"""

import logging

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig

_ANYONE = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


class BrokerPlant:
    """A broker on one port of 127.0.0.1; `port` 0 takes a free one."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._broker: Broker | None = None

    @property
    def url(self) -> str:
        """Where it listens, while it is started."""
        return f"mqtt://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen. Raises amqtt's BrokerError when the port is taken."""
        for noisy in ("amqtt", "transitions"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        listener = ListenerConfig(bind=f"127.0.0.1:{self.port}")
        broker = Broker(BrokerConfig(listeners={"default": listener}, plugins=_ANYONE))
        await broker.start()
        self.port = broker._servers["default"].instance.sockets[0].getsockname()[1]  # noqa: SLF001 - no other way to it
        self._broker = broker

    async def stop(self) -> None:
        """Close the port and every connection; may be called when it is not open."""
        if self._broker is not None:
            await self._broker.shutdown()
            self._broker = None
