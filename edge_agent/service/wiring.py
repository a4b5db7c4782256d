"""From a checked site to links and hands: which file of sources/ serves which kind."""

import asyncio
import functools
import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import edge_agent.sources
from edge_agent.model.errors import ConfigError, LinkError, Problem, TrustError
from edge_agent.model.profile import Point, RegisterPoint
from edge_agent.model.reading import GOOD, Value
from edge_agent.model.site import Site, Source
from edge_agent.service.runner import Runner
from edge_agent.sources import Clock, Link


def links(sources: Iterable[Source], clock: Clock) -> list[Link]:
    """Return the links that sources need, not yet open.

    The folder is the registry, and only the kinds in use are imported. Raises ConfigError with the problems of
    all kinds.
    """
    kinds: dict[str, list[Source]] = {}
    for source in sources:
        kinds.setdefault(str(type(source.settings).__struct_config__.tag), []).append(source)
    known = {module.name for module in pkgutil.iter_modules(edge_agent.sources.__path__)}
    found: list[Link] = []
    problems: list[Problem] = []
    for kind, alike in kinds.items():
        assert kind in known, f"sources/{kind}.py"
        try:
            found += importlib.import_module(f"edge_agent.sources.{kind}").links(alike, clock)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return found


HANDS_S = 6.0
"""How long an action waits for a bus: after a start the link must first be opened. No turn is made meanwhile."""
WRITE_S = 3.0
"""A write waits less: what was expected was read just before it."""


class BusHands:
    """What touches the plant, through the queues of the buses (see hands.Hands)."""

    def __init__(self, site: Site, runners: Sequence[Runner], clock: Clock) -> None:
        self.now = clock
        self.renew(site, runners)

    def renew(self, site: Site, runners: Sequence[Runner]) -> None:
        """Go over to another site; nobody may be at work with them."""
        self._runners: Mapping[str, Runner] = {poll.source: r for r in runners for poll in r.link.polls}
        self._near = {source.name: tuple(_memory(source.points)) for source in site.sources}

    async def read(self, source: str, point: str) -> Value:
        """Ask the device anew, by the poll that holds the point."""
        runner = self._runner(source)
        for poll in runner.link.polls:
            if poll.source == source and point in poll.points:
                readings = await self._ask(source, functools.partial(runner.link.read, poll))
                return next((r.value for r in readings if r.point == point and r.quality == GOOD), None)
        raise LinkError(f"{source}.{point}: no poll reads it")

    async def write(self, source: str, point: str, value: Value, hold_s: float | None) -> None:
        """Write, before the polls that are due. Raises TrustError for a device that is not known to be the one."""
        runner = self._runner(source)

        async def write() -> None:
            # Asked when the bus is free: while this waited its link may have been lost, and another device found.
            refusal = runner.door.refusal(source)
            if refusal:
                raise TrustError(f"{source}.{point}: nothing is written to it: {refusal}")
            await runner.link.write(source, point, value, hold_s)

        await self._ask(source, write, WRITE_S)

    async def settle(self, seconds: float) -> None:
        """Wait as long as a device needs."""
        await asyncio.sleep(seconds)

    def near(self, source: str) -> Sequence[str]:
        """Return what is kept in the device's own memory: a write that goes astray lands there, not on a sensor."""
        return self._near.get(source, ())

    def _runner(self, source: str) -> Runner:
        """Return the owner of a source's bus. An action may be older than the configuration, and its device gone."""
        if source not in self._runners:
            raise LinkError(f"{source}: no source of this name is configured any more")
        return self._runners[source]

    async def _ask(self, source: str, what: Callable[[], Awaitable[Any]], patience_s: float = HANDS_S) -> Any:
        try:
            async with asyncio.timeout(patience_s):
                return await self._runner(source).ask(what)
        except TimeoutError as error:
            raise LinkError(f"{source}: the bus had no time within {patience_s:g} s", "timeout") from error


def _memory(points: Iterable[Point]) -> Iterator[str]:
    for point in points:
        if not isinstance(point, RegisterPoint) or point.function not in (1, 3):
            continue
        if point.write is not None or (point.kind == "state" and point.identity is None):
            yield point.name
