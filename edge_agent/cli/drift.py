"""Say of each watched variable what is usual, where it stands, and why it alarms or does not; of one, with a picture.

Reads the data folder that agent.toml names; the agent may be running. The statistics are those kept with the newest
snapshot, so they are as old as it is. The picture plays the recent past, as the log has it, once more against the
baseline as it is known now: the value and what is usual above, and below how rare that is against the alarm's bar.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge_agent.cli.chart import chart, pens_of, wants_colour, width_of
from edge_agent.cli.entries import count
from edge_agent.cli.markup import el
from edge_agent.cli.page import MOST_PLOTS, Picture, document, drift_card
from edge_agent.cli.past import past_of
from edge_agent.cli.plot import drift_plot
from edge_agent.cli.report import monitors, pictures, write_page
from edge_agent.cli.stored import open_folder
from edge_agent.cli.watch import fitted
from edge_agent.cli.words import heard, verdict, why
from edge_agent.config import load
from edge_agent.judge.monitor import Insight, Monitor
from edge_agent.judge.words import span
from edge_agent.model.checked import close_match, shown
from edge_agent.model.errors import ConfigError, Problem
from edge_agent.model.reading import iso_utc
from edge_agent.service.boot import restore
from edge_agent.store.baselines import Baselines

EXAMPLE = """edge-agent drift /etc/edge-agent/agent.toml pump.bearing_temp
  edge-agent drift /etc/edge-agent/agent.toml pump.bearing_temp --html bearing.html
  edge-agent drift /etc/edge-agent/agent.toml pump.bearing_temp --png bearing.png"""

NO_PICTURE = "no picture: the records that were read hold no value of it (--records N reads more)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `drift` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")
    parser.add_argument("variable", nargs="?", metavar="VARIABLE", help="only this one, such as pump.bearing_temp")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--html", type=Path, metavar="FILE", help="write the picture as a page, an SVG within")
    form.add_argument("--png", type=Path, metavar="FILE", help="write the picture of VARIABLE as PNG")
    form.add_argument("--json", action="store_true", help="print one JSON object a variable")
    parser.add_argument("--records", type=count, default=20_000, metavar="N", help="how far back (default 20000)")


def run(args: argparse.Namespace) -> int:
    """Print what the statistics know; 1 when they could not be read."""
    if args.png is not None and args.variable is None:
        raise ConfigError([Problem("--png", "no VARIABLE", "one", "--html draws them all")])
    site = load(args.config)
    folder = open_folder(Path(site.settings.agent.data_dir))
    world = restore(site.world_id, folder.end, folder.shelf.records, folder.snapshots, folder.key).standing.world
    kept = Baselines(folder.data.baselines)
    if kept.load() is None:
        print(f"edge-agent drift: {kept.fault} (they are kept with the first snapshot)", file=sys.stderr)
        return 1
    watched = monitors(site, world, kept)
    if args.variable is not None:
        watched = [_named(args.variable, watched)]
    drawn = args.variable is not None or args.html is not None
    past = past_of(folder, world, args.records if drawn else 0)
    found = pictures(watched, world, past, MOST_PLOTS if drawn else 0)
    if args.html is not None:
        cards = (drift_card(each, world.at_ms, past) for each in found)
        title = f"drift of {args.variable or world.world_id}"
        until = el("p", f"{world.world_id}, as of record {world.version}, {iso_utc(world.at_ms)}", cls="soft")
        write_page(args.html, document(title, el("h1", title), until, el("div", *cards, cls="grid")))
        print(args.html)
    elif args.png is not None:
        write_page(args.png, _painted(found[0]))
        print(args.png)
    elif args.json:
        for each in found:
            print(json.dumps(_object(each), ensure_ascii=False, allow_nan=False))
    else:
        every = span(site.settings.drift.false_alarm_every)
        shares = found[0].found.shares if found else 0
        print(*fitted([f"at most 1 false alarm in {every} of all {shares} watched variables together"]), sep="\n")
        for each in found:
            print("\n".join(_told(each, drawn=args.variable is not None)))
    return 0


def _painted(picture: Picture) -> bytes:
    from edge_agent.cli.png import png

    found = picture.found
    plot = drift_plot(found, picture.seen) if picture.seen and found.baseline is not None else None
    missing = [NO_PICTURE] if plot is None and found.baseline is not None else []
    return png(f"{found.subject.path}: {verdict(found)}", plot, [*missing, *why(found)])


def _named(variable: str, watched: Sequence[tuple[Insight, Monitor]]) -> tuple[Insight, Monitor]:
    named = next((each for each in watched if each[0].subject.path == variable), None)
    if named is None:
        near = close_match(variable, [each.subject.path for each, _ in watched])
        hint = near or "edge-agent drift agent.toml lists them"
        raise ConfigError([Problem("VARIABLE", shown(variable), "a variable that is watched", hint)])
    return named


def _told(picture: Picture, *, drawn: bool) -> Iterator[str]:
    found = picture.found
    yield from fitted([f"{found.subject.path}: {verdict(found)}, {heard(found)}"])
    if drawn and found.baseline is not None and picture.seen:
        yield from chart(found, picture.seen, width_of(), pens_of(), colour=wants_colour())
    elif drawn and found.baseline is not None:
        yield from fitted([f"  {NO_PICTURE}"])
    yield from fitted(f"  {sentence}" for sentence in why(found))


def _object(picture: Picture) -> dict[str, Any]:
    found = picture.found
    base = found.baseline
    return {
        "variable": found.subject.path,
        "unit": found.subject.unit,
        "verdict": verdict(found),
        "why": why(found),
        "at": iso_utc(found.at_ms) if found.at_ms else None,
        "baseline": None if base is None else {"mean": base.mean, "sigma": base.spread, "readings": base.size},
        "decades": found.decades,
        "bar": found.bar,
        "budget": found.budget,
    }
