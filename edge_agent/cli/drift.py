"""Say of each watched variable what is usual, where it stands, and why it alarms or does not.

Reads the data folder that agent.toml names; the agent may be running. The statistics are those kept with the newest
snapshot, so they are as old as it is.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from edge_agent.cli.stored import open_folder
from edge_agent.config import load
from edge_agent.judge.monitor import Insight
from edge_agent.judge.watch import Watch
from edge_agent.judge.words import SIGMA, Ruler, span
from edge_agent.model.checked import close_match, shown
from edge_agent.model.errors import ConfigError, Problem
from edge_agent.model.reading import iso_utc
from edge_agent.service.boot import restore
from edge_agent.store.baselines import Baselines

EXAMPLE = "edge-agent drift /etc/edge-agent/agent.toml pump.bearing_temp"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `drift` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")
    parser.add_argument("variable", nargs="?", metavar="VARIABLE", help="only this one, such as pump.bearing_temp")


def run(args: argparse.Namespace) -> int:
    """Print what the statistics know; 1 when they could not be read."""
    site = load(args.config)
    folder = open_folder(Path(site.settings.agent.data_dir))
    world = restore(site.world_id, folder.end, folder.shelf.records, folder.snapshots, folder.key).standing.world
    kept = Baselines(folder.data.baselines)
    learned = kept.load()
    if learned is None:
        print(f"edge-agent drift: {kept.fault}", file=sys.stderr)
        return 1
    found = Watch(site.settings.drift, world, site, json.loads(learned)).insights()
    if args.variable is not None:
        named = [each for each in found if each.subject.path == args.variable]
        if not named:
            near = close_match(args.variable, [each.subject.path for each in found])
            raise ConfigError([Problem("VARIABLE", shown(args.variable), "a variable that is watched", near)])
        found = named
    every = span(site.settings.drift.false_alarm_every)
    print(f"at most 1 false alarm in {every} of all {found[0].shares if found else 0} watched variables together")
    for each in found:
        for line in _told(each):
            print(line)
    return 0


def _told(found: Insight) -> Iterator[str]:
    yield (
        f"{found.subject.path}, last heard {iso_utc(found.at_ms)}"
        if found.at_ms
        else f"{found.subject.path}, never heard"
    )
    base = found.baseline
    if base is None:
        if found.subject.shifts:
            yield f"  no opinion yet: {found.heard} of the {found.warmup} readings that make a baseline"
        else:
            yield "  only its limits are watched"
    else:
        say = Ruler(found.subject.unit, base.spread).amount
        season = ", its season taken off" if found.has_season else ""
        yield f"  baseline  {say(base.mean)} ± {say(base.spread)} ({SIGMA}{season}), from {base.size} readings"
        yield f"  now       what it shows comes by chance {_often(found.decades, found.interval_s)}"
        yield f"  alarm     at what comes by chance {_often(found.bar, found.interval_s)}"
    for kind, times in found.raised:
        yield f"  raised    {kind}: more alarms than budgeted ({times}), so that it must be surer"
    for sentence in found.sentences:
        yield f"  ALARM     {sentence}"
    if not found.sentences and base is not None:
        yield "  no alarm  nothing it has shown is rarer than the budget allows"


def _often(decades: float, interval_s: float) -> str:
    """Return how seldom something is, as a person says it."""
    seconds = 10 ** min(decades, 30.0) * interval_s
    years = seconds / (365.25 * 86400)
    if decades <= 0.0:
        return "all the time"
    return f"once in {span(seconds)}" if years < 2 else f"once in {years:.3g} years"  # noqa: PLR2004 - then days are no measure
