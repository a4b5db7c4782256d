"""Ask every device once, make one turn of what came, seal it in the log, and print the report.

full: every reading stands as it was read, deadbands or not · incremental: what changed, risk and plans (default) ·
delta_only: what changed, without risk and without plans. A snapshot is kept in each case.

It refuses while an agent runs on the same data folder.
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import get_args

from edge_agent.config import load
from edge_agent.model.checked import changed, plain
from edge_agent.model.record import Report
from edge_agent.model.site import Mode, Site
from edge_agent.service.agent import Agent

MODES = get_args(Mode)
EXAMPLE = "edge-agent sync /etc/edge-agent/agent.toml --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `sync` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")
    parser.add_argument("--patience", type=float, default=5.0, metavar="SECONDS", help="wait for answers (default 5)")
    parser.add_argument("--mode", choices=MODES, help="instead of sync.mode of the configuration")
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")


def run(args: argparse.Namespace) -> int:
    """Make one turn; 1 when it ended `failed`."""
    agent = Agent(_in_mode(load(args.config), args.mode))
    try:
        report = asyncio.run(agent.turn_once(args.patience))
    finally:
        agent.close()
    if args.json:
        print(json.dumps(plain(report), allow_nan=False))
    else:
        _tell(report)
    return 1 if report.status == "failed" else 0


def _in_mode(site: Site, mode: Mode | None) -> Site:
    if mode is None:
        return site
    settings = site.settings
    return changed(site, settings=changed(settings, sync=changed(settings.sync, mode=mode)))


def _tell(report: Report) -> None:
    print(f"{report.world_id}: {report.status} at {report.sync_timestamp}, confidence {report.confidence:g}")
    print(f"  twin version {report.twin_snapshot['version']}, {report.twin_snapshot['hash']}")
    risk = report.risk_assessment
    print(f"  risk now {risk['current_risk']:g}, ahead {risk['forecasted_risk']:g}")
    for sentence in (*report.drift_report["triggers"], *report.assumptions):
        print(f"  - {sentence}")
    print(f"  next turn in {report.next_sync['recommended_interval']}")
