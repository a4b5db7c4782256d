"""Ask the agent that runs how it is: upstream, what waits, certificates, memory, and every bus and source.

It asks on the socket in data_dir, which only the agent's own user (and root) may open. When no agent runs it says
so, with what to do, and ends with exit code 1. With `--watch` it goes on asking, until Ctrl-C: a live screen on a
terminal, one answer after the other in a pipe.
"""

import argparse
import datetime as dt
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_agent.cli.asking import lines_from, no_answer
from edge_agent.cli.watch import fitted, watch
from edge_agent.config import data_dir_of
from edge_agent.model.checked import shown
from edge_agent.model.errors import LinkError
from edge_agent.model.layout import DataDir

EXAMPLE = """edge-agent status /etc/edge-agent/agent.toml
  edge-agent status /etc/edge-agent/agent.toml --watch"""

_VERSION = 3
_SIZES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"), (1, "B"))
_SPANS_S = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `status` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")
    parser.add_argument("--json", action="store_true", help="print the document of reference/status.schema.json")
    parser.add_argument("--watch", action="store_true", help="go on asking")
    parser.add_argument("--every", type=_pause, default=1.0, metavar="S", help="how often, with --watch (default 1)")


def run(args: argparse.Namespace) -> int:
    """Ask; 1 when no agent answers."""
    folder = data_dir_of(args.config)

    def words(found: dict[str, Any]) -> Iterator[str]:
        yield from in_words(found)
        yield from not_taken_up(args.config, found)

    if args.watch and not args.json:
        return watch(lambda: ask(folder), words, args.every)
    while True:
        try:
            found, code = ask(folder), 0
        except LinkError as error:
            found, code = {"v": _VERSION, "running": False, "reason": str(error)}, 1
        if args.json:
            print(json.dumps(found, ensure_ascii=False), flush=True)
        else:
            print("\n".join(fitted(words(found) if code == 0 else [found["reason"]])))
        if not args.watch:
            return code
        try:
            time.sleep(args.every)
        except KeyboardInterrupt:
            return code


def _pause(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.05 <= found <= 3600:  # noqa: PLR2004 - what is neither a burden on the agent nor a mistake
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted seconds from 0.05 to 3600")
    return found


def ask(folder: Path) -> dict[str, Any]:
    """Return what the agent on a data folder says. Raises LinkError, saying what to do."""
    path = DataDir(folder).status
    try:
        return understood(b"".join(lines_from(path, folder)))
    except ValueError as error:
        raise no_answer(path, error) from error


def understood(text: bytes) -> dict[str, Any]:
    """Return what an agent said. Raises ValueError when it is not the status of this version."""
    try:
        found: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"got {shown(text[:40].decode(errors='replace'))}, wanted its status") from None
    version = found.get("v") if isinstance(found, dict) else None
    if version != _VERSION:
        raise ValueError(f"got version {shown(version)} of the status, wanted {_VERSION}: it is another edge-agent")
    try:
        list(in_words(found))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError("got a status with something missing or wrong in it") from None
    return found


def not_taken_up(config: Path, found: dict[str, Any]) -> Iterator[str]:
    """Say that a file is another than the one which runs, when it is."""
    try:
        text, at = config.read_bytes(), dt.datetime.fromtimestamp(config.stat().st_mtime).astimezone()
    except OSError as error:
        yield f"{config}: {error.strerror}; the agent runs on as it was configured"
        return
    if hashlib.sha256(text).hexdigest() != found["agent"]["config"]:
        yield f"{config.name} was changed at {at:%Y-%m-%d %H:%M} and is not applied: run edge-agent reload {config}"


