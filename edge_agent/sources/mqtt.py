"""Devices that publish to a broker on site: one session for each broker, shared by its sources.

Messages are told apart by topic, each to the sources that asked for it (twin/published.py says what they mean).

A connection that stands and brings nothing may have lost its subscriptions: a broker that was restored from a backup,
or a bridge between. So after some silence of all sources it is subscribed anew, which costs nothing and needs no right
to publish, and after a longer one it is connected anew. Where the profile says so a device is asked from time to time.

There is no task here: of the reads that wait, one listens for all.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.model.checked import shown
from edge_agent.model.errors import ConfigError, LinkError, Problem, TrustError
from edge_agent.model.profile import MqttAsk
from edge_agent.model.reading import Instant, Reading, Value
from edge_agent.model.site import BrokerAccess, MqttSettings, Source
from edge_agent.mqtt import Message, Session, endpoint
from edge_agent.sources import Clock, Link, Poll
from edge_agent.twin.published import Device, device
from edge_agent.twin.topics import apart, filled

_INBOX = 100
"""Messages of one source that wait to be read."""
_RENEW = 2.0
"""Silence of all sources after which their topics are subscribed anew, in the shortest of their `stale_after`."""
_DEAF = 2.0
"""Silence of all sources after which the session is given up, in the longest: by then all their values are stale."""


def links(sources: Sequence[Source], now: Clock) -> list[Link]:
    """Return one link for each broker and way to be let in. Raises ConfigError with all that is wrong."""
    problems: list[Problem] = []
    brokers: dict[tuple[str, BrokerAccess], list[_Inbox]] = {}
    for source in sources:
        settings = source.settings
        assert isinstance(settings, MqttSettings)
        place = f"sources.{source.name}"
        try:
            endpoint(settings.url)
        except ConfigError as error:
            problems += [Problem(f"{place}.url", p.got, p.wanted, p.hint) for p in error.problems]
        before = len(problems)
        listening = device(source, settings, place, problems)
        if len(problems) == before:
            inbox = _Inbox(source, settings, listening)
            brokers.setdefault((settings.url, settings.access), []).append(inbox)
    if problems:
        raise ConfigError(problems)
    return [MqttBroker(url, access, inboxes, now) for (url, access), inboxes in brokers.items()]


class _Inbox:
    """What came for one source and was not read yet."""

    def __init__(self, source: Source, settings: MqttSettings, listening: Device) -> None:
        self.source = source
        self.device = listening
        self.stale_s = settings.stale_after
        self.messages: deque[tuple[Message, Instant]] = deque()
        self.stirred = asyncio.Event()
        """Set when there is a message, or when somebody must listen."""

    @property
    def poll(self) -> Poll:
        """What the runner waits for."""
        return Poll(
            source=self.source.name,
            unit=self.device.topics[0],
            points=tuple(point.name for point in self.source.points),
            period_s=None,
            timeout_s=self.stale_s,
            detail=self.device.topics[0],
        )

    @property
    def questions(self) -> "list[_Question]":
        """What is asked of the device."""
        settings = self.source.settings
        assert isinstance(settings, MqttSettings)
        main = None if settings.topic is None else filled(settings.topic, settings.device)
        asks = [ask for ask in self.source.asks if isinstance(ask, MqttAsk)]
        return [_Question(filled(a.topic, settings.device, main), a.send.encode(), a.every) for a in asks]


class _Question(NamedTuple):
    topic: str
    payload: bytes
    every_s: float


class MqttBroker:
    """The single owner of a session with one broker."""

    def __init__(self, url: str, access: BrokerAccess, inboxes: Sequence[_Inbox], now: Clock) -> None:
        self.bus = url
        self.dropped: Counter[str] = Counter()
        """What was ignored, by reason."""
        self.access, self._now = access, now
        # Unlike the client id of the uplink, which may go to the same broker: a broker lets in one of each.
        self._named_after = inboxes[0].source.name
        self._client_id = f"{inboxes[0].source.entity.partition(':')[0]}-{self._named_after}"
        self._take_on(inboxes)
        self._session: Session | None = None
        self._deaf = False
        """Whether the last session ended because nothing came: then all values were stale before."""
        self._listening = False
        self._heard_s = self._renewed_s = 0.0
        """When something came last; when the topics were subscribed last."""
        self._due_s: list[float] = []
        """When each question is asked next."""
        self._patience: asyncio.Timeout | None = None
        """Of the read that listens for all."""

    def _take_on(self, inboxes: Sequence[_Inbox]) -> None:
        self.polls: Sequence[Poll] = [inbox.poll for inbox in inboxes]
        self.inboxes = {inbox.source.name: inbox for inbox in inboxes}
        self._filters = apart({topic for inbox in inboxes for topic in inbox.device.topics})
        self._questions = [question for inbox in inboxes for question in inbox.questions]
        self._renew_s = _RENEW * min(inbox.stale_s for inbox in inboxes)
        self._deaf_s = _DEAF * max(inbox.stale_s for inbox in inboxes)

    def renew(self, successor: object, kept: frozenset[str]) -> bool:
        """Take on the sources of another plan for this broker, in the session that there is; see sources.Renewable.

        What nobody listens to any more is passed over, and not subscribed in the next session.
        """
        if not isinstance(successor, MqttBroker) or (successor.bus, successor.access) != (self.bus, self.access):
            return False
        if self._named_after not in kept or self._named_after not in successor.inboxes:
            return False
        for name, inbox in successor.inboxes.items():
            if name not in kept:
                inbox.device.connected(after_loss=False)
        self._take_on([self.inboxes[name] if name in kept else each for name, each in successor.inboxes.items()])
        self._renewed_s = -math.inf
        self._due_s = [0.0 for _ in self._questions]
        if self._patience is not None:
            self._patience.reschedule(0.0)
        return True

    async def open(self) -> None:
        """Connect and subscribe. Raises LinkError."""
        await self.close()
        for inbox in self.inboxes.values():
            inbox.device.connected(after_loss=not self._deaf)
        self._deaf = False
        self._session = Session(self.bus, self.access, self._client_id)
        await self._session.open()
        filters = self._filters
        await self._session.subscribe(filters)
        self._heard_s = self._renewed_s = asyncio.get_running_loop().time()
        if filters is not self._filters:  # others were taken on meanwhile
            self._renewed_s = -math.inf
        self._due_s = [self._heard_s for _ in self._questions]

    async def read(self, poll: Poll) -> list[Reading]:
        """Wait for the next message that tells of a point of this source. Raises LinkError or WireError."""
        inbox = self.inboxes[poll.source]
        while True:
            while inbox.messages:
                message, at = inbox.messages.popleft()
                readings = inbox.device.take(
                    message.topic,
                    message.payload,
                    at,
                    retained=message.retain,
                    dropped=self.dropped,
                )
                if readings:
                    return readings
            await self._listen(inbox)

    async def write(self, source: str, point: str, value: Value, hold_s: float | None = None) -> None:  # noqa: ARG002 - the contract's
        """Refuse. Raises TrustError: this kind of device is listened to only."""
        raise TrustError(f"{source}.{point}: got a write of {shown(value)} to a device that is only listened to")

    async def close(self) -> None:
        """End the session; may be called when there is none."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        for inbox in self.inboxes.values():
            inbox.messages.clear()
            inbox.stirred.set()

    async def _listen(self, inbox: _Inbox) -> None:
        """Wait until there may be a message for this source; listen for all of them unless another read does."""
        if self._session is None:
            raise LinkError(f"{self.bus}: not open")
        if self._listening:
            inbox.stirred.clear()
            await inbox.stirred.wait()
            return
        self._listening = True
        try:
            while not inbox.messages:
                await self._tend(self._session)
                await self._hear(self._session)
        finally:
            self._listening = False
            for each in self.inboxes.values():  # the first of those that wait listens next
                each.stirred.set()

    async def _hear(self, session: Session) -> None:
        """Wait for a message, or until there is something to tend to."""
        due_s = min(self._heard_s + self._deaf_s, self._renewed_s + self._renew_s, *self._due_s)
        try:
            async with asyncio.timeout_at(due_s) as self._patience:
                message = await session.next_message()
        except TimeoutError:
            return
        finally:
            self._patience = None
        if not message.retain:  # subscribing anew brings those again
            self._heard_s = self._renewed_s = asyncio.get_running_loop().time()
        self._route(message)

    async def _tend(self, session: Session) -> None:
        """Ask what is due, and doubt a subscription that brings nothing. Raises LinkError."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._heard_s + self._deaf_s:
            self._deaf = True
            words = f"connected, but nothing came for {self._deaf_s:g} s in spite of subscribing anew"
            raise LinkError(f"{self.bus}: {words}", "stale")
        if now_s >= self._renewed_s + self._renew_s:
            self._renewed_s = now_s
            await session.subscribe(self._filters)
        due_s = self._due_s
        for i, question in enumerate(self._questions):
            if now_s >= due_s[i]:
                due_s[i] = now_s + question.every_s
                await self._ask(session, question)

    async def _ask(self, session: Session, question: _Question) -> None:
        try:
            await session.publish(question.topic, question.payload)
        except LinkError as error:
            if error.reason != "refused":
                raise
            self.dropped["not asked: the broker refuses"] += 1

    def _route(self, message: Message) -> None:
        at = self._now()
        for inbox in self.inboxes.values():
            if not inbox.device.wants(message.topic):
                continue
            if len(inbox.messages) == _INBOX:
                inbox.messages.popleft()
                self.dropped["nobody read"] += 1
            inbox.messages.append((message, at))
            inbox.stirred.set()
