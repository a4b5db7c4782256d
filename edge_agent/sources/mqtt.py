"""Devices that publish JSON to a broker on site: one session for each broker, shared by its sources.

Messages are told apart by topic, each to the sources that asked for it. A message need not hold every point: what
it does not hold has not been read. A retained message is of an unknown time, and its values say so.

There is no task here: of the reads that wait, one listens for all.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence

from edge_agent.model.checked import shown
from edge_agent.model.errors import ConfigError, LinkError, Problem, TrustError, WireError
from edge_agent.model.profile import PathPoint
from edge_agent.model.reading import GOOD, Anchor, Instant, Reading, Value, uncertain
from edge_agent.model.site import BrokerAccess, MqttSettings, Source
from edge_agent.mqtt import Message, Session, endpoint
from edge_agent.sources import Clock, Link, Poll
from edge_agent.twin.paths import MISSING, Path, compile_path, find, parse_message, path_value

_INBOX = 100
"""Messages of one source that wait to be read."""
_TOPIC_CHARACTERS = 80
_TOPIC_BYTES = 65_535
"""MQTT 5, 1.5.4: the longest text there is."""


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
        if settings.topic is None:
            problems.append(Problem(f"{place}.topic", "nothing", "a topic, here or in the profile"))
            continue
        if not is_filter(settings.topic):
            wanted = "a topic, with + for one level and # for all at its end"
            problems.append(Problem(f"{place}.topic", shown(settings.topic), wanted))
        inbox = _Inbox(source, settings.topic, settings.stale_after, _paths(source, place, problems))
        brokers.setdefault((settings.url, settings.access), []).append(inbox)
    if problems:
        raise ConfigError(problems)
    return [MqttBroker(url, access, inboxes, now) for (url, access), inboxes in brokers.items()]


def is_filter(topic: str) -> bool:
    """Whether one may subscribe to `topic`: wildcards stand alone in their level, # in the last one."""
    *levels, last = topic.split("/")
    alone = all(level == "+" or not {"+", "#"} & set(level) for level in levels)
    sound = last in ("+", "#") or not {"+", "#"} & set(last)
    return bool(topic) and alone and sound and topic.isprintable() and len(topic.encode()) <= _TOPIC_BYTES


def matches(wanted: str, topic: str) -> bool:
    """Whether a topic, or everything that another filter asks for, is what a filter asks for (MQTT 5, 4.7)."""
    levels, found = wanted.split("/"), topic.split("/")
    if topic.startswith("$") and levels[0] in ("+", "#"):
        return False
    for i, level in enumerate(levels):
        if level == "#":
            return True
        if i == len(found) or found[i] == "#" or level not in ("+", found[i]):
            return False
    return len(levels) == len(found)


def _paths(source: Source, place: str, problems: list[Problem]) -> list[tuple[PathPoint, Path]]:
    found: list[tuple[PathPoint, Path]] = []
    for point in source.points:
        if isinstance(point, PathPoint):
            try:
                found.append((point, compile_path(point.path)))
            except ValueError as error:
                wanted = str(error).removeprefix("wanted ")
                problems.append(Problem(f"{place}.points.{point.name}.path", shown(point.path), wanted))
    return found


class _Inbox:
    """What came for one source and was not read yet."""

    def __init__(self, source: Source, topic: str, stale_s: float, points: list[tuple[PathPoint, Path]]) -> None:
        self.source = source
        self.topic = topic
        self.stale_s = stale_s
        self.points = points
        self.messages: deque[tuple[Message, Instant]] = deque()
        self.stirred = asyncio.Event()
        """Set when there is a message, or when somebody must listen."""


class MqttBroker:
    """The single owner of a session with one broker."""

    def __init__(self, url: str, access: BrokerAccess, inboxes: Sequence[_Inbox], now: Clock) -> None:
        self.bus = url
        self.polls: Sequence[Poll] = [_poll(inbox) for inbox in inboxes]
        self.dropped: Counter[str] = Counter()
        """What was ignored, by reason."""
        self._access, self._now = access, now
        self._inboxes = {inbox.source.name: inbox for inbox in inboxes}
        # Unlike the client id of the uplink, which may go to the same broker: a broker lets in one of each.
        first = inboxes[0].source
        self._client_id = f"{first.entity.partition(':')[0]}-{first.name}"
        self._session: Session | None = None
        self._listening = False

    async def open(self) -> None:
        """Connect and subscribe. Raises LinkError."""
        await self.close()
        self._session = Session(self.bus, self._access, self._client_id)
        await self._session.open()
        await self._session.subscribe(_apart({inbox.topic for inbox in self._inboxes.values()}))

    async def read(self, poll: Poll) -> list[Reading]:
        """Wait for the next message that tells of a point of this source. Raises LinkError or WireError."""
        inbox = self._inboxes[poll.source]
        while True:
            while inbox.messages:
                message, at = inbox.messages.popleft()
                readings = _readings(inbox, message, at)
                if readings:
                    return readings
                self.dropped["no point in it"] += 1
            await self._listen(inbox)

    async def write(self, source: str, point: str, value: Value, hold_s: float | None = None) -> None:  # noqa: ARG002 - the contract's
        """Refuse. Raises TrustError: this kind of device is listened to only."""
        raise TrustError(f"{source}.{point}: got a write of {shown(value)} to a device that is only listened to")

    async def close(self) -> None:
        """End the session; may be called when there is none."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        for inbox in self._inboxes.values():
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
                self._route(await self._session.next_message())
        finally:
            self._listening = False
            for each in self._inboxes.values():  # the first of those that wait listens next
                each.stirred.set()

    def _route(self, message: Message) -> None:
        at = self._now()
        for inbox in self._inboxes.values():
            if not matches(inbox.topic, message.topic):
                continue
            if len(inbox.messages) == _INBOX:
                inbox.messages.popleft()
                self.dropped["nobody read"] += 1
            inbox.messages.append((message, at))
            inbox.stirred.set()


def _apart(topics: set[str]) -> list[str]:
    """Return the filters that no other one covers: a broker may send a message once for each that matches it."""
    return sorted(t for t in topics if not any(other != t and matches(other, t) for other in topics))


def _poll(inbox: _Inbox) -> Poll:
    return Poll(
        source=inbox.source.name,
        unit=inbox.topic,
        points=tuple(point.name for point, _ in inbox.points),
        period_s=None,
        timeout_s=inbox.stale_s,
        detail=inbox.topic,
    )


def _readings(inbox: _Inbox, message: Message, at: Instant) -> list[Reading]:
    topic = "".join(c if c.isprintable() else "?" for c in message.topic)[:_TOPIC_CHARACTERS]
    try:
        whole = parse_message(message.payload)
    except WireError as error:
        raise WireError(f"{topic}: {error}", error.reason) from error
    anchor = Anchor(inbox.source.name, topic, at)
    readings: list[Reading] = []
    for point, path in inbox.points:
        found = find(path, whole)
        if found is not MISSING:
            value, quality = path_value(point, found)
            dated = uncertain("stale") if message.retain and quality == GOOD else quality
            readings.append(Reading(anchor, point.name, value, dated))
    return readings
