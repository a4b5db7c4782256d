"""Runs one link: schedule, deadline, backoff, circuit breaker and counters, written once for all kinds.

The link is asked by one task, so that a bus has one owner; writes go through the same queue, before the polls.
A failed read becomes readings with its fault. What goes wrong is logged once, and once more when it is mended.
"""

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal, NoReturn

from edge_agent.model.errors import LinkError, SpoiltError, WireError
from edge_agent.model.reading import Anchor, Reading, bad
from edge_agent.model.record import Entry
from edge_agent.service.backoff import Backoff, Breaker
from edge_agent.service.door import Door
from edge_agent.service.inbox import Inbox
from edge_agent.service.tasks import first_of
from edge_agent.sources import Clock, Link, Poll

OPEN_S = 10.0
"""Deadline of opening a link: a TCP connection to a host that is off takes minutes to fail by itself."""
_GRACE_S = 0.5
"""The link keeps its own deadline; this guards against a link that does not."""

TOOK_MEMORY = 8
"""Answers over which a latency is taken, about."""
_AGAIN_S = 60.0
"""After so long it is tried again to read who a device is."""

_log = logging.getLogger(__name__)
_Went = Literal["well", "back", "failed"]
"""How a poll went; "back": with it the unit answers again."""
_Due = tuple[float, int, Poll]
_Ask = tuple[Callable[[], Awaitable[Any]], "asyncio.Future[Any]"]


class Tally:
    """Counts of one poll since start."""

    __slots__ = ("answered", "failed", "faulty", "good_ns", "skipped", "took_ns")

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self.skipped = 0
        """Due, but not asked: the breaker was open or the bus was behind."""
        self.faulty = False
        """Whether the newest answer was no good."""
        self.good_ns: int | None = None
        """Monotonic time of the newest answer that was."""
        self.took_ns: int | None = None
        """From the question to the answer, over the last answers; None for what speaks by itself."""

    def time(self, took_ns: int) -> None:
        """Take note of how long an answer took."""
        self.took_ns = took_ns if self.took_ns is None else self.took_ns + (took_ns - self.took_ns) // TOOK_MEMORY


