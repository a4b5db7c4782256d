"""Make one HTML page of a gateway: values, drift, findings, risk, actions with their proofs, buffer and buses.

The page loads nothing and runs nothing: it can be sent, printed, and read in ten years. WHERE is an agent.toml, or a
data_dir or a copy of one; without the configuration there is no drift and no agent to ask. The agent may be running.
How far the past reaches is a number of records; actions older than they are, and gone from the twin, are not on it.
"""

import argparse
import contextlib
import datetime as dt
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from edge_agent import __version__
from edge_agent.cli.entries import count
from edge_agent.cli.page import MOST_PLOTS, Picture, Story, page
from edge_agent.cli.past import Past, past_of
from edge_agent.cli.status import ask, size
from edge_agent.cli.stored import Folder, open_folder
from edge_agent.config import load
from edge_agent.judge.findings import alarms_of
from edge_agent.judge.monitor import Insight, Monitor
from edge_agent.model.errors import LinkError, StoreError, TrustError
from edge_agent.model.site import Site
from edge_agent.model.world import World
from edge_agent.seal.records import unseal_snapshot
from edge_agent.service.boot import restore
from edge_agent.service.learned import watch_over
from edge_agent.store.baselines import Baselines, Pieces

EXAMPLE = "edge-agent report /etc/edge-agent/agent.toml -o report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `report` takes."""
    parser.add_argument("where", type=Path, metavar="WHERE", help="agent.toml or a data_dir")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where the page goes (default: standard output)"
    )
    parser.add_argument(
        "--records", type=count, default=20_000, metavar="N", help="how far the past reaches (default 20000)"
    )
    parser.add_argument("--key", type=Path, help="the gateway's agent.pub, as it was taken at installation")


def run(args: argparse.Namespace) -> int:
    """Make the page; 1 when the records do not lead to a world."""
    site = load(args.where) if args.where.is_file() else None
    data = args.where if site is None else Path(site.settings.agent.data_dir)
    story, notes = told(data, site, args.records, args.key)
    text = page(story)
    if args.output is None:
        print(text, end="")
    else:
        write_page(args.output, text)
        print(f"{args.output}: {len(text.encode()) // 1024} KiB, as of record {story.world.version}")
    for note in notes:
        print(f"edge-agent report: {note}", file=sys.stderr)
    return 1 if notes else 0


def told(data: Path, site: Site | None, records: int, key: Path | None = None) -> tuple[Story, list[str]]:
    """Return what a page tells of a data folder, and what did not hold in words."""
    folder = open_folder(data, key)
    world_id = site.world_id if site is not None else _world_id(folder)
    restored = restore(world_id, folder.end, folder.shelf.records, folder.snapshots, folder.key)
    world = restored.standing.world
    past = past_of(folder, world, records)
    health, silence = None, "a data folder alone was given, no configuration."
    if site is not None:
        try:
            health, silence = ask(data), ""
        except LinkError as error:
            silence = str(error)
    story = Story(
        world=world,
        past=past,
        pictures=[]
        if site is None
        else pictures(monitors(site, world, Baselines(folder.data.baselines)), world, past, MOST_PLOTS),
        roster={} if site is None else {approver.keyid: approver for approver in site.roster},
        health=health,
        silence=silence,
        on_disk=_on_disk(folder),
        head=folder.end[1],
        keyids=[each.keyid for each in folder.key.keys],
        made=f"Made {dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ} by edge-agent {__version__}.",
    )
    return story, [str(note.facts["reason"]) for note in restored.notes]


def monitors(site: Site, world: World, kept: Baselines) -> list[tuple[Insight, Monitor]]:
    """Return every watched variable, those that alarm first, then those that come nearest to their bar.

    What is usual is as of the newest snapshot, what is open as of the newest record.
    """
    learned, alarms = kept.load(), alarms_of(world.findings).values()
    watch = watch_over(site, world, None if learned is None else Pieces(learned))
    found = []
    for number, monitor in watch.monitors.items():
        sentences = tuple(alarm.sentence for alarm in alarms if alarm.number == number)
        found.append((monitor.insight()._replace(sentences=sentences), monitor))
    return sorted(found, key=lambda each: (not each[0].sentences, -each[0].decades / (each[0].bar or 1.0)))


def pictures(watched: Iterable[tuple[Insight, Monitor]], world: World, past: Past, most: int) -> list[Picture]:
    """Return variables with their recent past, the first `most` of them: to look back costs a tenth of a second each."""
    return [
        Picture(
            insight,
            monitor.hindsight(list(past.courses.get(insight.subject.number, ())), world.at_ms) if n < most else [],
        )
        for n, (insight, monitor) in enumerate(watched)
    ]


def _on_disk(folder: Folder) -> str:
    stand, shelf = folder.shelf.stand, folder.shelf
    waiting = stand.seq - stand.acked
    delivered = f"{waiting} not known to be delivered" if waiting else "all delivered"
    return (
        f"records {shelf.oldest} to {stand.seq} in {size(shelf.used)}, {delivered}, {len(folder.snapshots)} snapshots"
    )


def _world_id(folder: Folder) -> str:
    if not folder.snapshots:
        raise TrustError(f"{folder.data.root}: got no snapshot, wanted one to begin from, or an agent.toml instead")
    return unseal_snapshot(folder.snapshots[0].envelope, folder.key).world.world_id


def write_page(path: Path, page: str | bytes) -> None:
    """Write a page or a picture, a file whole or not at all. Raises StoreError."""
    raw = page.encode() if isinstance(page, str) else page
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(raw)  # a pipe, a terminal
            return
        aside.write_bytes(raw)
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise StoreError(f"{path}: cannot write the page: {error.strerror} (give -o another place)") from error
