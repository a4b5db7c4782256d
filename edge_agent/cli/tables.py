"""Tables and progress bars: with colour on a terminal, plain columns and silence in a pipe. No library is needed."""

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
_COLOURS = {"good": "32", "unce": "33", "bad:": "31", "not ": "31"}
"""Of a cell, by its first letters: those of a quality."""
_BAR = 30


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their heads."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    terminal = sys.stdout.isatty()
    for number, row in enumerate([list(head), *texts]):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if terminal:
            cells = [_coloured(cell, "1" if number == 0 else _COLOURS.get(cell[:4])) for cell in cells]
        print("  ".join(cells).rstrip())


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
