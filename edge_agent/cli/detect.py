"""Backtest the statistics on a series: CSV `timestamp,value` on standard input, one JSON line a row on standard output.

A timestamp is ISO 8601 (UTC when it names no zone) or seconds; an empty value, nan and inf are missing readings. Each
row is answered with `{"score": 0..1, "alarm": true|false, "kind": text|null}`: `alarm` is true in the row in which
something is noticed; `score` says how rare the row is, 0.5 where the budget draws the line, and 0 when another row of
its episode, the hundred before, was rarer. A row that cannot be read is answered too, with `"error"`, and told on
standard error. A header is not answered, nor is a line `#reset {json}`, which begins a new series, with other settings
if it gives any. Rows are answered as they come, in batches when several wait.

The settings may also stand in the environment variable DRIFT_META, as one JSON object of their names: budget_samples,
interval_s, season_s, warmup_samples, lo, hi. Exit code 1 when a row could not be read.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_agent.judge.monitor import Monitor
from edge_agent.judge.subject import Subject
from edge_agent.model.checked import Name, Seconds, close_match, shown
from edge_agent.model.errors import ConfigError, Problem
from edge_agent.model.profile import PathPoint
from edge_agent.model.site import DriftSettings
from edge_agent.model.world import Variable

EXAMPLE = "edge-agent detect --budget-samples 8640 < bearing_temp.csv | grep '\"alarm\":true'"

CHUNK = 1 << 18
"""Bytes read at once at most: some ten thousand rows."""
LONGEST_LINE = 4096
PROGRESS_EVERY_S = 0.25
FIELDS = 2
MOST_TOLD = 20
"""Rows that cannot be read of which each is told; the rest are counted."""
ODD_STEP_S = 1.0
"""Between numbers that count rows; with another interval they are taken as such."""


class Meta_(msgspec.Struct, frozen=True, kw_only=True):  # noqa: N801 - Meta is msgspec's
    """The settings of a series."""

    budget_samples: Annotated[float, Meta(gt=0)] = 8640.0
    interval_s: Annotated[float, Meta(gt=0)] | None = None
    season_s: Annotated[float, Meta(ge=0)] = 86400.0
    warmup_samples: Annotated[int, Meta(ge=20, le=100_000)] = 120
    lo: float | None = None
    hi: float | None = None


NAMES = tuple(field.name for field in msgspec.structs.fields(Meta_))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `detect` takes."""
    parser.add_argument("--budget-samples", type=float, help="at most one false alarm in so many rows (8640)")
    parser.add_argument("--interval-s", type=float, help="seconds between two rows, where the timestamps do not tell")
    parser.add_argument("--season-s", type=float, help="the period in which the series repeats itself; 0: none (86400)")
    parser.add_argument("--warmup-samples", type=int, help="rows before there is an opinion, from 20 on (120)")
    parser.add_argument("--lo", type=float, help="a value below it is an alarm")
    parser.add_argument("--hi", type=float, help="a value above it is an alarm")


def run(args: argparse.Namespace) -> int:
    """Answer each row; 1 when some could not be read."""
    base: dict[str, object] = {}
    if "DRIFT_META" in os.environ:
        base = _object(os.environ["DRIFT_META"], "DRIFT_META")
    base |= {name: getattr(args, name) for name in NAMES if getattr(args, name) is not None}
    series = Series(_meta(base, "settings"))
    answers, progress = _Answers(base), _Progress()
    for lines in _batches():
        out: list[str] = []
        for line in lines:
            series = answers.add(line, series, out)
        sys.stdout.write("".join(out))
        sys.stdout.flush()
        progress.show(answers.rows)
    progress.end(answers.rows)
    if answers.bad > MOST_TOLD:
        print(f"edge-agent detect: {answers.bad} rows in all could not be read", file=sys.stderr)
    return 1 if answers.bad else 0


class _Answers:
    """What is said to each line. `base` are the settings that each new series begins with."""

    def __init__(self, base: dict[str, object]) -> None:
        self._base = base
        self._line = 0
        self._may_be_header = True
        self.rows = 0
        self.bad = 0

    def add(self, line: bytes, series: "Series", out: list[str]) -> "Series":
        """Add the answer to a line, if it wants one; return the series that goes on."""
        self._line += 1
        if line.startswith(b"#reset"):
            self._may_be_header = True
            given = line.removeprefix(b"#reset").strip().decode(errors="replace")
            return Series(_meta(self._base | (_object(given, self._where) if given else {}), self._where))
        if self._may_be_header:
            self._may_be_header = False
            if line.lstrip(b'"\xef\xbb\xbf').lower().startswith((b"timestamp", b"time,", b"date")):
                return series
        self.rows += 1
        try:
            out.append(series.answer(line))
        except ValueError as error:
            self.bad += 1
            text = f"{self._where}: {error}"
            if self.bad <= MOST_TOLD:
                print(f"edge-agent detect: {text}", file=sys.stderr)
            out.append(json.dumps({"score": 0.0, "alarm": False, "kind": None, "error": text}) + "\n")
        return series

    @property
    def _where(self) -> str:
        return f"line {self._line}"


