"""List what is open, the gravest first; with `--ack`, tell the agent that a finding is known.

Reads the data folder that agent.toml names; the agent may be running. An acknowledged finding stays in the twin and in
the risk, and is quiet until it changes: until it becomes graver, another variable agrees, or it is said anew. Who
acknowledged it, the user that runs this command, stands in the log.
"""

import argparse
import json
import uuid
from collections.abc import Mapping
from pathlib import Path

from edge_agent.cli.stored import open_folder
from edge_agent.cli.watch import fitted
from edge_agent.config import load
from edge_agent.judge.findings import alarms_of
from edge_agent.model.checked import close_match, plain, shown
from edge_agent.model.errors import ConfigError, Problem
from edge_agent.model.finding import SEVERITIES, Anomaly
from edge_agent.model.reading import iso_utc
from edge_agent.service.boot import restore
from edge_agent.store.asks import ask

EXAMPLE = "edge-agent findings /etc/edge-agent/agent.toml --ack pump.bearing_temp/shift"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `findings` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")
    parser.add_argument("--ack", metavar="ID", help="say that this finding is known")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """List or acknowledge; 1 when there is no such finding."""
    site = load(args.config)
    folder = open_folder(Path(site.settings.agent.data_dir))
    restored = restore(site.world_id, folder.end, folder.shelf.records, folder.snapshots, folder.key)
    found = restored.standing.world.findings
    if args.ack is not None:
        return _acknowledge(folder.data.asks, found, args.ack)
    ranked = sorted(found.values(), key=lambda finding: (-SEVERITIES.index(finding.severity), finding.since_ms))
    if args.json:
        print(json.dumps([plain(finding) for finding in ranked], ensure_ascii=False))
    else:
        print("\n".join(fitted(line for finding in ranked for line in _told(finding))) or "nothing is open")
    return 0


def _acknowledge(folder: Path, found: Mapping[str, Anomaly], id_: str) -> int:
    if id_ not in found:
        hint = close_match(id_, found) or "edge-agent findings lists those that are"
        raise ConfigError([Problem("--ack", shown(id_), "a finding that is open", hint)])
    ask(folder, id_, uuid.uuid4().hex)
    print(f"{id_}: asked; the agent takes it with its next turn, and at its next start when it does not run")
    return 0


def _told(finding: Anomaly) -> list[str]:
    known = f", known to {finding.acknowledged}" if finding.acknowledged is not None else ""
    lines = [f"{finding.severity}: {finding.sentence}", f"    {finding.id}, since {iso_utc(finding.since_ms)}{known}"]
    witnesses = alarms_of({finding.id: finding}).values() if finding.witnesses else ()
    return [*lines, *(f"    {witness.sentence}" for witness in witnesses)]
