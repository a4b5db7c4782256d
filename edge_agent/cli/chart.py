"""A variable against its baseline, and how rare that is against the bar, drawn in characters: for any terminal or pipe.

What stands in a cell is told by its character alone; colour repeats it where colour is wanted.
"""

import itertools
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TextIO

from edge_agent.judge.baseline import CLIP
from edge_agent.judge.hindsight import Seen
from edge_agent.judge.monitor import Insight
from edge_agent.model.reading import iso_utc

MARGIN = 10
"""Columns of the scale at the left."""
LEAST, MOST = 40, 110
"""Columns of the whole: a narrow terminal, and the width beyond which nothing more is seen."""
ROWS, LOWER_ROWS = 11, 4


class Pens(NamedTuple):
    """What is drawn with."""

    value: str
    usual: str
    band: str
    limit: str
    rare: str
    edge: str


UNICODE = Pens("•", "─", "░", "╌", "█", "│")
ASCII = Pens("*", "-", ".", "=", "#", "|")
BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-=#"
_COLOURS = {"value": "36", "usual": "2", "band": "2", "limit": "31", "rare": "", "alarm": "31"}

Cell = tuple[str, str]
"""Its character and what it is."""


def width_of(out: TextIO | None = None) -> int:
    """Return how many columns there are: of the terminal, or 80 in a pipe."""
    return max(LEAST, min(MOST, shutil.get_terminal_size((80, 24)).columns if (out or sys.stdout).isatty() else 80))


def wants_colour(out: TextIO | None = None) -> bool:
    """Whether colours are wanted: on a terminal, unless NO_COLOR (no-color.org) says otherwise."""
    return (out or sys.stdout).isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def pens_of(out: TextIO | None = None) -> Pens:
    """Return what can be drawn with where it goes."""
    try:
        "".join(UNICODE).encode((out or sys.stdout).encoding or "ascii")
    except UnicodeEncodeError:
        return ASCII
    return UNICODE


def chart(found: Insight, seen: Sequence[Seen], width: int, pens: Pens, *, colour: bool) -> Iterator[str]:
    """Give the lines of the picture of a variable that has a baseline and was seen at least once."""
    base = found.baseline
    assert base is not None
    columns = _columns(seen, width - MARGIN)
    reach = CLIP * base.spread
    low = min(min(s.value, s.usual - reach) for s in seen)
    high = max(max(s.value, s.usual + reach) for s in seen)
    upper = _Panel(low, high, ROWS, len(columns))
    for limit in (found.subject.above, found.subject.below):
        if limit is not None and low <= limit <= high:
            upper.level(limit, (pens.limit, "limit"))
    for x, column in enumerate(columns):
        if column:
            usual = column[-1].usual
            upper.stroke(x, usual - reach, usual + reach, (pens.band, "band"))
            upper.stroke(x, usual, usual, (pens.usual, "usual"))
            upper.stroke(x, min(s.value for s in column), max(s.value for s in column), (pens.value, "value"))
    unit = found.subject.unit or ""
    labels = {0: f"{high:.5g}", ROWS - 1: f"{low:.5g}", ROWS // 2: unit[: MARGIN - 2]}
    yield from upper.lines(labels, pens, colour=colour)
    yield f"{'':{MARGIN - 1}}{pens.edge}"
    lower = _Panel(0.0, 2 * found.budget, LOWER_ROWS, len(columns))
    lower.level(found.budget, (pens.limit, "limit"))
    for x, column in enumerate(columns):
        if column:
            rare = max(s.decades for s in column)
            lower.stroke(x, 0.0, rare, (pens.rare, "alarm" if rare > found.budget else "rare"))
    yield from lower.lines({lower.row(found.budget): "alarm", LOWER_ROWS - 1: "usual"}, pens, colour=colour)
    yield _times(seen, width)
    words = f"{pens.value} value  {pens.usual} usual  {pens.band} three sigma  {pens.limit} limit  {pens.rare} how rare"
    yield from _wrapped(words.split("  "), width)


def sparkline(values: Sequence[float], width: int, bars: str = BARS) -> str:
    """Return the newest values as a row of bars, from the least to the greatest of them."""
    newest = list(values)[-width:]
    if not newest:
        return ""
    low, high = min(newest), max(newest)
    scale = (len(bars) - 1) / (high - low) if high > low else 0.0
    return "".join(bars[round((value - low) * scale)] for value in newest)


class _Panel:
    """Cells over a range of values."""

    def __init__(self, low: float, high: float, rows: int, columns: int) -> None:
        self._low, self._per = low, (rows - 1) / ((high - low) or 1.0)
        self._rows = rows
        self._cells: list[list[Cell]] = [[(" ", "")] * columns for _ in range(rows)]

    def row(self, value: float) -> int:
        """Return the row of a value; beyond an edge, the edge."""
        return self._rows - 1 - round(min(self._rows - 1, max(0.0, (value - self._low) * self._per)))

    def stroke(self, x: int, low: float, high: float, cell: Cell) -> None:
        """Draw from one value to another."""
        for y in range(self.row(high), self.row(low) + 1):
            self._cells[y][x] = cell

    def level(self, value: float, cell: Cell) -> None:
        """Draw a line across."""
        self._cells[self.row(value)] = [cell] * len(self._cells[0])

    def lines(self, labels: dict[int, str], pens: Pens, *, colour: bool) -> Iterator[str]:
        """Give the lines, with what stands beside some of them."""
        for y, row in enumerate(self._cells):
            runs = [
                (what, "".join(pen for pen, _ in run)) for what, run in itertools.groupby(row, key=lambda cell: cell[1])
            ]
            drawn = "".join(_inked(what, text) if colour else text for what, text in runs)
            yield f"{labels.get(y, ''):>{MARGIN - 2}} {pens.edge}{drawn.rstrip()}"


def _inked(what: str, text: str) -> str:
    code = _COLOURS.get(what)
    return f"\033[{code}m{text}\033[0m" if code else text


def _columns(seen: Sequence[Seen], count: int) -> list[list[Seen]]:
    first, last = seen[0].at_ms, seen[-1].at_ms
    found: list[list[Seen]] = [[] for _ in range(count)]
    for each in seen:
        found[int((each.at_ms - first) * (count - 1) / max(1, last - first))].append(each)
    return found


def _times(seen: Sequence[Seen], width: int) -> str:
    first, last = iso_utc(seen[0].at_ms), iso_utc(seen[-1].at_ms)
    same_day = first[:10] == last[:10]
    left, right = (t[11:19] if same_day else t[5:16].replace("T", " ") for t in (first, last))
    return f"{'':{MARGIN}}{left}{right + ' UTC':>{max(1, width - MARGIN - len(left))}}"


def _wrapped(words: Sequence[str], width: int) -> Iterator[str]:
    line = " " * (MARGIN - 2)
    for word in words:
        if len(line) + 2 + len(word) > width:
            yield line
            line = " " * (MARGIN - 2)
        line += "  " + word
    yield line
