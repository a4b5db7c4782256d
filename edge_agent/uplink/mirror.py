"""A gateway's twin somewhere else, for programs that consume it: verified, healed, and told as changes.

    key = PublicKey.from_text(Path("agent.pub").read_bytes())
    async with Mirror("mqtts://broker.example", "boiler-house", key) as mirror:
        async for change in mirror:
            print(change, mirror.world.version)

It lives in another program than the agent and is a small service of its own: it connects, connects again when the
link is lost, and asks the gateway for what it missed. All trust is in the follower (follower.py); what is here
decides only when to ask.
"""

import asyncio
import contextlib
import json
import logging
import random
import secrets
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol, Self

from edge_agent.model.errors import LinkError, TrustError, WireError
from edge_agent.model.layout import topic
from edge_agent.model.site import BrokerAccess
from edge_agent.model.world import World
from edge_agent.mqtt import Message, Session, endpoint
from edge_agent.seal.canonical import split
from edge_agent.seal.keyring import Keyring
from edge_agent.seal.keys import PrivateKey, PublicKey, UnknownKeyError
from edge_agent.seal.receipts import Receipt, seal_receipt
from edge_agent.uplink.commands import ASK_SNAPSHOT, ask_records
from edge_agent.uplink.follower import Change, Follower, Gap
from edge_agent.uplink.parts import Assembly
from edge_agent.uplink.place import place_bytes, place_in

_log = logging.getLogger(__name__)

_MAX_PACKET = 16 * 1024 * 1024
"""A snapshot of 10 000 variables takes under 2 MiB."""
_MAX_STATUS_BYTES = 1024
_EARLY = 256
"""Records kept that came before the ones they build on: those sealed while a snapshot was on its way."""
_GRACE_S = 1.0
"""What was published before we asked for it gets this long to arrive."""
_FIRST_PATIENCE_S, _LONGEST_PATIENCE_S = 5.0, 60.0
_ASKS_FOR_RECORDS = 2
"""After so many without any progress a snapshot will do."""
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.5, 30.0
_RECEIPT_EVERY_S = 1.0
"""At most: the gateway hears four a second (reference/formats.md §6.1)."""


class Keeper(Protocol):
    """Where a mirror keeps its place over a restart. Both are called in a worker thread or before it connects."""

    def load(self) -> bytes | None:
        """Return what was kept, None when nothing was."""

    def save(self, place: bytes) -> None:
        """Keep it, durable on return."""


