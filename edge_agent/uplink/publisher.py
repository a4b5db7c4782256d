"""Publishes what the log holds, in order, and nothing else; answers those who ask for what they missed.

The log says what there is and remembers what was delivered. A record counts as delivered when the broker
acknowledged it and everything before it, within one session, and what an earlier session left open is sent again;
or, when `Terms.release` says so, when the mirror's signed receipt covers it, however often brokers forget it.
Connecting, and connecting again, is the service's business: `run` ends with the session.
"""

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, Protocol

from edge_agent.model.errors import LinkError, WireError
from edge_agent.model.layout import topic
from edge_agent.mqtt import Message, Session
from edge_agent.uplink.commands import MAX_COMMAND_BYTES, asked, is_letter
from edge_agent.uplink.pace import MOST_BYTES, Pace
from edge_agent.uplink.parts import in_parts
from edge_agent.uplink.rate import Rate
from edge_agent.uplink.receipts import Receipts

_WINDOW = 8
"""Messages in flight: a link of 300 ms still carries 7 MB/s, and at most 2 MiB wait in memory."""
_LEAST_LIMIT = 1024
"""A broker that takes less is of no use: it could not take a receipt."""
_COMMANDS_AT_ONCE = 5
_COMMANDS_PER_S = 2.0
_FIRST_PATIENCE_S, _LONGEST_PATIENCE_S = 5.0, 60.0
"""How long a receipt may be missing before the status reminds the mirror; longer each time that it does not help."""


class _Outgoing(NamedTuple):
    channel: str
    payload: bytes
    last: int
    """The last record that is delivered with this message."""
    retain: bool = False


class _Sending(NamedTuple):
    last: int
    """The last record that is delivered with this message."""
    size: int
    since_s: float
    task: asyncio.Task[None]


class Terms(NamedTuple):
    """When a record counts as delivered, and whose receipts are heard."""

    release: Literal["broker", "mirror"] = "broker"
    receipts: Receipts | None = None
    """Always there when the mirror releases; with the broker, they are heard and release nothing."""


AS_THE_BROKER_SAYS = Terms()


class Backlog(Protocol):
    """What the publisher needs of the log. Only what is durable may show here."""

    @property
    def head_seq(self) -> int:
        """The newest record; 0 before the first."""

    @property
    def acked(self) -> int:
        """The last record that was delivered; 0 before the first."""

    @property
    def first_waiting(self) -> int:
        """The first record that was not delivered: `acked` + 1, later when what follows is missing."""

    def read(self, first_seq: int, max_bytes: int) -> list[tuple[int, bytes]]:
        """Return (the last record it covers, envelope) of records from `first_seq` on, in order.

        Up to `max_bytes`, but one at least when there is one. It begins later when `first_seq` is gone, and with
        the range that covers it when it was squashed.
        """

    def acknowledge(self, seq: int) -> None:
        """Remember that everything up to `seq` was delivered."""


