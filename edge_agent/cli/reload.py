"""Have the agent that runs take up its changed agent.toml: whole, or not at all and saying why.

What was not changed is read on without a gap. A file that `check` would not accept changes nothing, and neither does
one with something for which the agent must be started anew; the exit code is 1 then. While an action is under way the
change waits until it has ended: Ctrl-C does not call it off.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from edge_agent.cli.asking import lines_from
from edge_agent.config import data_dir_of
from edge_agent.model.errors import LinkError, Problem
from edge_agent.model.layout import DataDir

EXAMPLE = "edge-agent reload /etc/edge-agent/agent.toml"
_ELSEWHERE = "; agent.data_dir: one that runs with another than the file says needs a restart"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `reload` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON")


def run(args: argparse.Namespace) -> int:
    """Ask for it, and wait for what comes of it; 1 when nothing was changed because something is wrong."""
    folder = data_dir_of(args.config)
    told = (json.loads(line) for line in lines_from(DataDir(folder).reload, folder, _ELSEWHERE, patient=True))
    file = Path(next(told, {"file": args.config})["file"])
    if file.resolve() != args.config.resolve():
        print(f"the agent in {folder} runs on {file}: that is what it looks at")
    for found in told:
        if "waits" not in found:
            return _tell(found, file, as_json=args.json)
        if not args.json:
            print(f"not taken up yet: {found['waits']}", flush=True)
    raise LinkError(f"{folder}: the agent ended before it came to it; it reads the file when it starts")


def _tell(found: dict[str, Any], file: Path, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return 0 if found["ok"] else 1
    for each in found["problems"]:
        print(Problem(**each))
    if not found["ok"]:
        count = len(found["problems"])
        print(f"{count} problem{'s' if count > 1 else ''} in {file}: nothing was changed")
        return 1
    if found["was"] == found["config"] and not found["changed"]:
        print(f"{file}: nothing has changed")
    for change in found["changed"]:
        print(change)
    if found["was"] != found["config"]:
        print(f"{file}: taken up, {found['config'][:16]}… in place of {found['was'][:16]}…")
    return 0