class Mirror:
    """The twin of the gateway `world_id`, whose public key is `key`, as its broker at `url` brings it.

    Iterating yields each change in the order of the chain, and raises TrustError or WireError for each lie: the
    twin stays as it was verified, and iterating may go on. `world` is never ahead of the record whose changes are
    being told. `counts` tells `records`, `snapshots`, `duplicates`, `late`, `gaps`, `strangers` (what a key signed that
    is not known), `asked`, `lies`, `sessions`, `dropped`, `receipts`.

    With `signs` it tells the gateway, signed with that key, what it has verified: never more than what was told and
    asked beyond, so that a program which ends in the middle of a change has not signed for it. With `keeps` it goes
    on after a restart from where it was, and has kept its place before it signs; what was told in the last second may
    be told again. Without, it begins at a snapshot, and signs for what stands before it when that came, too.

    Raises WireError or TrustError when what `keeps` holds is no place in this gateway's chain.
    """

    def __init__(
        self,
        url: str,
        world_id: str,
        key: PublicKey,
        access: BrokerAccess | None = None,
        signs: PrivateKey | None = None,
        keeps: Keeper | None = None,
    ) -> None:
        endpoint(url)  # a url that cannot be right is told now
        self._url = url
        self._access = access or BrokerAccess()
        self._topic = {name: topic(world_id, name) for name in ("record", "snapshot", "status", "command", "ack")}
        self._signs = signs
        self._keeps = keeps
        self._keeping: asyncio.Task[None] | None = None
        self._kept: object = None
        """Where we stood when our place was last kept."""
        self._receipt_wanted = False
        self._receipt_at_s = 0.0
        """When the next receipt may be sent."""
        kept = None if keeps is None else keeps.load()
        self._follower = Follower(world_id, key) if kept is None else Follower.at(place_in(kept, world_id, key))
        self._told: deque[Change | TrustError | WireError] = deque()
        self._arrived: deque[bytes] = deque()
        """Records of the last message, not yet looked at."""
        self._parts = Assembly()
        self._early: deque[bytes] = deque(maxlen=_EARLY)
        self._strange: deque[tuple[bytes, UnknownKeyError]] = deque(maxlen=_EARLY)
        """Records that a key signed which is not known; the gateway's, if a snapshot brings the key."""
        self._snapshot: bytes | None = None
        """The newest one, as long as the records that lead there may still come."""
        self._session: Session | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._entered = False
        self._failures = 0
        self._known_seq = 1
        """The gateway is said to have come this far; that it has come anywhere is assumed."""
        self._up_to_date = False
        """Since we listen, the gateway or the chain itself has shown that nothing was missed before."""
        self._asks = 0
        self._ask_at_s: float | None = None

    @property
    def world(self) -> World:
        """The verified twin; version 0 and empty while nothing was verified."""
        return self._follower.world

    @property
    def keys(self) -> Keyring:
        """The gateway's keys, from the one that was given to the one that signs now."""
        return self._follower.keys

    @property
    def gap(self) -> Gap | None:
        """What is missing as far as is known; it is being asked for."""
        return self._follower.gap

    @property
    def caught_up(self) -> bool:
        """Whether the twin is that of now: nothing is missing, as the gateway itself has shown since we listen."""
        return self._up_to_date and self.gap is None and self._follower.seq >= self._known_seq

    @property
    def lied(self) -> bool:
        """Whether the gateway's own key signed what cannot be true, now or before a restart; see Follower."""
        return self._follower.lied

    @property
    def counts(self) -> Counter[str]:
        """What came and what was asked for."""
        return self._follower.counts

    @property
    def waiting(self) -> Sequence[Change | TrustError | WireError]:
        """What is verified and not yet told; all changes of a record come to stand here at once."""
        return self._told

    async def __aenter__(self) -> Self:
        self._entered = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._entered = False
        await self._leave()

    async def __aiter__(self) -> AsyncIterator[Change]:
        async with contextlib.AsyncExitStack() as stack:
            if not self._entered:
                await stack.enter_async_context(self)
            while True:
                yield await self.next_change()

    async def next_change(self) -> Change:
        """Wait for the next change. May be cancelled and called again: no change is lost."""
        while not self._told:
            if self._session is not None and self._receipt_due():
                await self._sign(self._session)
            elif self._arrived:
                self._take_record(self._arrived.popleft())
            elif self._session is None:
                await self._connected()
            else:
                await self._hear(self._session)
        if self.lied and isinstance(self._told[0], TrustError):
            await self._keep()
        told = self._told.popleft()
        if isinstance(told, (TrustError, WireError)):
            raise told
        return told

    async def _connected(self) -> None:
        """Wait for the attempt to connect that is under way; it goes on when the caller has lost patience."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), name="mirror-connect")
        await asyncio.shield(self._connecting)
        self._connecting = None

    async def _connect(self) -> None:
        """Connect and subscribe, or wait for a moment after it failed."""
        session = Session(self._url, self._access, f"edge-mirror-{secrets.token_hex(4)}", max_packet=_MAX_PACKET)
        try:
            await session.open()
            await session.subscribe([self._topic[name] for name in ("record", "snapshot", "status")])
        except LinkError as error:
            _log.log(logging.DEBUG if self._failures else logging.WARNING, "mirror: %s", error)
            delay_s = min(_FIRST_RETRY_S * 2.0 ** min(self._failures, 30), _LONGEST_RETRY_S)
            self._failures += 1
            await asyncio.sleep(delay_s * random.uniform(0.5, 1))  # noqa: S311 - spreads, does not protect
        else:
            self._session = session
            self._failures = 0
            self._up_to_date = False
            self.counts["sessions"] += 1
            self._plan_to_ask(_GRACE_S)
        finally:
            if self._session is not session:
                await session.close()

    async def _leave(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
            self._connecting = None
        if self._keeping is not None:  # whoever left while it was under way does not care how it ended
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        session, self._session = self._session, None
        if session is not None:
            self.counts["dropped"] += session.dropped
            await session.close()

    async def _hear(self, session: Session) -> None:
        """Take the next message, or ask for what did not come in time."""
        try:
            try:
                async with asyncio.timeout_at(self._wake_at_s()):
                    message = await session.next_message()
            except TimeoutError:
                if not self._receipt_due():
                    await self._ask(session)
            else:
                self._take(message)
        except LinkError as error:  # also when the broker lets us listen but not ask: then the session goes on
            _log.info("mirror: %s", error)
            if session.lost.is_set():
                await self._leave()

    def _wake_at_s(self) -> float | None:
        """Return when there is something to do although nothing comes."""
        due = [self._ask_at_s, self._receipt_at_s if self._receipt_wanted else None]
        return min((at_s for at_s in due if at_s is not None), default=None)

    def _receipt_due(self) -> bool:
        return self._receipt_wanted and asyncio.get_running_loop().time() >= self._receipt_at_s

    async def _sign(self, session: Session) -> None:
        """Keep our place, then send receipts: all that was verified was told, or nothing would be asked of us now."""
        await self._keep()
        self._receipt_wanted = False
        self._receipt_at_s = asyncio.get_running_loop().time() + _RECEIPT_EVERY_S
        if self._signs is None:
            return
        for span in (*self._follower.take_apart(), self._follower.past):
            receipt = Receipt(self.world.world_id, span.first, span.last, span.digest)
            self.counts["receipts"] += 1
            with contextlib.suppress(LinkError):  # the next one says the same and more
                await session.publish(self._topic["ack"], seal_receipt(receipt, self._signs))

    async def _keep(self) -> None:
        """Have our place kept, in a worker thread; when the caller loses patience it goes on, and is waited for here."""
        stands = self._follower.past, self.lied
        if self._keeping is None and self._keeps is not None and stands != self._kept:
            keeps, place = self._keeps, self._follower.place
            saving = asyncio.to_thread(lambda: keeps.save(place_bytes(place)))
            self._keeping = asyncio.create_task(saving, name="mirror-keep")
        if self._keeping is not None:
            await asyncio.wait([self._keeping])
            done, self._keeping = self._keeping, None
            done.result()
            self._kept = stands

    def _want_receipt(self) -> None:
        self._receipt_wanted = (self._signs is not None or self._keeps is not None) and self._follower.seq > 0

    def _take(self, message: Message) -> None:
        if message.topic == self._topic["status"]:
            self._take_status(message)
            self._plan_anew(self._follower.seq)
            return
        with self._telling_lies():
            payload = self._parts.take(message.payload)
            if payload is not None:
                self._take_whole(message.topic, payload, live=not message.retain)

    def _take_whole(self, topic: str, payload: bytes, *, live: bool) -> None:
        if topic == self._topic["record"]:
            self._arrived.extend(split(payload))
        elif topic == self._topic["snapshot"]:
            self._take_snapshot(payload, jump=self._asks > _ASKS_FOR_RECORDS, live=live)

    @contextlib.contextmanager
    def _telling_lies(self) -> Iterator[None]:
        """Put a lie in its place among the changes; nothing else that came with it is worth a look."""
        try:
            yield
        except (TrustError, WireError) as lie:
            self._tell_lie(lie)
            self._arrived.clear()

    def _tell_lie(self, lie: TrustError | WireError) -> None:
        self.counts["lies"] += 1
        self._told.append(lie)

    def _take_record(self, envelope: bytes) -> None:
        before = self._follower.seq
        with self._telling_lies():
            try:
                found = self._follower.take(envelope)
            except UnknownKeyError as stranger:
                self._wonder(envelope, stranger)
                found = []
            if isinstance(found, Gap):
                self._early.append(envelope)
            else:
                self._told.extend(found)
                self._up_to_date |= self._follower.seq > before and self.gap is None
        if self.gap is None:
            self._take_early()
        self._want_receipt()
        self._plan_anew(before)

    def _wonder(self, envelope: bytes, stranger: UnknownKeyError) -> None:
        """Put aside what an unknown key signed: a lie, or the gateway's key was replaced while we were not there."""
        if not self._strange:
            _log.warning("mirror: %s: asking the gateway for its keys", stranger)
        self.counts["strangers"] += 1
        self._strange.append((envelope, stranger))

    def _judge_strangers(self, *, live: bool) -> None:
        """Look again at what was put aside, now that a snapshot has brought keys: all of them, when it is live."""
        strange = list(self._strange)
        self._strange.clear()
        for envelope, stranger in strange:
            if self.keys.find(stranger.keyid) is not None:
                self._arrived.append(envelope)
            elif live:
                self._tell_lie(stranger)
            else:
                self._strange.append((envelope, stranger))

    def _take_snapshot(self, envelope: bytes, *, jump: bool, live: bool = False) -> None:
        before = self._follower.seq
        with self._telling_lies():
            self._told.extend(self._follower.take_snapshot(envelope, jump=jump))
            self._snapshot = envelope
            self._judge_strangers(live=live)
        if self._follower.seq > before:
            self._take_early()
            self._want_receipt()
        self._plan_anew(before, _GRACE_S)  # what came after it was not asked for yet

    def _take_status(self, message: Message) -> None:
        """Take the hint how far the gateway has come; nobody signed it."""
        try:
            status = json.loads(message.payload) if len(message.payload) <= _MAX_STATUS_BYTES else None
        except (ValueError, RecursionError):
            return
        seq = status.get("seq") if isinstance(status, dict) else None
        if type(seq) is int:
            self._known_seq = max(seq, 1)
            self._up_to_date |= not message.retain
            self._want_receipt()

    def _take_early(self) -> None:
        """Have another look at what came too early, now that more is known."""
        self._arrived.extendleft(reversed(self._early))
        self._early.clear()

    def _plan_anew(self, before: int, patience_s: float = _FIRST_PATIENCE_S) -> None:
        """Plan after something came: with patience while it helps, at once when it shows that something is missing."""
        if self._follower.seq > before:
            self._asks = 0
            self._plan_to_ask(patience_s)
        elif self._ask_at_s is None:
            self._plan_to_ask(_GRACE_S if self.gap is None and not self._strange else 0)

    def _plan_to_ask(self, patience_s: float) -> None:
        """Plan to ask when something is missing, or may be, and does not come within `patience_s`; else not to."""
        missing = not self.caught_up or self._strange
        self._ask_at_s = asyncio.get_running_loop().time() + patience_s if missing else None

    async def _ask(self, session: Session) -> None:
        """Ask for the records that are missing; when that does not help, or a key is missing, for a snapshot."""
        if self._asks >= _ASKS_FOR_RECORDS and self._snapshot is not None:
            self._take_snapshot(self._snapshot, jump=True)
            self._snapshot = None
        seq = self._follower.seq
        records = seq > 0 and self._asks < _ASKS_FOR_RECORDS and not self._strange
        patience_s = min(_FIRST_PATIENCE_S * 2.0**self._asks, _LONGEST_PATIENCE_S)
        self._asks = min(self._asks + 1, 30)
        self._plan_to_ask(patience_s)
        if self._ask_at_s is not None:
            self.counts["asked"] += 1
            await session.publish(self._topic["command"], ask_records(seq + 1) if records else ASK_SNAPSHOT)
