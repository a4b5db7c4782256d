"""Print what the records in the log say, one event a line, oldest first, each verified.

Reads the data folder that agent.toml names; the agent may be running. `--json` prints canonical events
(reference/events.md). An event is printed when it passes every filter that is given.
"""

import argparse
import fnmatch
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edge_agent.cli.chart import wants_colour
from edge_agent.cli.entries import count, instant
from edge_agent.cli.stored import Folder, open_folder, walk
from edge_agent.cli.watch import fitted
from edge_agent.cli.words import shown
from edge_agent.config import load
from edge_agent.model.layout import local_name
from edge_agent.model.reading import iso_utc
from edge_agent.uplink.formats.event import events

EXAMPLE = """edge-agent events /etc/edge-agent/agent.toml --json | tail
  edge-agent events /etc/edge-agent/agent.toml --type 'finding.*' --severity error --since 2026-01-31
  edge-agent events /etc/edge-agent/agent.toml --variable pump.bearing_temp --newest 20"""
SEVERITIES = ("info", "warn", "error", "critical")
_COLOURS = {"warn": "33", "error": "31", "critical": "1;31"}
_LONG = frozenset({"request", "envelope"})
"""Facts for programs alone."""

Event = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `events` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")
    parser.add_argument(
        "--type", action="append", metavar="PATTERN", help="such as finding.opened or 'audit.*'; may be repeated"
    )
    parser.add_argument("--entity", help="what concerns this entity")
    parser.add_argument(
        "--variable", metavar="PATTERN", help="what concerns these, such as pump.bearing_temp or 'pump.*'"
    )
    parser.add_argument("--severity", choices=SEVERITIES, help="of at least this severity")
    parser.add_argument("--since", type=instant, metavar="TIME", help="by the gateway's clock: 2026-01-31T12:00, UTC")
    parser.add_argument("--until", type=instant, metavar="TIME", help="up to and with this time")
    parser.add_argument("--newest", type=count, metavar="N", help="of those, the newest N alone")
    parser.add_argument("--json", action="store_true", help="print canonical events, one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """Print the events."""
    site = load(args.config)
    folder = open_folder(Path(site.settings.agent.data_dir))
    found: Iterable[Event] = (event for event in _all(folder) if _takes(args, event))
    if args.newest is not None:
        found = deque(found, maxlen=max(0, args.newest))
    colour = wants_colour() and not args.json
    told = 0
    for told, event in enumerate(found, 1):  # noqa: B007 - asked for behind the loop
        if args.json:
            print(json.dumps(event, allow_nan=False, ensure_ascii=False))
            continue
        code = _COLOURS.get(event["severity"]) if colour else None
        for line in fitted([in_short(event)]):
            print(line if code is None else f"\033[{code}m{line}\033[0m")
    if not told:
        print("edge-agent events: no event is like that", file=sys.stderr)
    return 0


def _all(folder: Folder) -> Iterator[Event]:
    oldest = folder.shelf.oldest
    for place, (before, stretch, after) in enumerate(walk(folder)):
        if place == 0 and stretch.first > oldest:
            told = f"records {oldest} to {stretch.first - 1} stand in the log without a snapshot before them"
            print(f"edge-agent events: {told}: their numbers cannot be resolved", file=sys.stderr)
        yield from events(stretch, before, after)


def _takes(args: argparse.Namespace, event: Event) -> bool:
    at: str = event["timestamp"]
    return (
        (args.type is None or any(fnmatch.fnmatchcase(event["event_type"], pattern) for pattern in args.type))
        and (args.severity is None or _grade(event["severity"]) >= _grade(args.severity))
        and (args.since is None or at >= iso_utc(args.since))
        and (args.until is None or at <= iso_utc(args.until))
        and (args.entity is None or local_name(args.entity) in _entities(event))
        and (args.variable is None or fnmatch.fnmatchcase(_variable(event), args.variable))
    )


def _grade(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0


def _entities(event: Event) -> set[str]:
    named = {local_name(each["entity_id"]) for each in event["entity_refs"]}
    return named | {_variable(event).partition(".")[0]}


def _variable(event: Event) -> str:
    """Return the variable that an event concerns; empty for none."""
    told = event["canonical"]
    if "variable" in told:
        return f"{local_name(told['entity'])}.{told['variable']}"
    return str(told.get("facts", {}).get("finding") or "").partition("/")[0]


def in_short(event: Event) -> str:
    """Return an event as a line for people."""
    told = event["canonical"]
    if "sentence" in told:
        what = f"{told['severity']}: {told['sentence']}"
    elif "variable" in told:
        value = "-" if told["value"] is None else shown(told["value"])
        quality = "" if told["quality"] == "good" else f" {told['quality']}"
        what = f"{_variable(event)} = {value} {told['unit'] or ''}".rstrip() + quality
    else:
        facts = {
            name: value for name, value in told.get("facts", {}).items() if value is not None and name not in _LONG
        }
        what = " ".join(f"{name}={shown(value)}" for name, value in facts.items())
    return f"{event['timestamp']} {event['severity']:5} {event['event_type']:20} {what}"
