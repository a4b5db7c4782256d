"""The agent's side to the plant: every link with its owner, what readings pass on their way in, and the hands.

When the configuration changes, a link whose sources are as they were is not touched; one that several sources share
takes on what is new and keeps its connection; what else is changed ends, and begins anew alone.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import NoReturn

from edge_agent.model.record import Entry
from edge_agent.model.site import Site
from edge_agent.service.door import Door
from edge_agent.service.inbox import Inbox
from edge_agent.service.lessons import Lessons
from edge_agent.service.runner import Runner
from edge_agent.service.tasks import after
from edge_agent.service.wiring import BusHands
from edge_agent.sources import Clock, Link, Renewable
from edge_agent.store.baselines import Baselines


class Buses:
    """One for the agent. `found` are the links of the site, not yet open; `lessons` is where what they learn is kept."""

    def __init__(self, site: Site, found: Sequence[Link], inbox: Inbox, clock: Clock, lessons: Baselines) -> None:
        self._inbox, self._clock = inbox, clock
        self._door = Door(site.sources)
        self.runners = [self._runner(link) for link in found]
        self.hands = BusHands(site, self.runners, clock)
        self.lessons = Lessons(lessons, found)
        self._left: list[Entry] = []
        """What links passed over that are gone."""
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[Runner, asyncio.Task[NoReturn]] = {}

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin to read, in tasks of the group."""
        self._group = group
        for runner in self.runners:
            self._tasks[runner] = group.create_task(runner.run(), name=runner.link.bus)

    def stop(self) -> None:
        """Read no more."""
        for runner in self.runners:
            runner.stop(self._tasks.pop(runner))

    @property
    def heard_all(self) -> bool:
        """Whether every poll was answered or has failed at least once."""
        return all(runner.heard_all for runner in self.runners)

    def give_up(self) -> None:
        """Take for silent whatever was not heard yet."""
        for runner in self.runners:
            runner.give_up()

    def take_drops(self) -> list[Entry]:
        """Return entries for what links passed over since the last call."""
        left, self._left = self._left, []
        return left + [entry for runner in self.runners for entry in runner.take_drops()]

    def renew(self, site: Site, found: Iterable[Link], kept: frozenset[str]) -> None:
        """Go over to another site at once, without a wait; the sources in `kept` are as they were.

        What was read of the others and not yet taken goes by: it was read by another definition.
        """
        self._inbox.renew(site.sources, kept)
        self._door.renew(site.sources, kept)
        found = list(found)
        self.lessons.recall(found)
        before, self.runners = self.runners, []
        for link in found:
            runner = next((each for each in before if _goes_on(each, link, kept)), None)
            if runner is not None:
                before.remove(runner)
            self.runners.append(runner or self._runner(link))
        self.hands.renew(site, self.runners)
        self.lessons.follow(runner.link for runner in self.runners)
        self._left += [entry for runner in before for entry in runner.take_drops()]
        self._restart(before)

    def _restart(self, over: Iterable[Runner]) -> None:
        """End some runners, and start those that have no task; not before the others have let go of their ports."""
        if self._group is None:
            return
        ending = []
        for runner in over:
            ending.append(self._tasks.pop(runner))
            runner.stop(ending[-1])
        for runner in self.runners:
            if runner not in self._tasks:
                self._tasks[runner] = self._group.create_task(after(ending, runner.run), name=runner.link.bus)

    def _runner(self, link: Link) -> Runner:
        return Runner(link, self._inbox, self._clock, random.random, self._door)


def _goes_on(runner: Runner, link: Link, kept: frozenset[str]) -> bool:
    """Whether a runner goes on in place of a new link, as it is or having taken on what is new."""
    known, wanted = ({poll.source for poll in each.polls} for each in (runner.link, link))
    if known == wanted and known <= kept:
        return True
    if not isinstance(runner.link, Renewable) or not runner.link.renew(link, kept):
        return False
    runner.renew(kept)
    return True
