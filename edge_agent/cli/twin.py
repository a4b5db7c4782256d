"""Print the world as the newest record left it, after verifying every record that leads to it.

Reads the data folder that agent.toml names; the agent may be running. `--json` prints the canonical world state
(reference/world-state.md); of a part of it, one JSON object a variable.
"""

import argparse
import fnmatch
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_agent.cli.stored import open_folder
from edge_agent.cli.tables import print_table
from edge_agent.cli.watch import fitted
from edge_agent.cli.words import shown
from edge_agent.config import load
from edge_agent.model.layout import local_name, variable_path
from edge_agent.model.reading import iso_utc
from edge_agent.model.world import World
from edge_agent.seal.digest import state_digest
from edge_agent.service.boot import restore
from edge_agent.uplink.formats.world_state import Retention, world_state

EXAMPLE = """edge-agent twin /etc/edge-agent/agent.toml --json
  edge-agent twin /etc/edge-agent/agent.toml --variable 'pump.*' --quality bad --quality uncertain"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `twin` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")
    parser.add_argument("--entity", help="only this one's variables")
    parser.add_argument("--variable", metavar="PATTERN", help="only these, such as pump.bearing_temp or 'pump.*'")
    parser.add_argument(
        "--quality", action="append", choices=["good", "uncertain", "bad"], help="only of this quality; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print the canonical world state, or a part of it")


def run(args: argparse.Namespace) -> int:
    """Print the twin; 1 when the records on disk do not lead to one."""
    site = load(args.config)
    folder = open_folder(Path(site.settings.agent.data_dir))
    restored = restore(site.world_id, folder.end, folder.shelf.records, folder.snapshots, folder.key)
    world = restored.standing.world
    settings = site.settings
    size = settings.upstream.buffer.max_bytes if settings.upstream else 0
    whole = args.entity is None and args.variable is None and args.quality is None
    if args.json and whole:
        found = world_state(
            world,
            state_digest(world),
            None,
            transitions=settings.transitions,
            retention=Retention(size, settings.sync.snapshots_kept),
        )
        print(json.dumps(found, allow_nan=False, ensure_ascii=False))
    elif args.json:
        for number in _wanted(world, args):
            print(json.dumps(_object(world, number), allow_nan=False, ensure_ascii=False))
    else:
        tell(world, None if whole else _wanted(world, args))
    for note in restored.notes:
        print(f"edge-agent twin: {note.facts['reason']}", file=sys.stderr)
    return 1 if restored.notes else 0


def _wanted(world: World, args: argparse.Namespace) -> list[int]:
    return [
        number
        for number, v in world.variables.items()
        if (args.entity is None or args.entity in (v.entity, local_name(v.entity)))
        and (args.variable is None or fnmatch.fnmatchcase(variable_path(v.entity, v.name), args.variable))
        and (args.quality is None or world.state_of(number).quality.partition(":")[0] in args.quality)
    ]


def _object(world: World, number: int) -> dict[str, Any]:
    v, state = world.variables[number], world.state_of(number)
    return {
        "variable": variable_path(v.entity, v.name),
        "entity": v.entity,
        "value": state.value,
        "unit": v.unit,
        "quality": state.quality,
        "at": None if state.value is None else iso_utc(state.at_ms),
        "source": v.source,
        "kind": v.kind,
    }


def tell(world: World, numbers: Sequence[int] | None = None) -> None:
    """Print a world for people; or of it some variables alone, by number."""
    print(*fitted([f"{world.world_id} at record {world.version}, {iso_utc(world.at_ms)}"]), sep="\n")
    rows = []
    for number in world.variables if numbers is None else numbers:
        told = _object(world, number)
        value = "-" if told["value"] is None else shown(told["value"])
        rows.append((told["variable"], value, told["unit"] or "", told["quality"], told["at"] or ""))
    if rows:
        print_table(("variable", "value", "unit", "quality", "as of"), rows)
    else:
        print("no variable is like that")
    if numbers is None:
        for line in fitted(f"{finding.severity}: {finding.sentence}" for finding in world.findings.values()):
            print(line)
