"""A screen that goes on asking an agent how it is: what it says, and sparklines of what it said before.

It needs nothing but a terminal that knows the five oldest control sequences. In a pipe each answer is a block of plain
lines. When the agent goes away the screen says so, and goes on when it is back.
"""

import shutil
import sys
import textwrap
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from edge_agent.cli.chart import ASCII_BARS, BARS, UNICODE, pens_of, sparkline, wants_colour, width_of
from edge_agent.model.errors import LinkError
from edge_agent.service.logs import one_line

REMEMBERED = 120
_LEAST = 12
"""Columns: in fewer no word fits."""
_ENTER, _LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\033[H", "\033[K", "\033[J"
_LOUD = ("NOT ", "GIVEN UP", "FAULT", "EXPIRED", "HOLES", "SOON", "last error")

Status = dict[str, Any]


class Figures:
    """What is drawn over time."""

    def __init__(self) -> None:
        self._kept: dict[str, deque[float]] = {}
        self._readings: int | None = None

    def take(self, status: Status, every_s: float) -> None:
        """Take in an answer."""
        latencies = [p["latency_s"] for bus in status["buses"] for p in bus["polls"] if p["latency_s"] is not None]
        turn, up, before = status["turns"]["last_s"], status["upstream"], self._readings
        self._readings = status["readings"]
        if before is not None and before <= self._readings:
            self._add("readings/s", (self._readings - before) / every_s)
        if turn is not None:
            self._add("turn, ms", 1000 * turn)
        if latencies:
            self._add("slowest, ms", 1000 * max(latencies))
        if up is not None:
            self._add("waiting", up["waiting"]["records"])
        self._add("memory, MiB", status["memory"]["bytes"] / 1024**2)

    def _add(self, name: str, value: float) -> None:
        self._kept.setdefault(name, deque(maxlen=REMEMBERED)).append(value)

    def lines(self, width: int) -> Iterator[str]:
        """Give a line for each figure: its name, the newest value, and how it was."""
        bars = BARS if pens_of() is UNICODE else ASCII_BARS
        for name, values in self._kept.items():
            yield f"  {name:11} {values[-1]:>8.4g}  {sparkline(values, width - 24, bars)}"


def watch(ask: Callable[[], Status], told: Callable[[Status], Iterable[str]], every_s: float) -> int:
    """Ask and show until Ctrl-C."""
    live, figures = sys.stdout.isatty(), Figures()
    try:
        if live:
            print(_ENTER, end="")
        while True:
            try:
                status = ask()
                figures.take(status, every_s)
                lines = [*told(status)]
            except LinkError as error:
                lines = [str(error)]
            if live:
                _draw([*fitted(lines[:1]), *figures.lines(width_of()), *fitted(lines[1:])])
            else:
                print("\n".join(lines), end="\n\n", flush=True)
            time.sleep(every_s)
    except KeyboardInterrupt:
        return 0
    finally:
        if live:
            print(_LEAVE, end="", flush=True)


def fitted(lines: Iterable[str]) -> Iterator[str]:
    """Give lines that fit the terminal, broken where they are too long; in a pipe, as they are."""
    if not sys.stdout.isatty():
        yield from map(one_line, lines)
        return
    width = max(_LEAST, min(width_of(), shutil.get_terminal_size().columns))
    for line in map(one_line, lines):
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        yield from textwrap.wrap(line, width, subsequent_indent=indent, drop_whitespace=True) or [""]


def _draw(lines: list[str]) -> None:
    """Draw over what stands there, without a flicker; what does not fit below is left out, and said so."""
    columns, rows = shutil.get_terminal_size()
    if len(lines) > rows - 1:
        lines = [*lines[: rows - 2], f"… {len(lines) - rows + 2} lines more below"]
    print(
        _HOME + "".join(f"{_coloured(line[:columns])}{_REST_OF_LINE}\n" for line in lines) + _REST_OF_SCREEN,
        end="",
        flush=True,
    )


def _coloured(line: str) -> str:
    return f"\033[33m{line}\033[0m" if wants_colour() and any(word in line for word in _LOUD) else line
