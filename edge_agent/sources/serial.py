"""A device that talks on a serial port by itself, in lines `name,value[,value…]`.

The port is opened exclusively and never blocks: the event loop says when there are bytes, and a line is dated when
its end arrived. What is no line, or names nothing that was asked for, is counted in `dropped` and otherwise ignored;
when nobody reads, the oldest lines go.
"""

import asyncio
import os
import termios
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

import msgspec
from serial import Serial

from edge_agent.model.checked import close_match, shown
from edge_agent.model.errors import ConfigError, LinkError, Problem, TrustError, WireError
from edge_agent.model.framing import LineFraming
from edge_agent.model.profile import FieldPoint
from edge_agent.model.reading import Anchor, Instant, Reading, Value
from edge_agent.model.site import SerialSettings, Source
from edge_agent.sources import Clock, Link, Poll
from edge_agent.twin.framing import EXCERPT, Fault, LineFramer, field_value, parse_line

_LINES = 1000
"""Lines that wait to be read: a minute of a device that says sixteen things a second."""
_CHUNK = 4096
_OPTIONS: Mapping[str, tuple[str, Sequence[str]]] = {
    "baud": ("9600", [str(rate) for rate in Serial.BAUDRATES]),
    "bits": ("8", ["8", "7", "6", "5"]),
    "parity": ("N", ["N", "E", "O", "M", "S"]),
    "stop": ("1", ["1", "1.5", "2"]),
}
"""What may stand behind the `?` of a url: its default, and all that it may be."""


class _Port(msgspec.Struct, frozen=True):
    path: str
    baud: int
    bits: int
    parity: str
    stop: float


def links(sources: Sequence[Source], now: Clock) -> list[Link]:
    """Return one link for each source. Raises ConfigError with all that is wrong with the urls."""
    problems: list[Problem] = []
    owners: dict[str, str] = {}
    found: list[Link] = []
    for source in sources:
        assert isinstance(source.settings, SerialSettings)
        place = f"sources.{source.name}.url"
        port = _port(source.settings.url, place, problems)
        if not isinstance(source.framing, LineFraming):
            found_kind = f"the framing {source.framing.__struct_config__.tag}"
            problems.append(Problem(f"sources.{source.name}.framing", found_kind, "line, the only one served so far"))
            continue
        if port is None:
            continue
        owner = owners.setdefault(port.path, source.name)
        if owner != source.name:
            problems.append(Problem(place, f"{shown(port.path)}, the port of {owner}", "a port of its own"))
        found.append(SerialPort(source, port, source.settings.stale_after, now))
    if problems:
        raise ConfigError(problems)
    return found


def _port(url: str, place: str, problems: list[Problem]) -> _Port | None:
    parts = urlsplit(url)
    if parts.scheme != "serial" or parts.netloc or not parts.path.startswith("/") or parts.fragment:
        problems.append(Problem(place, shown(url), "serial:///dev/…[?baud=9600&bits=8&parity=N&stop=1]"))
        return None
    before = len(problems)
    chosen = {name: default for name, (default, _) in _OPTIONS.items()}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _OPTIONS:
            wanted = "one of " + ", ".join(_OPTIONS)
            problems.append(Problem(place, f"an unknown option {shown(name)}", wanted, close_match(name, _OPTIONS)))
        elif text not in _OPTIONS[name][1]:
            wanted = "one of " + ", ".join(_OPTIONS[name][1])
            problems.append(Problem(place, f"{name}={shown(text)}", wanted, close_match(text, _OPTIONS[name][1])))
        chosen[name] = text
    if len(problems) > before:
        return None
    return _Port(parts.path, int(chosen["baud"]), int(chosen["bits"]), chosen["parity"], float(chosen["stop"]))


class SerialPort:
    """The single owner of one port."""

    def __init__(self, source: Source, port: _Port, stale_s: float, now: Clock) -> None:
        self.bus = f"serial://{port.path}"
        self.polls: Sequence[Poll] = [
            Poll(
                source=source.name,
                unit=port.path,
                points=tuple(point.name for point in source.points),
                period_s=None,
                timeout_s=stale_s,
                detail=port.path,
            )
        ]
        self.dropped: Counter[str] = Counter()
        """What was ignored, by reason."""
        assert isinstance(source.framing, LineFraming)
        self._settings, self._framing, self._now = port, source.framing, now
        self._points: dict[str, list[FieldPoint]] = {}
        for point in source.points:
            if isinstance(point, FieldPoint):
                self._points.setdefault(point.field, []).append(point)
        self._serial: Serial | None = None
        self._framer = LineFramer(self._framing)
        self._lines: deque[tuple[str, Instant]] = deque()
        self._news = asyncio.Event()
        self._loss = "not open"
        """Why nothing more will come; empty while something may."""

    async def open(self) -> None:
        """Take the port. Raises LinkError, also when somebody else has it."""
        await self.close()
        port = self._settings
        try:
            self._serial = Serial(
                port.path, port.baud, port.bits, port.parity, port.stop, timeout=0, write_timeout=0, exclusive=True
            )
        except (OSError, termios.error, ValueError) as error:
            raise LinkError(f"{self.bus}: {error}") from error
        self._framer = LineFramer(self._framing)
        self._loss = ""
        asyncio.get_running_loop().add_reader(self._serial.fileno(), self._readable)

    async def read(self, poll: Poll) -> list[Reading]:
        """Wait for the next lines that tell of a point, and return what they said. Raises LinkError."""
        while not (readings := self._taken(poll.source)):
            if self._loss:
                raise LinkError(f"{self.bus}: {self._loss}")
            self._news.clear()
            await self._news.wait()
        return readings

    async def write(self, source: str, point: str, value: Value, hold_s: float | None = None) -> None:  # noqa: ARG002 - the contract's
        """Refuse. Raises TrustError: this kind of device is listened to only."""
        raise TrustError(f"{source}.{point}: got a write of {shown(value)} to a device that is only listened to")

    async def close(self) -> None:
        """Let go of the port; may be called when it is not open."""
        self._lose("not open")
        self._lines.clear()

    def _readable(self) -> None:
        assert self._serial is not None
        try:
            received = os.read(self._serial.fileno(), _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(str(error))
            return
        if not received:  # the port said that there was something: an adapter was pulled out
            self._lose("the device is gone")
            return
        at = self._now()
        for found in self._framer.feed(received):
            if isinstance(found, Fault):
                self.dropped[found.reason] += 1
            else:
                self._lines.append((found.text, at))
        while len(self._lines) > _LINES:
            self._lines.popleft()
            self.dropped["nobody read"] += 1
        self._news.set()

    def _lose(self, reason: str) -> None:
        if self._serial is not None:
            asyncio.get_running_loop().remove_reader(self._serial.fileno())
            self._serial.close()
            self._serial = None
        self._loss = reason
        self._news.set()

    def _taken(self, source: str) -> list[Reading]:
        """Take all lines that wait, and return what they say of points."""
        readings: list[Reading] = []
        while self._lines:
            text, at = self._lines.popleft()
            try:
                line = parse_line(text)
            except WireError:
                self.dropped["not name,value"] += 1
                continue
            points = self._points.get(line.name)
            if points is None:
                self.dropped["unknown name"] += 1
                continue
            anchor = Anchor(source, text[:EXCERPT], at)
            readings += [Reading(anchor, point.name, *field_value(point, line)) for point in points]
        return readings
