"""`edge-agent`: finds the command, runs it, and turns errors into words and exit codes.

0 done · 1 found wrong · 2 used wrongly · 74 files could not be read or written (the service manager starts the agent
again) · 130 after Ctrl-C.
Each command is a file of this room with `HELP`, `EXAMPLE`, `add_arguments` and `run`; only the one that is
called is imported.
"""

import argparse
import contextlib
import errno
import importlib
import io
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from edge_agent import __version__
from edge_agent.model.errors import ConfigError, EdgeAgentError, LinkError, StoreError, TrustError, WireError

COMMANDS = {
    "run": "run the agent as a service",
    "check": "check a configuration offline and say what it will do",
    "sync": "make one turn of the loop and print its report",
    "status": "ask the running agent how it is",
    "reload": "have the running agent take up a changed configuration",
    "twin": "print the twin of a gateway from its data folder, in the canonical form",
    "events": "print the events of a gateway from its log, in the canonical form",
    "findings": "list what is open, and say that a finding is known",
    "report": "make one HTML page of a gateway, to send, print or keep",
    "drift": "say of each variable what is usual, and why it alarms or not",
    "detect": "backtest the statistics on a series: CSV in, one JSON line a row out",
    "mirror": "follow a gateway from the outside and verify every record",
    "log": "show, verify and export the log of a gateway",
    "snapshots": "list, show, compare and restore the snapshots of a gateway",
    "keys": "make, show and replace the key of a gateway",
    "actions": "list or show what a gateway wants to do, does and has done",
    "approve": "approve an action from far away, with your key",
    "reject": "reject an action from far away, with your key",
    "probe": "read a device once and show it",
    "scan": "look for known devices on a Modbus bus, without writing",
    "profiles": "list, show, check and begin firmware profiles",
    "simulate": "run simulated devices for a test, with faults on request",
    "completion": "print what a shell needs to complete these commands",
    "demo": "run the agent against a simulated plant",
}
NEXT: tuple[tuple[type[EdgeAgentError], str], ...] = (
    (ConfigError, "mend that; edge-agent check agent.toml looks through all of it"),
    (
        StoreError,
        "see that it is there, has room and belongs to this user (ls -l, df -h); edge-agent log verify reads it",
    ),
    (TrustError, "edge-agent log verify WHERE --key agent.pub names the first place where something does not hold"),
    (LinkError, "see that it is on, and reachable from here (ping, edge-agent probe); then try again"),
    (WireError, "edge-agent log verify WHERE says whether what is on disk holds"),
)
"""What to do next, by the error, where its own words do not end with that."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
DISK_FAILED = 74
"""EX_IOERR of sysexits.h."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    _ready_outputs()
    called = [word for word in words if not word.startswith("-")][:1]
    try:
        parser = _parser(called)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] == "edge_agent":
            raise
        _say(
            f"edge-agent {called[0]}: {error.name} is not installed\nnext: pip install 'edge-agent[cli,demo]', or ./install.sh demo"
        )
        return 1
    args, unknown = parser.parse_known_args(words)
    if unknown:
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except ConfigError as error:
        _say("\n".join(map(str, error.problems)) + _next(error, args))
        return 1
    except EdgeAgentError as error:
        _say(f"edge-agent {args.command}: {error}{_next(error, args)}")
        return DISK_FAILED if isinstance(error, StoreError) else 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        return _without_output(error, args.command)
    return code


def _without_output(error: OSError, command: str) -> int:
    """End when standard output takes no more: quietly when whoever read it has gone. Raises what is not about it."""
    if error.filename is not None or error.errno not in (errno.EPIPE, *_NO_ROOM):
        raise error
    # What is still in the buffer must not raise at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return 0
    _say(f"edge-agent {command}: standard output: {error.strerror}\nnext: see that there is room (df -h), then again")
    return 1


def _ready_outputs() -> None:
    """Make the outputs so that none of our words fails: a terminal in its own code, a pipe or a file in UTF-8."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):
            own = out.isatty() or "PYTHONIOENCODING" in os.environ
            out.reconfigure(encoding=None if own else "utf-8", errors="backslashreplace")


def _say(text: str) -> None:
    """Say what went wrong, where that is possible: on a full disk the exit code must still be the right one."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _next(error: EdgeAgentError, args: argparse.Namespace) -> str:
    if str(error).endswith(")"):
        return ""
    if isinstance(error, TrustError) and args.command in ("actions", "approve", "reject"):
        words = "edge-agent actions list tells what there is, actions show ID all of one; see that AGENT.PUB is the gateway's"
    elif isinstance(error, ConfigError) and not hasattr(args, "config") and not hasattr(args, "where"):
        words = f"edge-agent {args.command} --help has an example"
    else:
        words = next(words for kind, words in NEXT if isinstance(error, kind))
    return f"\nnext: {words}"


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser with every command's own arguments, for what is generated from it."""
    there = []
    for name in COMMANDS:
        with contextlib.suppress(ModuleNotFoundError):  # what needs an extra that is not installed
            importlib.import_module(f"edge_agent.cli.{name}")
            there.append(name)
    return _parser(there)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help that fits the terminal: paragraphs are filled anew, what is indented stays as it is written."""

    def __init__(self, prog: str) -> None:
        # argparse would ask shutil, and load two compressors with it, though a service shows no help.
        super().__init__(prog, width=_columns() - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = text.split("\n\n")
        return "\n\n".join(
            part
            if "\n " in f"\n{part}"
            else textwrap.fill(part, width, initial_indent=indent, subsequent_indent=indent)
            for part in parts
        )


def _columns() -> int:
    """Return the width of the terminal, which COLUMNS overrides; 80 where there is none."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    return 80


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where it is said how it is done."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {message}\nnext: {self.prog} --help has an example\n")


def _parser(called: Iterable[str]) -> argparse.ArgumentParser:
    """Return the parser, with the arguments of the commands that are called: only they are imported."""
    parser = _Parser(
        prog="edge-agent",
        description="Reads a plant, keeps its digital twin, notices drift, and proves what it says.",
        epilog="example: edge-agent check /etc/edge-agent/agent.toml",
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, words_of in COMMANDS.items():
        command = commands.add_parser(name, help=words_of, formatter_class=_Help)
        if name in called:
            _fill(command, importlib.import_module(f"edge_agent.cli.{name}"), words_of)
    return parser


def _fill(command: argparse.ArgumentParser, room: ModuleType, words: str) -> None:
    command.description = f"{words[0].upper()}{words[1:]}.\n\n{room.__doc__}"
    command.epilog = f"example:\n  {room.EXAMPLE}"
    room.add_arguments(command)
    for action in command._actions:  # noqa: SLF001 - argparse tells its verbs nowhere else
        for verb in action.choices.values() if isinstance(action, argparse._SubParsersAction) else ():  # noqa: SLF001
            verb.epilog = verb.epilog or command.epilog
            verb.formatter_class = _Help
    command.set_defaults(run=room.run, parser=command)