class Publisher:
    """Publishes a backlog over one session after another.

    `snapshot` makes the envelope of a snapshot as of now, for those who ask; `letter` takes what claims to be an
    approval, and whether it was retained. `counts` tells what was done and refused, by word: `messages`, `records`,
    `snapshots`, `parts`, `resends`, `reminders` (of the mirror), `apart` (receipts of a mirror that lacks what was not
    delivered), `refused` (by the broker) and `command:<why not>`.
    `published` is the last record that the broker has acknowledged, with all before it.
    """

    def __init__(
        self,
        backlog: Backlog,
        world_id: str,
        snapshot: Callable[[], Awaitable[bytes]],
        terms: Terms = AS_THE_BROKER_SAYS,
        letter: Callable[[bytes, bool], None] = lambda _envelope, _retained: None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.published = backlog.acked
        self._terms = terms
        self._backlog = backlog
        self._world_id = world_id
        self._make_snapshot = snapshot
        self._letter = letter
        self._snapshot: bytes | None = None
        self._sent = 0
        self._pace = Pace()
        self._parts: deque[_Outgoing] = deque()
        """What is left of a message that goes in parts."""
        self._most_bytes = MOST_BYTES
        self._unanswered: _Sending | None = None
        """The oldest message that was in flight when the session ended."""
        self._news = asyncio.Event()
        self._delivered = asyncio.Event()
        self._resend: asyncio.Task[None] | None = None
        self._lacks_to: int | None = None
        """The last record that the mirror lacks though it was not delivered: it began anew behind it."""

    async def run(self, session: Session) -> None:
        """Publish and answer until the session is lost: raises LinkError, always.

        A message that the broker refuses ends the run too, with reason "refused": it would be refused again, so
        the wait before the next attempt is the caller's back-off.
        """
        self._resend = self._unanswered = self._lacks_to = None
        self._most_bytes = session.max_payload
        heard = ["command"] if self._terms.receipts is None else ["command", "ack"]
        await session.subscribe([topic(self._world_id, name) for name in heard])
        await session.publish(*self._status(online=True), retain=True)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._publish_log(session, group), name="uplink-records")
                group.create_task(self._hear(session, group), name="uplink-hear")
                if self._terms.release == "mirror":
                    group.create_task(self._remind(session), name="uplink-remind")
        except BaseExceptionGroup as failed:
            raise self._counted(_first(failed)) from failed

    def wake(self) -> None:
        """Say that the log has grown."""
        self._delivered.clear()
        self._news.set()

    def publish_snapshot(self, envelope: bytes) -> None:
        """Publish a snapshot, retained, after what was sent so far; of several that wait, the newest."""
        self._snapshot = envelope
        self.wake()

    async def delivered(self) -> None:
        """Wait until all that the log holds, and a snapshot that waits, was delivered."""
        await self._delivered.wait()

    async def farewell(self, session: Session) -> None:
        """Say that the gateway goes offline on purpose. Raises LinkError."""
        await session.publish(*self._status(online=False), retain=True)

    async def _publish_log(self, session: Session, group: asyncio.TaskGroup) -> None:
        """Keep a window of messages in flight; acknowledge in order as answers come, in whatever order."""
        # What the broker has is not sent again in this process; should it forget, the mirror asks.
        self._sent = self.published = max(self.published, self._backlog.acked)
        self._parts.clear()
        in_flight: deque[_Sending] = deque()
        try:
            while True:
                self._news.clear()
                self._acknowledge(in_flight)
                await self._fill(in_flight, session, group)
                if not in_flight:
                    self._delivered.set()
                await self._news.wait()
        finally:
            self._acknowledge(in_flight)  # what was answered just before the end need not be sent again
            self._pace.lost(sending.size for sending in in_flight)
            self._unanswered = in_flight[0] if in_flight else None

    async def _fill(self, in_flight: deque[_Sending], session: Session, group: asyncio.TaskGroup) -> None:
        """Send until the window is full, letting everybody else run after each message: polls keep their beat."""
        while len(in_flight) < _WINDOW and (message := self._next_message()) is not None:
            name, payload, last, retain = message
            publishing = session.publish(topic(self._world_id, name), payload, retain=retain)
            sending = group.create_task(publishing, name=f"uplink-{name}")
            sending.add_done_callback(lambda _: self._news.set())
            in_flight.append(_Sending(last, len(payload), asyncio.get_running_loop().time(), sending))
            await asyncio.sleep(0)

    def _acknowledge(self, in_flight: deque[_Sending]) -> None:
        last = 0
        while in_flight and _succeeded(in_flight[0].task):
            last, size, since_s, _ = in_flight.popleft()
            self._pace.acknowledged(size, asyncio.get_running_loop().time() - since_s)
        self.published = max(self.published, last)
        if self._terms.release == "broker":
            self._release(last)

    def _release(self, seq: int) -> None:
        if seq > self._backlog.acked:
            self._backlog.acknowledge(seq)

    def _next_message(self) -> _Outgoing | None:
        """Return what goes out next."""
        if self._parts:
            return self._parts.popleft()
        if self._snapshot is not None:
            envelope, self._snapshot = self._snapshot, None
            self.counts["snapshots"] += 1
            return self._first_part(_Outgoing("snapshot", envelope, self._sent, retain=True), self._sent)
        if self._sent >= self._backlog.head_seq:
            return None
        before, batch = self._sent, self._batch(self._sent + 1)
        if batch is None:
            return None
        payload, self._sent = batch
        return self._first_part(_Outgoing("record", payload, self._sent), before)

    def _first_part(self, whole: _Outgoing, before: int) -> _Outgoing:
        """Return a message, or its first part when the broker does not take all of it at once; the others wait.

        What it delivers counts with the last part; until then that is record `before`.
        """
        pieces = in_parts(whole.payload, self._limit)
        if len(pieces) == 1:
            return whole
        self.counts["parts"] += len(pieces)
        self._parts.extend(_Outgoing(whole.channel, piece, before) for piece in pieces[:-1])
        self._parts.append(_Outgoing(whole.channel, pieces[-1], whole.last))
        return self._parts.popleft()

    @property
    def _limit(self) -> int:
        return max(min(self._most_bytes, self._pace.limit), _LEAST_LIMIT)

    def _batch(self, first: int) -> tuple[bytes, int] | None:
        """Return (records back to back, the last one's number) from `first` on, or None when there are none."""
        found = self._backlog.read(first, min(self._pace.message_bytes, self._most_bytes))
        if not found:
            return None
        self.counts["messages"] += 1
        self.counts["records"] += len(found)
        return b"".join(envelope for _, envelope in found), found[-1][0]

    async def _hear(self, session: Session, group: asyncio.TaskGroup) -> None:
        loop, ack = asyncio.get_running_loop(), topic(self._world_id, "ack")
        rate = Rate(_COMMANDS_AT_ONCE, _COMMANDS_PER_S, loop.time())
        while True:
            message = await session.next_message()
            if message.topic == ack:
                self._take_receipt(message, loop.time())
                continue
            if is_letter(message.payload):
                self._letter(message.payload, message.retain)
                continue
            refusal = self._refusal(message, rate, loop.time())
            if refusal is not None:
                self.counts[f"command:{refusal}"] += 1
                continue
            await self._answer(message.payload, session, group)

    def _take_receipt(self, message: Message, now_s: float) -> None:
        release, receipts = self._terms
        receipt = None if receipts is None else receipts.take(message, now_s)
        if release != "mirror" or receipt is None:
            return
        if receipt.first > self._backlog.first_waiting:
            self.counts["apart"] += 1
            self._lacks_to = receipt.first - 1
            return
        self._lacks_to = None
        self.published = max(self.published, receipt.seq)
        self._sent = max(self._sent, receipt.seq)  # what the mirror has need not be sent
        self._release(receipt.seq)

    async def _remind(self, session: Session) -> None:
        """Publish the status when the mirror has not confirmed what the broker has: it answers with a receipt.

        Or it finds by it that something never came, and asks. What it cannot ask for, because it began behind it, is
        sent again.
        """
        patience_s = _FIRST_PATIENCE_S
        while True:
            before = self._backlog.acked
            await asyncio.sleep(patience_s)
            if self._backlog.acked > before or self._backlog.acked == self.published:
                patience_s = _FIRST_PATIENCE_S
                continue
            patience_s = min(2 * patience_s, _LONGEST_PATIENCE_S)
            self.counts["reminders"] += 1
            if self._lacks_to is not None:
                await self._send_again(session, self._backlog.acked + 1, self._lacks_to)
            else:
                await session.publish(*self._status(online=True), retain=True)

    def _refusal(self, message: Message, rate: Rate, now_s: float) -> str | None:
        """Return why a command is refused before it is read: floods cost no parsing."""
        if message.retain:
            return "retained"
        if len(message.payload) > MAX_COMMAND_BYTES:
            return "size"
        return None if rate.allows(now_s) else "rate"

    async def _answer(self, payload: bytes, session: Session, group: asyncio.TaskGroup) -> None:
        try:
            first = asked(payload)
        except WireError:
            self.counts["command:form"] += 1
            return
        if first is None:
            self.publish_snapshot(await self._make_snapshot())
        elif self._resend is not None and not self._resend.done():
            self.counts["command:busy"] += 1
        else:
            self._resend = group.create_task(self._send_again(session, first), name="uplink-resend")

    async def _send_again(self, session: Session, first: int, upto: int | None = None) -> None:
        """Publish what was sent before, one message at a time, until it meets what is being sent; then the status.

        So that who asked knows the answer is complete, also when it is empty. It may end with record `upto`.
        """
        self.counts["resends"] += 1
        while first <= (self._sent if upto is None else upto) and (batch := self._batch(first)) is not None:
            payload, last = batch
            for piece in in_parts(payload, self._limit):
                await session.publish(topic(self._world_id, "record"), piece)
            first = last + 1
        await session.publish(*self._status(online=True), retain=True)

    def _status(self, *, online: bool) -> tuple[str, bytes]:
        return _status(self._world_id, online=online, seq=self.published, at_ms=time.time_ns() // 1_000_000)

    def _counted(self, error: BaseException) -> BaseException:
        """Return why the session ended, with what was on its way then: perhaps the broker ended it over that."""
        if not isinstance(error, LinkError):
            return error
        if error.reason == "refused":
            self.counts["refused"] += 1
        oldest = self._unanswered
        if oldest is None:
            return error
        on_its_way = f"{error} (a message of {oldest.size} bytes, up to record {oldest.last}, was on its way)"
        return LinkError(on_its_way, error.reason)


def will(world_id: str) -> tuple[str, bytes]:
    """Return the last will: what the broker shall say, retained, when the gateway falls silent."""
    return _status(world_id, online=False, seq=None, at_ms=None)


def _status(world_id: str, *, online: bool, seq: int | None, at_ms: int | None) -> tuple[str, bytes]:
    status = {"v": 1, "world": world_id, "online": online, "seq": seq, "at": at_ms}
    return topic(world_id, "status"), json.dumps(status, separators=(",", ":")).encode()


def _succeeded(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _first(failed: BaseExceptionGroup) -> BaseException:
    """Return the failure that matters most: one that is not of the link, when there is one."""
    _, others = failed.split(LinkError)
    error: BaseException = others or failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
