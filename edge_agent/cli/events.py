"""Print what the records in the log say, one event a line, oldest first, each verified.

Reads the data folder that agent.toml names; the agent may be running. `--json` prints canonical events
(reference/events.md).
"""

import argparse
import json
import sys
from pathlib import Path

from edge_agent.cli.stored import open_folder, walk
from edge_agent.config import load
from edge_agent.uplink.formats.event import events

EXAMPLE = "edge-agent events /etc/edge-agent/agent.toml --json | tail"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `events` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")
    parser.add_argument("--json", action="store_true", help="print canonical events, one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """Print the events."""
    site = load(args.config)
    folder = open_folder(Path(site.settings.agent.data_dir))
    oldest = folder.shelf.oldest
    for place, (before, stretch, after) in enumerate(walk(folder)):
        if place == 0 and stretch.first > oldest:
            told = f"records {oldest} to {stretch.first - 1} stand in the log without a snapshot before them"
            print(f"edge-agent events: {told}: their numbers cannot be resolved", file=sys.stderr)
        for event in events(stretch, before, after):
            if args.json:
                print(json.dumps(event, allow_nan=False, ensure_ascii=False))
            else:
                print(event["timestamp"], event["event_type"], json.dumps(event["canonical"], ensure_ascii=False))
    return 0
