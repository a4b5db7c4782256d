"""Prints READY on standard output once it serves, and tells a service manager that asked (sd_notify).

SIGTERM and SIGINT stop it cleanly within five seconds, after an action under way; so does the end of the terminal that
it was started on. SIGHUP and `edge-agent reload` have it take up a changed agent.toml. Its log is on standard error.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from edge_agent.cli.inspection import inspect
from edge_agent.config import load
from edge_agent.service import logs
from edge_agent.service.agent import Agent
from edge_agent.service.frugal import be_frugal
from edge_agent.service.notify import READY, STOPPING, TURNED, ServiceManager
from edge_agent.service.reload import Reload

EXAMPLE = "edge-agent run /etc/edge-agent/agent.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")
    parser.add_argument("--log-json", action="store_true", help="write the log as one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal asks to stop."""
    be_frugal()
    logs.set_up(as_json=args.log_json)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to take a changed file up
    agent = Agent(load(args.config))
    try:
        asyncio.run(_serve(agent, args.config))
    finally:
        agent.close()
    return 0


async def _serve(agent: Agent, config: Path) -> None:
    stop = asyncio.Event()
    manager = ServiceManager()
    reload = Reload(config, agent.site, inspect, agent.inbox.urgent.set, manager.tell)

    def ready() -> None:
        print("READY", flush=True)
        manager.tell(READY)

    def asked_to_stop() -> None:
        manager.tell(STOPPING)
        stop.set()

    on_terminal = sys.stdin is not None and sys.stdin.isatty()

    def hung_up() -> None:
        # The same signal says that the terminal has gone on which a person tried this: then nobody is there any more.
        if on_terminal and not sys.stdin.isatty():
            asked_to_stop()
        else:
            reload.ask()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop)
    loop.add_signal_handler(signal.SIGHUP, hung_up)
    with contextlib.closing(manager):
        await agent.run(stop, ready, turned=lambda: manager.tell(TURNED), reload=reload)
