"""Tables and progress bars: with colour on a terminal, plain columns and silence in a pipe. No library is needed."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TypeVar

from edge_agent.cli.chart import wants_colour
from edge_agent.service.logs import one_line

Item = TypeVar("Item")
_COLOURS = {"good": "32", "unce": "33", "bad:": "31", "not ": "31"}
"""Of a cell, by its first letters: those of a quality."""
_BAR = 30


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their heads; where a terminal is too narrow for them, each row as a block of its own."""
    texts = [[one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    if sys.stdout.isatty() and sum(widths) + 2 * len(widths) - 2 > shutil.get_terminal_size().columns:
        _print_blocks(head, texts)
        return
    colour = wants_colour()
    for number, row in enumerate([list(head), *texts]):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if colour:
            cells = [_coloured(cell, "1" if number == 0 else _COLOURS.get(cell[:4])) for cell in cells]
        print("  ".join(cells).rstrip())


def _print_blocks(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print the first cell of each row, and below it the others that are not empty."""
    width, colour = shutil.get_terminal_size().columns, wants_colour()
    for first, *others in rows:
        print(_coloured(first[:width], "1" if colour else None))
        for name, cell in zip(head[1:], others, strict=True):
            for line in (
                textwrap.wrap(f"{name} {cell}", width, initial_indent="  ", subsequent_indent="    ") if cell else ()
            ):
                print(_coloured(line, _COLOURS.get(cell[:4]) if colour else None))


def progress(items: Sequence[Item], label: str) -> Iterator[Item]:
    """Yield the items, and tell on a terminal how far it is."""
    if not sys.stderr.isatty():
        yield from items
        return
    for done, item in enumerate(items):
        filled = _BAR * done // len(items)
        bar = "#" * filled + "." * (_BAR - filled)
        print(f"\r{label} [{bar}] {done}/{len(items)}", end="", file=sys.stderr, flush=True)
        yield item
    print("\r\033[K", end="", file=sys.stderr, flush=True)


def _coloured(text: str, colour: str | None) -> str:
    return text if colour is None else f"\033[{colour}m{text}\033[0m"
