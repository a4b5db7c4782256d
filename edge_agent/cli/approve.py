"""Show what a gateway wants to do, sign exactly what was shown with your OpenSSH key, and follow it to its end.

It needs the broker, the gateway's public key and your ed25519 key (`ssh-keygen -t ed25519`), whose public half stands
in the gateway's [[approvers]]. Exit code 0 when the action was verified, or waits for another approver; 1 otherwise.
"""

import argparse
import asyncio
import getpass
import sys
import time
from pathlib import Path

from edge_agent.cli.gateway import Gateway, add_gateway
from edge_agent.cli.telling import clean, in_full
from edge_agent.judge.lifecycle import ENDS
from edge_agent.model.action import Action, Stage
from edge_agent.model.errors import StoreError, TrustError
from edge_agent.model.reading import iso_utc
from edge_agent.seal.actions import plan_bytes
from edge_agent.seal.approvals import answer, seal_approval
from edge_agent.seal.keys import EncryptedKeyError, PrivateKey
from edge_agent.uplink.follower import AuditTold, Change

EXAMPLE = (
    "edge-agent approve 3fa2 --key ~/.ssh/id_ed25519 --url mqtts://broker.example --world boiler-house"
    " --gateway agent.pub"
)
ANSWER_S = 30.0
"""How long the gateway may take to count what was sent."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `approve` takes."""
    add_answer(parser)
    parser.add_argument("--wait", type=float, default=300.0, help="seconds to follow it (default 300)")


def add_answer(parser: argparse.ArgumentParser) -> None:
    """Add what it takes to answer a request."""
    parser.add_argument("id", metavar="ID", help="the action's id, or how it begins")
    parser.add_argument("--key", required=True, type=Path, help="your OpenSSH ed25519 private key")
    parser.add_argument("--ttl", type=int, default=900, help="seconds from the request for which you mean it")
    parser.add_argument("--yes", action="store_true", help="do not ask on the terminal: what is shown is what you want")
    add_gateway(parser)


def run(args: argparse.Namespace) -> int:
    """Approve, and follow to the end."""
    return asyncio.run(answer_request(args, "approve"))


async def answer_request(args: argparse.Namespace, act: str) -> int:
    """Show an action, sign the answer to it and send it; return the exit code."""
    key = load_operator_key(args.key)
    async with Gateway.seen(args) as gateway:
        action = gateway.action(args.id)
        print("\n".join(in_full(action, gateway.mirror.world)), flush=True)
        if act == "approve" and plan_bytes(action.plan) != action.request.plan:
            raise TrustError(
                f"action {action.id[:8]}: its plan holds more than this version can show: nothing was signed"
            )
        if action.stage != "waiting":
            raise TrustError(f"action {action.id[:8]}: it is {action.stage}, and waits for nothing")
        if not (args.yes or _agreed(act)):
            print("nothing was signed")
            return 1
        return await _send(gateway, action, act, key, args)


async def _send(gateway: Gateway, action: Action, act: str, key: PrivateKey, args: argparse.Namespace) -> int:
    known = gateway.mirror.world.operators.get(key.public.keyid)
    if known is None:
        raise TrustError(f"{args.key}: key {key.public.keyid} is not among the gateway's [[approvers]]")
    if act == "approve" and known.name in dict(action.approvals):
        missing = action.request.approvers - len(action.approvals)
        raise TrustError(f"action {action.id[:8]}: {known.name} has approved it already; it waits for {missing} more")
    # Wall time rises by itself; should it have fallen, the gateway's own high-water mark is known.
    counter = max(time.time_ns() // 1_000_000, known.counter + 1)
    # What is signed is the very action that was shown, whatever the gateway says of it meanwhile.
    envelope = seal_approval(answer(action, act, known.name, counter, args.ttl), key)
    print(f"signed by {known.name} (key {key.public.keyid}), sent", flush=True)

    def now() -> Action | None:
        return gateway.mirror.world.actions.get(action.id)

    def counted() -> bool:
        found, mine = now(), gateway.mirror.world.operators.get(key.public.keyid)
        return found is None or found.stage != "waiting" or (mine is not None and mine.counter >= counter)

    if not await gateway.send(envelope, counted, ANSWER_S, _Teller(action)):
        words = ", ".join(f"{word} ({count})" for word, count in gateway.refused.items())
        print(f"not counted within {ANSWER_S:g} s; refused meanwhile, ours or others': {words or 'nothing'}")
        return 1
    if act == "reject":
        return _told(now(), "refused")
    found = now()
    if found is not None and found.stage == "waiting":
        missing = found.request.approvers - len(found.approvals)
        print(f"counted; it waits for {missing} more")
        return 0
    await gateway.follow(lambda: (found := now()) is None or found.stage in ENDS, args.wait, _Teller(action))
    return _told(now(), "verified")


class _Teller:
    """Tells each move of one action as its record is verified."""

    def __init__(self, action: Action) -> None:
        self._id = action.id

    def __call__(self, change: Change) -> None:
        """Print a move, when it is one of ours."""
        if isinstance(change, AuditTold) and change.entry.kind == "action" and change.entry.facts["action"] == self._id:
            facts = change.entry.facts
            more = [f"{name}: {value!r}" for name, value in facts.items() if name.startswith("sensor:")]
            said = "; ".join([str(facts["reason"]), *more])
            print(clean(f"{iso_utc(change.at_ms)} record {change.seq}  {facts['to']}: {said}"), flush=True)


def _told(action: Action | None, wanted: Stage) -> int:
    """Say how it ended; return the exit code, 0 when it ended as wanted."""
    if action is None or action.stage not in ENDS:
        print(f"it is not over: {'unknown here' if action is None else action.stage}")
        return 1
    print(clean(f"{action.stage.upper()}: {action.reason}"))
    if action.stage in ("rolled_back", "failed") and action.writes:
        print(
            f"a device may be late: it is watched for a while yet, and `actions show {action.id[:8]}` says if it comes back"
        )
    return 0 if action.stage == wanted else 1


def _agreed(act: str) -> bool:
    if not sys.stdin.isatty():
        raise TrustError(f"no terminal to ask on: --yes says that what is shown is what you want to {act}")
    return input(f"{act} this? Type {act} and Enter: ").strip() == act


def load_operator_key(path: Path) -> PrivateKey:
    """Return an operator's key, asking for its passphrase when it has one. Raises StoreError or TrustError."""
    try:
        text = path.expanduser().read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        return PrivateKey.from_text(text)
    except EncryptedKeyError as error:
        if not sys.stdin.isatty():
            raise TrustError(f"{path}: it has a passphrase, and there is no terminal to ask for it on") from error
        return PrivateKey.from_text(text, getpass.getpass(f"passphrase of {path}: ").encode())
    except TrustError as error:
        raise TrustError(f"{path}: {error}") from error
