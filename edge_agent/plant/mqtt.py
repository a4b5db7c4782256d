"""A device behind a broker: it publishes what it measures, one message a topic a period, and comes back with the broker."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.model.errors import LinkError
from edge_agent.model.site import BrokerAccess
from edge_agent.mqtt import Session
from edge_agent.plant.faults import Trouble

_RETRY_S = 0.5
_ERROR = b'{"error": "device failure", "code": 17}'

Said = Mapping[str, Mapping[str, Any]]
"""By topic, what is published as JSON."""


class MqttPlant:
    """One device that publishes what `says` returns, not retained, every `period_s`."""

    def __init__(self, url: str, period_s: float, says: Callable[[], Said], trouble: Trouble | None = None) -> None:
        self._url, self._period_s, self._says = url, period_s, says
        self._trouble = Trouble(()) if trouble is None else trouble

    async def run(self) -> None:
        """Publish until cancelled."""
        name = "plant-" + "-".join(self._says()).replace("/", "-")
        while True:
            # MQTT 3.1.1, which the broker of this room speaks too
            session = Session(self._url, BrokerAccess(protocol="3.1.1"), name)
            try:
                await session.open()
                await self._publish(session)
            except LinkError:
                pass
            finally:
                await session.close()
            await asyncio.sleep(_RETRY_S)

    async def _publish(self, session: Session) -> None:
        late: set[asyncio.Task[None]] = set()
        try:
            while not self._trouble.has("unplugged"):
                for topic, values in self._says().items():
                    delay_s, payload = self._troubled(json.dumps(values, allow_nan=False).encode())
                    if delay_s:
                        late.add(asyncio.create_task(_later(session, delay_s, topic, payload)))
                    elif payload:
                        await session.publish(topic, payload)
                late = {task for task in late if not task.done()}
                await asyncio.sleep(self._period_s)
        finally:
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _troubled(self, payload: bytes) -> tuple[float, bytes]:
        """Return what comes of a message, and how late: a broker hands on whole messages only."""
        if self._trouble.has("busy"):
            return 0.0, b""
        if self._trouble.has("exception"):
            payload = _ERROR
        if self._trouble.has("wrong-length"):
            payload = payload[: len(payload) // 2]
        pieces = list(self._trouble.pieces(payload))
        return max((delay_s for delay_s, _ in pieces), default=0.0), b"".join(piece for _, piece in pieces)


async def _later(session: Session, delay_s: float, topic: str, payload: bytes) -> None:
    await asyncio.sleep(delay_s)
    with contextlib.suppress(LinkError):
        await session.publish(topic, payload)
