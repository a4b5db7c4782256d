"""Follow a gateway through its broker, verify signature, chain and state digest of every record, print changes.

It needs the broker and the gateway's public key, and trusts nothing else. At the first lie it names the lie and
ends with exit code 1; otherwise it follows until it is interrupted. With `--state FILE` it keeps its place there once a
second and goes on from it: every change is printed, at least once, over all restarts. Without, it begins at a snapshot.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from edge_agent.cli.gateway import access_of, add_gateway
from edge_agent.model.checked import plain
from edge_agent.model.errors import ConfigError, Problem, TrustError, WireError
from edge_agent.model.reading import iso_utc
from edge_agent.model.world import Entity, Variable
from edge_agent.service.logs import one_line
from edge_agent.store.keys import load_private, load_public
from edge_agent.store.place import PlaceFile
from edge_agent.uplink.follower import (
    AuditTold,
    Change,
    DetailMissed,
    EntityChange,
    FindingChange,
    ValueChange,
    VariableChange,
)
from edge_agent.uplink.mirror import Mirror

QUIET_S = 20.0
"""After so long without a word it is said: a slow link brings a snapshot of a thousand variables in ten."""
EXAMPLE = "edge-agent mirror --url mqtts://broker.example --world boiler-house --key agent.pub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `mirror` takes."""
    add_gateway(parser, "--key")
    parser.add_argument(
        "--receipts-key", type=Path, help="sign receipts with this private key: the gateway's mirror_key"
    )
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="keep there what was verified, and go on from it after a restart"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a record")


def run(args: argparse.Namespace) -> int:
    """Follow until a lie."""
    signs = None if args.receipts_key is None else load_private(args.receipts_key)
    keeps = None if args.state is None else PlaceFile(args.state)
    key = load_public(args.key)
    try:
        mirror = Mirror(args.url, args.world, key, access_of(args), signs, keeps)
    except (TrustError, WireError) as error:
        got = str(error).removeprefix("place: got ")
        wanted = f"a mirror's place in the chain of {args.world!r} with key {key.keyid}"
        raise ConfigError([Problem(f"--state {args.state}", got, wanted, "to begin anew, remove it")]) from error
    if mirror.lied:
        lie = f"the gateway lied before: whom to believe is for a person to decide (to begin anew, remove {args.state})"
        return _lie(lie, as_json=args.json)
    try:
        asyncio.run(_follow(mirror, as_json=args.json))
    except (TrustError, WireError) as error:
        return _lie(str(error), as_json=args.json)
    return 0


def _lie(lie: str, *, as_json: bool) -> int:
    print(json.dumps({"lie": lie}) if as_json else f"LIE {lie}")
    return 1


async def _follow(mirror: Mirror, *, as_json: bool) -> None:
    together: list[Change] = []
    silence = asyncio.get_running_loop().call_later(QUIET_S, _say_silence)
    async with mirror:
        async for change in mirror:
            silence.cancel()
            if not as_json:
                print(in_words(change), flush=True)
                continue
            together.append(change)
            # All changes of a record are verified at once, so when none waits the record is complete.
            if not mirror.waiting or getattr(mirror.waiting[0], "seq", None) != change.seq:
                print(json.dumps(as_object(together), ensure_ascii=False, allow_nan=False), flush=True)
                together = []


def _say_silence() -> None:
    words = f"nothing was heard within {QUIET_S:g} s: is --world its name, and does it run and reach this broker?"
    print(f"edge-agent mirror: {words}", file=sys.stderr, flush=True)


def in_words(change: Change) -> str:
    """Return a change as a line for people."""
    match change:
        case ValueChange():
            value = "-" if change.value is None else change.value
            told = f"{change.path} = {value} {change.unit or ''} {change.quality} {iso_utc(change.at_ms)}"
        case FindingChange():
            told = f"{change.id} ended" if change.now is None else f"{change.now.severity}: {change.now.sentence}"
        case AuditTold():
            told = f"{change.entry.kind} {json.dumps(change.entry.facts, ensure_ascii=False)}"
        case DetailMissed():
            told = f"records {change.first} to {change.last} came as one ({change.why}): the detail between is missing"
        case VariableChange(now=None):
            told = f"{change.path} is gone"
        case VariableChange(now=Variable() as v):
            told = f"{change.path} is variable {v.number}: {v.kind}, {v.unit or 'no unit'}, from {v.source}"
        case EntityChange(now=None):
            told = f"{change.id} is gone"
        case EntityChange(now=Entity() as entity):
            known = {"state": entity.state, **entity.attributes}
            told = f"{change.id}: {', '.join(f'{name} {value}' for name, value in known.items() if value is not None)}"
    return one_line(f"{change.seq:6} {told}")


def as_object(changes: list[Change]) -> dict[str, Any]:
    """Return the changes of one record as one object: {"seq", "changes": [{"change": kind, ...}]}."""
    told = [{"change": type(change).__name__, **plain(change)} for change in changes]
    return {"seq": changes[-1].seq, "verified": True, "changes": told}
