"""A CSV file, played back: at the speed at which it was recorded, faster, or as fast as it is taken.

The first row names the columns. Every reading is dated by its row, on both clocks, so that the statistics see the
intervals that were recorded; played faster, the file's time runs ahead of the gateway's. A row that cannot be read is
named once and counted, an empty cell says nothing. At the end the values grow stale, or the file begins anew with its
times moved on.
"""

import asyncio
import contextlib
import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from edge_agent.model.checked import close_match, shown
from edge_agent.model.errors import ConfigError, LinkError, Problem, TrustError, WireError
from edge_agent.model.profile import ColumnPoint
from edge_agent.model.reading import Anchor, Instant, Reading, Value
from edge_agent.model.site import FileSettings, Source
from edge_agent.sources import Clock, Link, Poll
from edge_agent.twin.civil import iso_ms
from edge_agent.twin.lines import written_number, written_value

_MAX_ROW = 64 * 1024
"""Characters of the longest row."""
_BATCH = 1000
"""Values that are brought at once at full speed."""
_PAUSE_S = 0.05
"""Between two of those: 20 000 values a second, of which the inbox holds two seconds."""
_STEP_MS = 1000
"""Between the last row and the first one again, when the file has one row only."""
_END_MS = 253_402_300_800_000
"""The year 10000."""


def links(sources: Sequence[Source], now: Clock) -> list[Link]:
    """Return one link for each source. Raises ConfigError with all that is wrong, columns that are not there too."""
    problems: list[Problem] = []
    found: list[Link] = []
    for source in sources:
        assert isinstance(source.settings, FileSettings)
        problems += _wrong_columns(source, source.settings)
        found.append(Playback(source, source.settings, now))
    if problems:
        raise ConfigError(problems)
    return found


def _wrong_columns(source: Source, settings: FileSettings) -> Iterator[Problem]:
    place = f"sources.{source.name}"
    try:
        with contextlib.closing(_Table(settings.path)) as table:
            columns = table.columns
    except (OSError, WireError) as error:
        yield Problem(f"{place}.path", str(error), "a CSV file")
        return
    wanted = [(f"{place}.time_column", settings.time_column)]
    wanted += [(f"{place}.points.{p.name}.column", p.column) for p in source.points if isinstance(p, ColumnPoint)]
    for where, column in wanted:
        if column not in columns:
            known = "one of the columns " + ", ".join(map(shown, columns[:20]))
            yield Problem(where, shown(column), known, close_match(column, columns))


class _Table:
    """The rows of an open file. Raises OSError and WireError; after either the next row can be read."""

    def __init__(self, path: str) -> None:
        # A byte that is no UTF-8 spoils its cell, not the file; spreadsheets put a byte-order mark in front.
        self._file = Path(path).open(encoding="utf-8-sig", errors="replace", newline="")  # noqa: SIM115 - see close
        self.number = 0
        """Of the line that was read last."""
        try:
            self.columns = self.next_row() or []
        except WireError:
            self.close()
            raise
        self._first = self._file.tell()

    def next_row(self) -> list[str] | None:
        """Return the cells of the next line that has any, None at the end."""
        while line := self._file.readline(_MAX_ROW):
            self.number += 1
            if len(line) == _MAX_ROW and not line.endswith("\n"):
                while (rest := self._file.readline(_MAX_ROW)) and not rest.endswith("\n"):
                    pass
                raise WireError(f"row {self.number}: got more than {_MAX_ROW} characters")
            try:
                cells = next(csv.reader([line], strict=True), [])
            except csv.Error as error:
                raise WireError(f"row {self.number}: got {shown(line.strip())}: {error}") from error
            if cells:
                return [cell.strip() for cell in cells]
        return None

    def rewind(self) -> None:
        """Go back to the first row."""
        self._file.seek(self._first)
        self.number = 1

    def close(self) -> None:
        self._file.close()


class _Row(NamedTuple):
    number: int
    at_ms: int
    cells: list[str]


