"""An MQTT sensor: it publishes what it measures as one JSON message a period, and comes back when the broker does."""

import asyncio
import json
from collections.abc import Callable, Mapping

from edge_agent.model.errors import LinkError
from edge_agent.model.site import BrokerAccess
from edge_agent.mqtt import Session

_RETRY_S = 0.5


class MqttPlant:
    """One sensor that publishes to `topic`, not retained, what `measured` returns, every `period_s`."""

    def __init__(self, url: str, topic: str, period_s: float, measured: Callable[[], Mapping[str, float]]) -> None:
        self._url, self._topic, self._period_s, self._measured = url, topic, period_s, measured

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            # MQTT 3.1.1, which the broker of this room speaks too
            session = Session(self._url, BrokerAccess(protocol="3.1.1"), "plant-" + self._topic.replace("/", "-"))
            try:
                await session.open()
                await self._publish(session)
            except LinkError:
                await asyncio.sleep(_RETRY_S)
            finally:
                await session.close()

    async def _publish(self, session: Session) -> None:
        while True:
            values = {name: round(value, 2) for name, value in self._measured().items()}
            await session.publish(self._topic, json.dumps(values, allow_nan=False).encode())
            await asyncio.sleep(self._period_s)
