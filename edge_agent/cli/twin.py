"""Print the world as the newest record left it, after verifying every record that leads to it.

Reads the data folder that agent.toml names; the agent may be running. `--json` prints the canonical world state
(reference/world-state.md).
"""

import argparse
import json
import sys
from pathlib import Path

from edge_agent.cli.stored import open_folder
from edge_agent.cli.words import shown
from edge_agent.config import load
from edge_agent.model.layout import variable_path
from edge_agent.model.reading import iso_utc
from edge_agent.model.world import World
from edge_agent.seal.digest import state_digest
from edge_agent.service.boot import restore
from edge_agent.uplink.formats.world_state import Retention, world_state

EXAMPLE = "edge-agent twin /etc/edge-agent/agent.toml --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `twin` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")
    parser.add_argument("--json", action="store_true", help="print the canonical world state")


def run(args: argparse.Namespace) -> int:
    """Print the twin; 1 when the records on disk do not lead to one."""
    site = load(args.config)
    folder = open_folder(Path(site.settings.agent.data_dir))
    restored = restore(site.world_id, folder.end, folder.shelf.records, folder.snapshots, folder.key)
    world = restored.standing.world
    settings = site.settings
    size = settings.upstream.buffer.max_bytes if settings.upstream else 0
    if args.json:
        found = world_state(
            world,
            state_digest(world),
            None,
            transitions=settings.transitions,
            retention=Retention(size, settings.sync.snapshots_kept),
        )
        print(json.dumps(found, allow_nan=False, ensure_ascii=False))
    else:
        tell(world)
    for note in restored.notes:
        print(f"edge-agent twin: {note.facts['reason']}", file=sys.stderr)
    return 1 if restored.notes else 0


def tell(world: World) -> None:
    """Print a world for people."""
    print(f"{world.world_id} at record {world.version}, {iso_utc(world.at_ms)}")
    for number, variable in world.variables.items():
        state = world.state_of(number)
        path = variable_path(variable.entity, variable.name)
        value = "-" if state.value is None else shown(state.value)
        since = iso_utc(state.at_ms) if state.value is not None else ""
        print(f"  {path:40} {value!s:>16} {variable.unit or '':8} {state.quality:18} {since}")
    for finding in world.findings.values():
        print(f"  {finding.severity}: {finding.sentence}")
