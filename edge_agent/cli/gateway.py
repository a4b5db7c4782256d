"""A gateway as its operator sees it from far away: through the broker, with its public key, and trusting nothing else.

What is shown was signed by the gateway and leads from a verified world to a verified world; what the operator sends
is an approval, sent again until the gateway has said what came of it.
"""

import argparse
import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from edge_agent.judge.lifecycle import ENDS
from edge_agent.model.action import Action
from edge_agent.model.errors import LinkError, TrustError
from edge_agent.model.layout import topic
from edge_agent.model.site import BrokerAccess
from edge_agent.mqtt import Session
from edge_agent.seal.keys import PublicKey
from edge_agent.store.keys import load_public
from edge_agent.uplink.follower import AuditTold, Change
from edge_agent.uplink.mirror import Mirror

CATCH_UP_S = 20.0
"""How long a gateway may take to say what it has: a slow link brings a snapshot of a thousand variables in ten."""
SEND_EVERY_S = 2.0
LOOK_EVERY_S = 0.25
_ACCESS = ("protocol", "ca_file", "cert_file", "key_file", "username", "password_file", "password_env")


def add_gateway(parser: argparse.ArgumentParser, name: str = "--gateway") -> None:
    """Add what it takes to see a gateway: its broker, its world and, as `name`, its public key."""
    parser.add_argument("--url", required=True, help="the broker: mqtt://host[:1883] or mqtts://host[:8883]")
    parser.add_argument("--world", required=True, help="the gateway's world id")
    parser.add_argument(name, required=True, type=Path, metavar="AGENT.PUB", help="the gateway's agent.pub")
    parser.add_argument("--protocol", choices=["5", "3.1.1"], default="5", help="of MQTT (default 5)")
    parser.add_argument("--ca-file", help="certificates to trust instead of the system's")
    parser.add_argument("--cert-file", help="our certificate, with --key-file")
    parser.add_argument("--key-file", help="our certificate's private key")
    parser.add_argument("--username", help="at the broker")
    parser.add_argument("--password-file", help="a file that holds the password")
    parser.add_argument("--password-env", help="an environment variable that holds the password")


def access_of(args: argparse.Namespace) -> BrokerAccess:
    """Return how the arguments say that the broker lets us in."""
    return BrokerAccess(**{name: getattr(args, name) for name in _ACCESS})


class Gateway:
    """One gateway, verified up to its newest record. Made by `seen`."""

    def __init__(self, url: str, world_id: str, key: PublicKey, access: BrokerAccess) -> None:
        self.key = key
        self.mirror = Mirror(url, world_id, key, access)
        self.refused: dict[str, int] = {}
        """Approvals that the gateway refused while we listened, by reason, ours or anybody's."""
        self._url, self._world_id, self._access = url, world_id, access

    @classmethod
    @contextlib.asynccontextmanager
    async def seen(cls, args: argparse.Namespace) -> AsyncIterator["Gateway"]:
        """Give the gateway that the arguments name, once all that it holds was verified.

        Raises LinkError when it does not come in time, TrustError or WireError at the first lie.
        """
        found = cls(args.url, args.world, load_public(args.gateway), access_of(args))
        async with found.mirror:
            if not await found.follow(lambda: found.mirror.caught_up, CATCH_UP_S):
                raise LinkError(
                    f"{args.url}: gateway {args.world} did not answer within {CATCH_UP_S:g} s"
                    f" (is that its name, does it run, is {found.key.keyid} its key?)"
                )
            yield found

    @property
    def actions(self) -> list[Action]:
        """Return the actions it knows, oldest first; what ended stands before what was asked anew in the same turn."""
        known = self.mirror.world.actions.values()
        return sorted(known, key=lambda action: (action.at_ms, action.stage not in ENDS, action.id))

    def action(self, prefix: str) -> Action:
        """Return the one action whose id begins so. Raises TrustError when there is none, or more than one."""
        found = [action for action in self.actions if action.id.startswith(prefix.lower())]
        if len(found) != 1:
            known = ", ".join(f"{action.id[:8]} ({action.stage})" for action in self.actions) or "none"
            raise TrustError(f"action {prefix[:40]!r}: {len(found)} begin so, wanted one of: {known}")
        request = found[0].request
        if request.agent != self.mirror.world.world_id or self.mirror.keys.find(request.akey) is None:
            raise TrustError(f"action {prefix[:40]!r}: it was asked for by another gateway or key")
        return found[0]

    async def follow(
        self, until: Callable[[], bool], patience_s: float, heard: Callable[[Change], None] = lambda _: None
    ) -> bool:
        """Follow it until something holds, or patience is over; return whether it holds."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + patience_s
        while not until() and loop.time() < end_s:
            # Not all that is heard is a change: that nothing is missing, for one.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    self._take(await self.mirror.next_change(), heard)
        return until()

    def _take(self, change: Change, heard: Callable[[Change], None]) -> None:
        if isinstance(change, AuditTold) and change.entry.kind == "approvals-refused":
            for word, count in change.entry.facts.items():
                self.refused[word] = self.refused.get(word, 0) + int(count or 0)
        heard(change)

    async def send(
        self,
        envelope: bytes,
        answered: Callable[[], bool],
        patience_s: float,
        heard: Callable[[Change], None] = lambda _: None,
    ) -> bool:
        """Send an approval until it was answered, or patience is over; return whether it was."""
        end_s = asyncio.get_running_loop().time() + patience_s
        session = Session(self._url, self._access, f"edge-operator-{secrets.token_hex(4)}")
        try:
            await session.open()
            while not answered() and (left_s := end_s - asyncio.get_running_loop().time()) > 0:
                await session.publish(topic(self._world_id, "command"), envelope)
                await self.follow(answered, min(SEND_EVERY_S, left_s), heard)
        finally:
            await session.close()
        return answered()
