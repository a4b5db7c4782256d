"""Prints READY on standard output once it serves. SIGTERM and SIGINT stop it cleanly within five seconds."""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from edge_agent.config import load
from edge_agent.service.agent import Agent

EXAMPLE = "edge-agent run /etc/edge-agent/agent.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal asks to stop."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    agent = Agent(load(args.config))
    try:
        asyncio.run(_serve(agent))
    finally:
        agent.close()
    return 0


async def _serve(agent: Agent) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await agent.run(stop, lambda: print("READY", flush=True))
