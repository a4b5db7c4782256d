"""A broker within the loop, for tests whose time is not real. `Session` keeps the contract of mqtt.Session.

What it cannot show (bytes, windows, keepalive) is tested on a real mosquitto elsewhere.
"""

import asyncio

from edge_agent.model.errors import LinkError
from edge_agent.mqtt import Message

ROUND_TRIP_S = 0.02


class FakeBroker:
    """Passes messages on, keeps what is retained, and publishes the last will of whoever is cut off."""

    def __init__(self):
        self.sessions = []
        self.retained = {}
        self.away = set()
        """Who cannot reach it, by the beginning of the client's id."""
        self.published = 0
        """Messages that it has acknowledged."""

    def reaches(self, client_id):
        return not any(client_id.startswith(name) for name in self.away)

    def cut(self, name):
        """Cut the link of a client, and have it cut until `heal`."""
        self.away.add(name)
        for session in [each for each in self.sessions if each.client_id.startswith(name)]:
            session.lose()

    def heal(self, name):
        self.away.discard(name)

    def deliver(self, topic, payload, retain):
        if retain:
            self.retained[topic] = payload
        for session in self.sessions:
            if topic in session.topics:
                session.take(Message(topic, payload, False))

    def session(self, url, access, client_id, *, will=None, **_):
        """Stand in for mqtt.Session, the class."""
        return FakeSession(self, url, client_id, will)


class FakeSession:
    max_payload = 200_000_000
    server_certificate = None
    dropped = 0

    def __init__(self, broker, url, client_id, will):
        self.name, self.client_id, self.topics = url, client_id, set()
        self.lost = asyncio.Event()
        self._broker, self._will, self._inbox, self._news = broker, will, [], asyncio.Event()

    async def open(self, timeout_s=10):
        await asyncio.sleep(ROUND_TRIP_S)
        if not self._broker.reaches(self.client_id):
            raise LinkError(f"{self.name}: cannot connect: no route")
        self._broker.sessions.append(self)

    async def subscribe(self, topics, qos=1):
        await self._answer()
        self.topics |= set(topics)
        for topic in topics:
            if topic in self._broker.retained:
                self.take(Message(topic, self._broker.retained[topic], True))

    async def publish(self, topic, payload, *, retain=False):
        await self._answer()
        self._broker.published += 1
        self._broker.deliver(topic, payload, retain)

    async def next_message(self):
        while not self._inbox:
            self._check()
            self._news.clear()
            await self._news.wait()
        return self._inbox.pop(0)

    async def close(self):
        self.lost.set()
        if self in self._broker.sessions:
            self._broker.sessions.remove(self)

    def take(self, message):
        self._inbox.append(message)
        self._news.set()

    def lose(self):
        """Be cut off: the broker publishes the will."""
        self.lost.set()
        self._news.set()
        self._broker.sessions.remove(self)
        if self._will is not None:
            self._broker.deliver(*self._will, True)

    async def _answer(self):
        await asyncio.sleep(ROUND_TRIP_S)
        self._check()

    def _check(self):
        if self.lost.is_set():
            raise LinkError(f"{self.name}: the connection was lost")
