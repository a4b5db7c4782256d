"""From a checked site to links and hands: which file of sources/ serves which kind."""

import asyncio
import functools
import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence

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


class BusHands:
    """What touches the plant, through the queues of the buses (see sync.Hands)."""

    def __init__(self, site: Site, runners: Sequence[Runner]) -> None:
        self._runners: Mapping[str, Runner] = {poll.source: r for r in runners for poll in r.link.polls}
        self._points: dict[tuple[str, str], Point] = {
            (source.name, point.name): point for source in site.sources for point in source.points
        }

    async def read(self, source: str, point: str) -> Value:
        """Ask the device anew, by the poll that holds the point."""
        runner = self._runners[source]
        for poll in runner.link.polls:
            if poll.source == source and point in poll.points:
                readings = await runner.ask(functools.partial(runner.link.read, poll))
                return next((r.value for r in readings if r.point == point and r.quality == GOOD), None)
        raise LinkError(f"{source}.{point}: no poll reads it")

    async def write(self, source: str, point: str, value: Value) -> None:
        """Write, then wait as long as the profile says the device needs. Raises TrustError for an unknown device."""
        runner = self._runners[source]
        refusal = runner.door.refusal(source)
        if refusal:
            raise TrustError(f"{source}.{point}: nothing is written to it: {refusal}")
        await runner.ask(functools.partial(runner.link.write, source, point, value))
        definition = self._points[source, point]
        if isinstance(definition, RegisterPoint) and definition.write is not None:
            await asyncio.sleep(definition.write.settle)