def in_words(found: dict[str, Any]) -> Iterator[str]:
    """Return the document for people."""
    agent, twin, clock, memory = found["agent"], found["twin"], found["clock"], found["memory"]
    yield f"{found['world']}: edge-agent {agent['version']}, process {agent['pid']}, up {span(agent['uptime_s'])}"
    yield f"  twin      version {twin['version']}, {twin['variables']} variables, {twin['findings']} findings open"
    yield f"  clock     {clock['now']}, {'synchronised' if clock['synced'] else 'NOT synchronised'}"
    yield f"  memory    {size(memory['bytes'])}, {size(memory['most'])} at most"
    yield f"  config    {agent['config'][:16]}…, for {span(agent['config_s'])}"
    yield from _turns(found["turns"])
    yield from _log(found["log"])
    yield from _upstream(found["upstream"])
    for bus in found["buses"]:
        yield f"  {bus['bus']}" + (f"  {bus['last_error']}" if bus["last_error"] else "")
        yield from map(_poll, bus["polls"])


def _turns(turns: dict[str, Any]) -> Iterator[str]:
    lasted = (
        "" if turns["last_s"] is None else f", the last in {brief(turns['last_s'])}, {brief(turns['most_s'])} at most"
    )
    yield f"  turns     {turns['count']}{lasted}"


def _log(log: dict[str, Any]) -> Iterator[str]:
    lost = f", {log['holes']} HOLES" if log["holes"] else ""
    kept = f"records {log['first']} to {log['last']}"
    yield f"  log       {kept} in {size(log['bytes'])} of {size(log['max_bytes'])}, {log['squashed']} squashed{lost}"


def _upstream(up: dict[str, Any] | None) -> Iterator[str]:
    if up is None:
        yield "  upstream  none is configured"
        return
    state = "NOT CONNECTED" if up["connected_s"] is None else f"connected for {span(up['connected_s'])}"
    yield f"  upstream  {up['url']}: {state}, delivered up to record {up['delivered']} (by the {up['release']})"
    waiting = up["waiting"]
    if waiting["records"]:
        oldest = "" if waiting["oldest_s"] is None else f", the oldest for {span(waiting['oldest_s'])}"
        yield f"            {waiting['records']} records wait in {size(waiting['bytes'])}{oldest}"
    receipts = up["receipts"]
    if receipts is not None:
        fault = f", FAULT: {receipts['fault']}" if receipts["fault"] else ""
        yield f"            the mirror has signed up to record {receipts['seq'] or '-'}{fault}"
        if up["release"] == "mirror" and (receipts["first"] or 0) > up["delivered"] + 1:
            yield f"            it lacks records before {receipts['first']}: what was not delivered is sent again"
    if up["last_error"] is not None:
        yield f"            last error {span(up['last_error']['age_s'])} ago: {up['last_error']['text']}"
    for each in up["certificates"]:
        warning = "EXPIRED, " if each["days"] <= 0 else "SOON, " if each["days"] < 30 else ""  # noqa: PLR2004
        yield f"            {each['whose']}'s certificate until {each['until'][:10]} ({warning}{each['days']:.0f} days)"


def _poll(poll: dict[str, Any]) -> str:
    good = "never" if poll["last_good_s"] is None else f"{span(poll['last_good_s'])} ago"
    counts = f"{poll['answered']} answered, {poll['failed']} failed, {poll['skipped']} skipped"
    kept = "" if poll["kept"] is None else f", {poll['kept']:.1%} of what was due"
    took = "" if poll["latency_s"] is None else f", in {brief(poll['latency_s'])}"
    dead = ", GIVEN UP: asked less often" if poll["given_up"] else ""
    return f"    {poll['source']}: {poll['detail']}, good {good}{took}, {counts}{kept}{dead}"


def size(count: int) -> str:
    """Return a number of bytes for people."""
    unit, name = next(((unit, name) for unit, name in _SIZES if count >= unit), _SIZES[-1])
    return f"{count / unit:.3g} {name}" if count < 1000 * unit else f"{count / unit:.0f} {name}"


def span(seconds: float) -> str:
    """Return a length of time for people."""
    for unit, name in _SPANS_S:
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.1f} s"


def brief(seconds: float) -> str:
    """Return a short time for people."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
