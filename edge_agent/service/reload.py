"""A changed agent.toml, taken up while the agent runs: between two turns, whole or not at all.

Asked for by SIGHUP, or by whoever connects to `reload.sock` in the data folder and so has said all there is to say;
what comes of it is told in lines of JSON. Nothing of a file is taken up that `check` would not accept, or that holds
one thing for which the agent must be started anew. While an action is under way, a reload waits until it has come to
its end: an action is judged by the policy and the devices with which it was begun.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from edge_agent.judge.lifecycle import UNDER_WAY
from edge_agent.model.errors import Problem
from edge_agent.model.record import Fact
from edge_agent.model.site import Site
from edge_agent.model.world import World
from edge_agent.service.changes import Changes, Configured, changes, named_files, refusals
from edge_agent.service.local import say, user_of
from edge_agent.service.notify import READY, RELOADING
from edge_agent.sources import Clock, Link
from edge_agent.store.disk import user_name
from edge_agent.sync import Standing

BY_SIGNAL = "signal"
_MOST_WORDS = 20
"""Changes that are named in a record; of more, how many there are."""
_log = logging.getLogger(__name__)

Json = dict[str, Any]


class Running(Protocol):
    """What a reload needs of the agent."""

    standing: Standing
    clock: Clock

    async def take_up(self, site: Site, links: Sequence[Link], found: Changes, facts: dict[str, Fact]) -> None:
        """Go over to another configuration. Raises StoreError."""


class Inspected(NamedTuple):
    """A file looked through. There is a site, and all of its links, when the file itself is sound."""

    site: Site | None
    links: list[Link]
    problems: list[Problem]


class _Ask(NamedTuple):
    by: str
    told: "asyncio.Queue[Json]"


class Reload:
    """The file at `path`, of which `site` is what runs.

    `inspect` looks through it, `wake` brings the next turn on, and `tell` is the service manager's ear.
    """

    def __init__(
        self,
        path: Path,
        site: Site,
        inspect: Callable[[Path, Clock], Inspected],
        wake: Callable[[], None],
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.path = path
        self._inspect = inspect
        self._running = configured(site)
        self._wake, self._tell = wake, tell
        self._asks: list[_Ask] = []
        self._waits = ""

    def ask(self, by: str = BY_SIGNAL) -> "asyncio.Queue[Json]":
        """Ask for it; what comes of it, and what it waits for before, is put into what is returned."""
        ask = _Ask(by, asyncio.Queue())
        self._asks.append(ask)
        if self._waits:
            ask.told.put_nowait({"waits": self._waits})
        self._wake()
        return ask.told

    async def answer(self, writer: asyncio.StreamWriter) -> None:
        """Take up for one who connected, and say what comes of it."""
        told = self.ask(f"os:{user_name(user_of(writer))}")
        await say(writer, {"file": str(self.path.absolute())})
        while True:
            news = await told.get()
            await say(writer, news)
            if "waits" not in news:
                return

    async def between_turns(self, agent: Running, *, room: bool) -> None:
        """Do what was asked for, unless something is to be waited for first. Raises StoreError."""
        if not self._asks:
            return
        waits = _waits_for(agent.standing.world, room=room)
        if waits:
            self._say_waits(waits)
            return
        self._waits = ""
        asks, self._asks = self._asks, []
        self._tell(RELOADING.format(time.monotonic_ns() // 1000))  # the manager's clock, which sleeps with the machine
        outcome = await self._reload(agent, asks[0].by)
        self._tell(READY)
        for ask in asks:
            ask.told.put_nowait(outcome)

    def _say_waits(self, waits: str) -> None:
        if waits == self._waits:
            return
        self._waits = waits
        _log.info("%s: not taken up yet: %s", self.path.name, waits)
        for ask in self._asks:
            ask.told.put_nowait({"waits": waits})

    async def _reload(self, agent: Running, by: str) -> Json:
        found = await asyncio.to_thread(self._inspect, self.path, agent.clock)
        if found.site is None or found.problems:
            return self._refused(found.problems)
        was, now = self._running, await asyncio.to_thread(configured, found.site)
        problems = list(refusals(was.site, now.site, f"{self.path.name}: "))
        if problems:
            return self._refused(problems)
        differs = changes(was, now)
        digests: dict[str, Fact] = {"was": was.site.digest, "config": now.site.digest}
        if differs.words or now.site.digest != was.site.digest:
            words = in_short(differs.words)
            await agent.take_up(now.site, found.links, differs, {**digests, "changed": words, "by": by})
            self._running = now
            _log.info("%s: taken up, asked by %s: %s", self.path.name, by, words)
        return {"ok": True, "changed": list(differs.words), "problems": [], **digests}

    def _refused(self, problems: list[Problem]) -> Json:
        _log.error("%s: not taken up, nothing was changed: %s", self.path.name, "; ".join(map(str, problems)))
        told = [{"place": p.place, "got": p.got, "wanted": p.wanted, "hint": p.hint} for p in problems]
        digest = self._running.site.digest
        return {"ok": False, "changed": [], "problems": told, "was": digest, "config": digest}


def _waits_for(world: World, *, room: bool) -> str:
    for action in world.actions.values():
        if action.stage in UNDER_WAY:
            return f"action {action.id[:8]} is {action.stage.replace('_', ' ')}; it is taken up when that has ended"
    return "" if room else "the log is full of what upstream does not have; a restart takes it up at once"


def in_short(words: Sequence[str]) -> str:
    """Return what was changed in one line."""
    more = len(words) - _MOST_WORDS
    told = [*words[:_MOST_WORDS], f"and {more} more"] if more > 0 else words
    return ", ".join(told) or "nothing but its text"


def configured(site: Site) -> Configured:
    """Return a configuration with the digests of the files that it names, as they are now."""
    return Configured(site, {place: _digest(Path(name)) for place, name in named_files(site).items()})


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:  # whoever needs it says so
        return ""
