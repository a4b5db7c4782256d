"""Have the agent that runs take up its changed agent.toml: whole, or not at all and saying why.

What was not changed is read on without a gap. A file that `check` would not accept changes nothing, and neither does
one with something for which the agent must be started anew; the exit code is 1 then. While an action is under way the
change waits until it has ended: Ctrl-C does not call it off.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_agent.cli.asking import lines_from, no_answer
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
    path = DataDir(folder).reload
    try:
        found = _come_of_it(args.config, folder, lines_from(path, folder, _ELSEWHERE, patient=True), quiet=args.json)
    except (ValueError, KeyError, TypeError) as error:
        raise no_answer(path, error) from error
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print("\n".join(_words(found)))
    return 0 if found["ok"] else 1


def _come_of_it(config: Path, folder: Path, lines: Iterator[bytes], *, quiet: bool) -> dict[str, Any]:
    """Return what came of it, saying meanwhile what is waited for."""
    told = map(json.loads, lines)
    file = Path(next(told, {"file": config})["file"])
    if file.resolve() != config.resolve() and not quiet:
        print(f"the agent in {folder} runs on {file}: that is what it looks at")
    for found in told:
        if "waits" not in found:
            return {"file": str(file), **found, "ok": bool(found["ok"])}
        if not quiet:
            print(f"not taken up yet: {found['waits']}", flush=True)
    raise LinkError(f"{folder}: the agent ended before it came to it; it reads the file when it starts")


def _words(found: dict[str, Any]) -> Iterator[str]:
    yield from (str(Problem(**each)) for each in found["problems"])
    if not found["ok"]:
        count = len(found["problems"])
        yield f"{count} problem{'s' if count > 1 else ''} in {found['file']}: nothing was changed"
        return
    yield from found["changed"]
    if found["was"] != found["config"]:
        yield f"{found['file']}: taken up, {found['config'][:16]}… in place of {found['was'][:16]}…"
    elif not found["changed"]:
        yield f"{found['file']}: nothing has changed"
