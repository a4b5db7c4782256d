"""`actions list`, `actions show ID`: what a gateway wants to do, does, and has done, as it signed it.

It needs the broker and the gateway's public key, and verifies everything before it shows anything.
"""

import argparse
import asyncio
import json
from typing import Any

from edge_agent.cli.gateway import Gateway, add_gateway
from edge_agent.cli.telling import in_full, in_short
from edge_agent.model.action import Action
from edge_agent.model.checked import plain
from edge_agent.model.reading import iso_utc

EXAMPLE = "edge-agent actions list --url mqtts://broker.example --world boiler-house --gateway agent.pub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `actions` takes."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, words in (("list", "the actions of the last day, a line each"), ("show", "one action, in full")):
        command = verbs.add_parser(verb, help=words, epilog=f"example: {EXAMPLE}")
        if verb == "show":
            command.add_argument("id", metavar="ID", help="the action's id, or how it begins")
        add_gateway(command)
        command.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Show what the gateway signed."""
    return asyncio.run(_show(args))


async def _show(args: argparse.Namespace) -> int:
    async with Gateway.seen(args) as gateway:
        found = gateway.actions if args.verb == "list" else [gateway.action(args.id)]
        if args.json:
            told = [as_object(action) for action in found]
            print(json.dumps(told if args.verb == "list" else told[0], ensure_ascii=False))
        elif args.verb == "list":
            print("\n".join(map(in_short, found)) or "no actions")
        else:
            print("\n".join(in_full(found[0], gateway.mirror.world)))
    return 0


def as_object(action: Action) -> dict[str, Any]:
    """Return an action as a JSON object; bytes in hexadecimal."""
    request = {name: getattr(action.request, name) for name in action.request.__struct_fields__ if name != "plan"}
    return {
        "id": action.id,
        "stage": action.stage,
        "reason": action.reason,
        "at": iso_utc(action.at_ms),
        "plan": plain(action.plan),
        "request": {name: value.hex() if isinstance(value, bytes) else value for name, value in request.items()},
        "approvals": [{"operator": name, "keyid": keyid} for name, keyid in action.approvals],
        "before": list(action.before),
        "found": list(action.found),
    }