class Playback:
    """One file and where it is played."""

    def __init__(self, source: Source, settings: FileSettings, now: Clock) -> None:
        self.bus = f"file://{settings.path}"
        self.polls: Sequence[Poll] = [
            Poll(
                source=source.name,
                unit=settings.path,
                points=tuple(point.name for point in source.points),
                period_s=None,
                timeout_s=settings.stale_after,
                detail=settings.path,
            )
        ]
        self.dropped: Counter[str] = Counter()
        """What was passed over, by reason."""
        self._settings, self._now = settings, now
        self._points = [point for point in source.points if isinstance(point, ColumnPoint)]
        self._table: _Table | None = None
        self._next: _Row | None = None
        self._places: list[tuple[ColumnPoint, int]] = []
        self._time_at = 0
        self._began: tuple[int, Instant, float] | None = None
        """The time of the first row that was played, and when that was."""
        self._played: tuple[int, int] | None = None
        """The times of the first row and of the last one played."""
        self._played_row = 0
        self._moved_ms = 0
        """By how much the file's times are moved on."""

    async def open(self) -> None:
        """Open the file. What was played before the link was lost is not played again. Raises LinkError."""
        await self.close()
        try:
            self._table = _Table(self._settings.path)
            columns = self._table.columns
            self._time_at = columns.index(self._settings.time_column)
            self._places = [(point, columns.index(point.column)) for point in self._points]
            while self._table.number < self._played_row:
                with contextlib.suppress(WireError):
                    if self._table.next_row() is None:
                        break
        except (OSError, ValueError, WireError) as error:
            raise LinkError(f"{self.bus}: {error}") from error

    async def read(self, poll: Poll) -> list[Reading]:
        """Wait until the next row is due and return what it says. Raises LinkError, or WireError of a row."""
        if self._table is None:
            raise LinkError(f"{self.bus}: not open")
        if self._settings.speed == "full":
            await asyncio.sleep(_PAUSE_S)
        readings: list[Reading] = []
        while not readings or (self._settings.speed == "full" and len(readings) < _BATCH):
            row = self._row(self._table, alone=not readings)
            if row is None:
                if readings:
                    break
                await asyncio.Event().wait()  # the end: nothing more comes, until whoever reads gives up
                continue
            await self._due(row)
            self._next = None
            readings += self._said(poll, row)
        return readings

    async def write(self, source: str, point: str, value: Value, hold_s: float | None = None) -> None:  # noqa: ARG002 - the contract's
        """Refuse. Raises TrustError: what was recorded cannot be changed."""
        raise TrustError(f"{source}.{point}: got a write of {shown(value)} to a file that is played back")

    async def close(self) -> None:
        """Let go of the file; may be called when it is not open."""
        table, self._table = self._table, None
        self._next = None
        if table is not None:
            table.close()

    def _row(self, table: _Table, *, alone: bool) -> _Row | None:
        """Return the next row to be played, None at the end. Raises WireError, when `alone`, of one that is none."""
        while self._next is None:
            try:
                cells = table.next_row()
                if cells is not None:
                    self._next = self._timed(table.number, cells)
                elif self._settings.at_end == "stop" or self._played is None or not self._again(table):
                    return None
            except OSError as error:
                raise LinkError(f"{self.bus}: {error}") from error
            except WireError as error:
                self.dropped["row that cannot be read"] += 1
                if alone:
                    raise WireError(f"{self.bus}: {error}") from error
        return self._next

    def _again(self, table: _Table) -> bool:
        """Begin anew, a step after the last row; whether that leads anywhere."""
        assert self._played is not None
        first, last = self._played
        step = max(_STEP_MS, (last - first) // max(1, table.number - 2))
        table.rewind()
        self._moved_ms += last - first + step
        self._played, self._played_row = None, 0
        return True

    def _timed(self, number: int, cells: list[str]) -> _Row:
        text = cells[self._time_at] if self._time_at < len(cells) else ""
        at_ms = _time_ms(text, self._settings.time_form)
        if at_ms is None:
            wanted = {"iso": "a time in ISO 8601", "s": "seconds since 1970", "ms": "milliseconds since 1970"}
            raise WireError(f"row {number}: got {shown(text)}, wanted {wanted[self._settings.time_form]}")
        if self._played is not None and at_ms < self._played[1]:
            raise WireError(f"row {number}: got {shown(text)}, wanted a time that is not before that of the row above")
        return _Row(number, at_ms, cells)

    async def _due(self, row: _Row) -> None:
        """Wait until a row is due."""
        now_s = asyncio.get_running_loop().time()
        if self._began is None:
            self._began = (row.at_ms + self._moved_ms, self._now(), now_s)
        began_ms, _, began_s = self._began
        if self._settings.speed != "full":
            due_s = began_s + (row.at_ms + self._moved_ms - began_ms) / 1000 / self._settings.speed
            await asyncio.sleep(max(0.0, due_s - now_s))

    def _said(self, poll: Poll, row: _Row) -> list[Reading]:
        assert self._began is not None
        began_ms, began, _ = self._began
        at_ms = row.at_ms + self._moved_ms
        self._played_row = row.number
        self._played = (row.at_ms if self._played is None else self._played[0], row.at_ms)
        at = Instant(at_ms, began.mono_ns + (at_ms - began_ms) * 1_000_000, synced=True)
        anchor = Anchor(poll.source, f"row {row.number}", at)
        return [
            Reading(anchor, point.name, *written_value(point, row.cells[place]))
            for point, place in self._places
            if place < len(row.cells) and row.cells[place]
        ]


def _time_ms(text: str, form: str) -> int | None:
    if form == "iso":
        return iso_ms(text, zoneless=True)
    number = written_number(text)
    if number is None or not 0 <= number < _END_MS:
        return None
    return round(number if form == "ms" else number * 1000)
