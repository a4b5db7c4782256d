"""`log verify DIR`: is the log in a data folder whole, in order and ours? Offline, with the public key alone.

It checks every frame, every signature, the chain, the digest of the world after each record, and the snapshots;
and names the first place where something does not hold. The agent may be running.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from edge_agent.cli.stored import open_folder
from edge_agent.store.verify import Verdict, verify

EXAMPLE = "edge-agent log verify /var/lib/edge-agent --key agent.pub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `log` takes."""
    verbs = parser.add_subparsers(dest="verb", metavar="verify", required=True)
    command = verbs.add_parser("verify", help="verify the log of a data folder", epilog=f"example: {EXAMPLE}")
    command.add_argument("folder", type=Path, metavar="DIR", help="the data_dir of an agent, or a copy of it")
    command.add_argument(
        "--key",
        type=Path,
        help="the gateway's agent.pub (default: the one in DIR, good for nothing"
        " but mistakes: who can change the log can change that file too)",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Verify; 1 at the first fault, naming it."""
    folder = open_folder(args.folder, args.key)
    verdict = verify(folder.shelf, folder.snapshots, folder.key)
    if args.json:
        print(json.dumps({**asdict(verdict), "head": verdict.head.hex(), "key": folder.key.keyid}))
    else:
        print("\n".join(_told(verdict, folder.key.keyid)))
    return 0 if verdict.fault is None else 1


def _told(verdict: Verdict, keyid: str) -> Iterator[str]:
    count = verdict.last - verdict.first + 1
    yield f"{count} records hold, {verdict.first} to {verdict.last}, signed by key {keyid}"
    yield f"  {verdict.squashed} of them squashed, the world verified after {verdict.worlds}, {verdict.snapshots} snapshots"
    yield f"  head {verdict.head.hex()}"
    yield "everything holds" if verdict.fault is None else f"FAULT {verdict.fault}"
