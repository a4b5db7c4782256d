"""Say no to what a gateway wants to do: the request is closed, and nothing is written.

Whoever stands in the gateway's [[approvers]] and was not revoked may say no.
"""

import argparse
import asyncio

from edge_agent.cli.approve import add_answer, answer_request

EXAMPLE = (
    "edge-agent reject 3fa2 --key ~/.ssh/id_ed25519 --url mqtts://broker.example --world boiler-house"
    " --gateway agent.pub"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `reject` takes."""
    add_answer(parser)


def run(args: argparse.Namespace) -> int:
    """Reject; 0 when the gateway has closed the request."""
    return asyncio.run(answer_request(args, "reject"))