class Runner:
    """The one owner of a link."""

    def __init__(
        self, link: Link, inbox: Inbox, clock: Clock, jitter: Callable[[], float], door: Door | None = None
    ) -> None:
        self.link = link
        self.door = Door() if door is None else door
        self.tallies: dict[Poll, Tally] = {}
        self.trouble = ""
        """Why the link was lost, or could not be opened; empty while it answers."""
        self._inbox = inbox
        self._clock = clock
        self._jitter = jitter
        self._breakers: dict[str, Breaker] = {}
        self._phases: dict[Poll, float] = {}
        self._listeners: dict[Poll, asyncio.Task[NoReturn]] = {}
        self._renewed: set[str] = set()
        """Sources of which nothing is known any more, until their polls are due anew."""
        self._asking: Poll | None = None
        """The poll that was asked last; None when what it brings is nobody's: see `renew`."""
        self._strangers = False
        """Whether all units must say again who they are."""
        self._asks: deque[_Ask] = deque()
        self._asked = asyncio.Event()
        self._stopping = False
        self._backoff = Backoff(jitter)
        self._down_s: float | None = None

    @property
    def heard_all(self) -> bool:
        """Whether every poll was answered or has failed at least once."""
        return all(poll in self.tallies for poll in self.link.polls)

    def stop(self, task: "asyncio.Task[Any]") -> None:
        """End `run`, which runs in `task`.

        A cancellation alone is not enough: wait_for of Python 3.11, which libraries use, swallows one that comes
        in the very moment in which what it waits for fails.
        """
        self._stopping = True
        task.cancel()

    def give_up(self) -> None:
        """Take for silent whatever was not heard yet."""
        for poll in self.link.polls:
            if poll not in self.tallies:
                self._fail(poll, "timeout")

    async def run(self) -> NoReturn:
        """Keep the link open and read, for ever."""
        while True:
            try:
                await self._opened()
                await self._serve()
            except LinkError as error:
                self.trouble = self._in_words(error)
                if not self._backoff.failures:
                    _log.warning("%s: %s; trying again", self.link.bus, self.trouble)
                self._fail_all(error)
            finally:
                await self.link.close()
            self._heed_stop()
            await asyncio.sleep(self._backoff.failed())

    def given_up(self, poll: Poll) -> bool:
        """Whether the unit of a poll is taken for dead: it is asked once a back-off."""
        breaker = self._breakers.get(poll.unit)
        return breaker is not None and breaker.open

    def take_drops(self) -> list[Entry]:
        """Return an entry for each reason for which the link passed something over since the last call."""
        dropped = self.link.dropped
        entries = [Entry("drop", {"where": self.link.bus, "reason": why, "count": n}) for why, n in dropped.items()]
        dropped.clear()
        return entries

    def renew(self, kept: frozenset[str]) -> None:
        """Take note that the link was renewed: sources in `kept` keep their beat, the others are asked at once.

        What is still under way for one of those is nobody's: it was asked by another definition.
        """
        self.tallies = {poll: tally for poll, tally in self.tallies.items() if poll.source in kept}
        units = {poll.unit for poll in self.link.polls if poll.source in kept}
        self._breakers = {unit: breaker for unit, breaker in self._breakers.items() if unit in units}
        self._renewed |= {poll.source for poll in self.link.polls} - kept
        if self._asking is not None and self._asking.source not in kept:
            self._asking = None
        for poll in [poll for poll in self._listeners if poll.source not in kept]:
            self._listeners.pop(poll).cancel()
        self._asked.set()

    async def ask(self, what: Callable[[], Awaitable[Any]]) -> Any:
        """Do something with the link as its owner, before the polls that are due. Raises what it raises.

        Who loses patience and is cancelled before it was begun has not asked: nothing is done later.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asks.append((what, future))
        self._asked.set()
        return await future

    async def _opened(self) -> None:
        try:
            async with asyncio.timeout(OPEN_S):
                await self.link.open()
        except TimeoutError as error:
            raise LinkError(f"{self.link.bus}: no connection within {OPEN_S:g} s", "timeout") from error

    async def _serve(self) -> None:
        self._listeners = {}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._poll(group), name=f"poll {self.link.bus}")
        except BaseExceptionGroup as lost:
            raise first_of(lost, LinkError) from None  # each task of a link loses the same link

    async def _listen(self, poll: Poll) -> NoReturn:
        """Wait for what the device says by itself; silence makes its values stale."""
        silent = False
        while True:
            self._heed_stop()
            try:
                async with asyncio.timeout(poll.timeout_s):
                    readings = await self.link.read(poll)
            except TimeoutError:
                if not silent:
                    _log.warning("%s: nothing heard for %g s", poll.detail, poll.timeout_s)
                silent = True
                self._tally(poll).failed += 1
                self._fail(poll, "stale")
            except WireError as error:
                self._wrong(poll, error)
                self._fail(poll, error.reason)
            else:
                if silent:
                    _log.info("%s: heard again", poll.detail)
                silent = False
                self._good(poll, readings)

    async def _poll(self, group: asyncio.TaskGroup) -> NoReturn:
        """Make what is due, in the order it is due; what a person asked for goes first."""
        known: Sequence[Poll] = ()
        due: list[_Due] = []
        while True:
            self._heed_stop()
            if self.link.polls is not known:
                known, due = self.link.polls, self._planned(due)
                for poll in known:
                    if poll.period_s is None and poll not in self._listeners:
                        listening = group.create_task(self._listen(poll), name=f"listen {poll.detail}")
                        self._listeners[poll] = listening
            if not await self._wait(due[0][0] if due else None):
                if self._asks:
                    await self._answer(*self._asks.popleft())
                continue
            due_s, place, poll = due[0]
            went = await self._read(poll)
            heapq.heapreplace(due, (self._next(due_s, poll, went), place, poll))
            if went == "back" or self._strangers:
                due = self._who_is_there(due, poll)

    def _who_is_there(self, due: list[_Due], poll: Poll) -> list[_Due]:
        """Make what tells identity due at once: a unit that was silent may be another one now, or all of them."""
        now_s, all_ = self._now_s(), self._strangers
        self._strangers = False
        changed = [
            (now_s if each.identity and (all_ or each.unit == poll.unit) and each is not poll else at_s, place, each)
            for at_s, place, each in due
        ]
        heapq.heapify(changed)
        return changed

    def _planned(self, due: Iterable[_Due]) -> list[_Due]:
        """Return what is due when: what was known keeps its beat, so that neighbours feel nothing of a new plan.

        A poll that is new is due at once, for the first value shall not wait; the beats after it are spread by source.
        The blocks of one device stay together, so that its values are of one moment. Units that are taken for dead
        come last: one whose garbage costs the others their connection would do so each time before they were asked.
        """
        now_s = self._now_s()
        sources = list(dict.fromkeys(poll.source for poll in self.link.polls))
        start = self._jitter()
        beats = {poll: due_s for due_s, _, poll in due if poll.source not in self._renewed}
        self._renewed.clear()
        new = [poll for poll in self.link.polls if poll not in beats]
        self._phases = {poll: phase for poll, phase in self._phases.items() if poll in beats}
        self._phases |= {poll: (sources.index(poll.source) + start) / len(sources) for poll in new}
        ordered = enumerate(sorted(self.link.polls, key=self.given_up))
        planned = [(beats.get(poll, now_s), place, poll) for place, poll in ordered if poll.period_s is not None]
        heapq.heapify(planned)
        return planned

    def _next(self, due_s: float, poll: Poll, went: _Went) -> float:
        """Return when a poll is due next: on its own beat, without making up for beats that were missed."""
        assert poll.period_s is not None
        if poll.identity and went == "failed":
            # What is read once a day is not given up for a day.
            return self._now_s() + min(poll.period_s, _AGAIN_S)
        phase = self._phases.pop(poll, None)
        if phase is not None:
            return due_s + phase * poll.period_s
        missed = max(0, int((self._now_s() - due_s) / poll.period_s))
        self._tally(poll).skipped += missed
        return due_s + (missed + 1) * poll.period_s

    async def _wait(self, until_s: float | None) -> bool:
        """Wait until a poll is due; return False when something else is to be seen to before."""
        self._asked.clear()
        if self._asks:
            return False
        delay_s = None if until_s is None else until_s - self._now_s()
        if delay_s is not None and delay_s <= 0:
            return True
        try:
            async with asyncio.timeout(delay_s):
                await self._asked.wait()
        except TimeoutError:
            return True
        return False

    async def _answer(self, what: Callable[[], Awaitable[Any]], future: "asyncio.Future[Any]") -> None:
        if future.cancelled():
            return
        try:
            found = await what()
            if not future.cancelled():
                future.set_result(found)
        except Exception as error:  # it belongs to the one who asked
            if not future.cancelled():
                future.set_exception(error)
            if isinstance(error, LinkError) and error.reason == "link":
                raise

    async def _read(self, poll: Poll) -> _Went:
        breaker = self._breakers.setdefault(poll.unit, Breaker(self._jitter))
        if not breaker.allows(self._now_s()):
            self._tally(poll).skipped += 1
            self._fail(poll, breaker.reason)  # nobody asked, and it is missing all the same
            return "failed"
        began_ns = self._clock().mono_ns
        self._asking = poll
        try:
            readings = await self._brought(poll)
        except (LinkError, WireError, TimeoutError) as error:
            if self._is_void(poll) and getattr(error, "reason", "") != "link":
                return "well"
            went = self._failed(poll, breaker, error)
            if breaker.open and self._all_silent():
                await self._reopen()
            return went
        if self._is_void(poll):
            return "well"
        back = breaker.answered()
        if back:
            _log.info("%s unit %s: answers again", self.link.bus, poll.unit)
        self._tally(poll).time(self._clock().mono_ns - began_ns)
        self._good(poll, readings)
        return "back" if back else "well"

    async def _brought(self, poll: Poll) -> list[Reading]:
        """Return what a poll brings; where one unit's half of an answer spoilt the connection, by a new one.

        So it costs the others no poll. Who they are is asked again, for another device may stand there now.
        """
        try:
            async with asyncio.timeout(poll.timeout_s + _GRACE_S):
                return await self.link.read(poll)
        except SpoiltError:
            await self._reopen()
        for each in self.link.polls:
            self.door.lost(each.source)
        self._strangers = True
        async with asyncio.timeout(poll.timeout_s + _GRACE_S):
            return await self.link.read(poll)

    def _is_void(self, poll: Poll) -> bool:
        return self._asking is not poll

    def _all_silent(self) -> bool:
        units = {poll.unit for poll in self.link.polls if poll.period_s is not None}
        return all(unit in self._breakers and self._breakers[unit].open for unit in units)

    async def _reopen(self) -> None:
        """Open the link anew when none of its units answers: an adapter may be gone and look as if it were there.

        The silence of one unit among others never costs them their connection.
        """
        await self.link.close()
        await self._opened()

    def _good(self, poll: Poll, readings: list[Reading]) -> None:
        """Take an answer. A link that opened is well again only now: it may open and be lost again for ever."""
        tally = self._tally(poll)
        tally.answered += 1
        tally.good_ns = self._clock().mono_ns
        if tally.faulty:
            tally.faulty = False
            _log.info("%s %s: answers are good again", self.link.bus, poll.detail)
        self.trouble = ""
        self._down_s = None
        if self._backoff.failures:
            self._backoff.succeeded()
            _log.info("%s: connected again", self.link.bus)
        self._inbox.put(self.door.take(poll.source, readings))

    def _wrong(self, poll: Poll, error: WireError) -> None:
        """Count an answer that is no good, and say so when the one before was."""
        tally = self._tally(poll)
        tally.failed += 1
        if not tally.faulty:
            tally.faulty = True
            _log.warning("%s", error)

    def _failed(self, poll: Poll, breaker: Breaker, error: Exception) -> _Went:
        reason = error.reason if isinstance(error, (LinkError, WireError)) else "timeout"
        self._fail(poll, reason)
        if isinstance(error, WireError):
            # A wrong answer is an answer: the unit is there, and the others need not wait for it.
            back = breaker.answered()
            self._wrong(poll, error)
            return "back" if back else "failed"
        self._tally(poll).failed += 1
        if isinstance(error, LinkError) and reason == "link":
            raise error
        if breaker.failed(self._now_s(), reason):
            told = self._in_words(error)
            _log.warning("%s unit %s: %s; asked less often until it answers", self.link.bus, poll.unit, told)
            for other in self.link.polls:
                if other.unit == poll.unit:
                    self._fail(other, reason)
                    self.door.lost(other.source)
        return "failed"

    def _fail_all(self, error: LinkError) -> None:
        """Fail every poll once, and count what was due since the last try and could not be asked."""
        before_s, self._down_s = self._down_s, self._now_s()
        for poll in self.link.polls:
            tally = self._tally(poll)
            tally.failed += 1
            if before_s is not None and poll.period_s is not None:
                tally.skipped += max(0, int((self._down_s - before_s) / poll.period_s) - 1)
            self._fail(poll, error.reason)
            self.door.lost(poll.source)

    def _fail(self, poll: Poll, reason: str) -> None:
        anchor = Anchor(poll.source, poll.detail, self._clock())
        self._inbox.put([Reading(anchor, point, None, bad(reason)) for point in poll.points])

    def _in_words(self, error: Exception) -> str:
        """Return what an error says, without the bus, which stands before it."""
        return str(error).removeprefix(self.link.bus).lstrip(": ")

    def _heed_stop(self) -> None:
        if self._stopping:
            raise asyncio.CancelledError

    def _tally(self, poll: Poll) -> Tally:
        return self.tallies.setdefault(poll, Tally())

    def _now_s(self) -> float:
        return self._clock().mono_ns / 1e9