class Series:
    """One series under the eyes of one monitor."""

    def __init__(self, meta: Meta_) -> None:
        interval_s = meta.interval_s
        point = PathPoint(name=Name("value"), path="$", alarm_above=meta.hi, alarm_below=meta.lo)
        variable = Variable(1, "detect:series:series", "value", None, "gauge", "stdin")
        settings = DriftSettings(warmup=meta.warmup_samples, season=Seconds(meta.season_s))
        self._monitor = Monitor(Subject(variable, point), settings, budget_readings=meta.budget_samples)
        self._interval_s = interval_s
        self._first_s: float | None = None
        self._scale = 1.0
        self._rows = 0

    def answer(self, line: bytes) -> str:
        """Return the answer to a row. Raises ValueError with what is wrong with it."""
        if len(line) > LONGEST_LINE:
            raise ValueError(f"got {len(line)} bytes, wanted a row timestamp,value")
        text = line.decode(errors="replace").strip()
        fields = text.split(",")
        if len(fields) != FIELDS:
            raise ValueError(f"got {shown(text)}, wanted a row timestamp,value")
        value = _value(fields[1])
        at_ms = int(self._seconds(fields[0]) * 1000)
        monitor = self._monitor
        alarm = monitor.missed(at_ms) if value is None else monitor.update(value, at_ms * 1_000_000, at_ms)
        if alarm is None:
            return f'{{"score":{monitor.score:.6g},"alarm":false,"kind":null}}\n'
        return f'{{"score":{monitor.score:.6g},"alarm":true,"kind":"{alarm.kind}"}}\n'

    def _seconds(self, text: str) -> float:
        """Return when a row is from. Numbers that count rows are multiplied by the interval that was given."""
        self._rows += 1
        stamp = text.strip().strip('"')
        if not stamp and self._interval_s is not None:
            return (self._rows - 1) * self._interval_s
        try:
            seconds = float(stamp)
        except ValueError:
            return _iso(stamp)
        if not abs(seconds) < 1e12:  # noqa: PLR2004 - as far as a date goes
            raise ValueError(f"got {shown(stamp)}, wanted a timestamp: ISO 8601, or seconds")
        if self._first_s is None:
            self._first_s = seconds
        elif self._rows == 2 and self._interval_s and seconds - self._first_s == ODD_STEP_S:  # noqa: PLR2004 - the second
            self._scale = self._interval_s
        return seconds * self._scale


def _value(text: str) -> float | None:
    value = text.strip().strip('"')
    if not value:
        return None
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"got {shown(value)}, wanted a number, or nothing for a missing one") from None
    return number if math.isfinite(number) else None


def _iso(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"got {shown(text)}, wanted a timestamp: ISO 8601, or seconds") from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _batches() -> Iterator[list[bytes]]:
    """Give the lines that wait, without waiting for more; the last may lack its end."""
    rest = b""
    while chunk := os.read(0, CHUNK):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        if lines:
            yield lines
    if rest:
        yield [rest]


def _object(text: str, where: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError([Problem(where, shown(text), f"one JSON object of {', '.join(NAMES)}")])
    return found


def _meta(given: dict[str, object], where: str) -> Meta_:
    for name in given:
        if name not in NAMES:
            print(
                f"edge-agent detect: {where}: {shown(name)} is passed over {close_match(name, NAMES)}", file=sys.stderr
            )
    try:
        known = {name: value for name, value in given.items() if name in NAMES and value is not None}
        return msgspec.convert(known, Meta_)
    except msgspec.ValidationError as error:
        raise ConfigError([Problem(where, shown(json.dumps(given)), str(error))]) from error


class _Progress:
    """How many rows there were, on a terminal."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty() and not sys.stdout.isatty()
        self._began = self._told = time.monotonic()

    def show(self, rows: int) -> None:
        now = time.monotonic()
        if self._shows and now - self._told >= PROGRESS_EVERY_S:
            self._told = now
            print(f"\r{rows} rows, {rows / (now - self._began):.0f} a second", end="", file=sys.stderr, flush=True)

    def end(self, rows: int) -> None:
        if self._shows:
            self.show(rows)
            print(f"\r{rows} rows" + " " * 24, file=sys.stderr)
