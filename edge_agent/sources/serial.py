"""A device that talks on a serial port by itself: lines, frames of bytes, NMEA sentences, DSMR telegrams.

The port is opened exclusively and never blocks: the event loop says when there are bytes. A frame is dated when its
last byte arrived, also when it was found only later, behind a false start; a value with a time of its own by that.
What is no frame, or not understood, is counted in `dropped` and otherwise ignored; when nobody reads, the oldest
frames go. Where the profile says so, the device is asked from time to time; nothing else is ever sent.
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
from edge_agent.model.profile import FieldPoint, FramePoint, ObisPoint, SentencePoint, SerialAsk
from edge_agent.model.reading import GOOD, Anchor, Instant, Reading, Value, bad
from edge_agent.model.site import SerialSettings, Source
from edge_agent.sources import Clock, Link, Poll
from edge_agent.twin.dating import Dating
from edge_agent.twin.frames import Fault, Found
from edge_agent.twin.framing import framer, wrong_framing
from edge_agent.twin.spoken import Said, excerpt, hearer, wrong_point

_FRAMES = 1000
"""Frames that wait to be read: a minute of a device that says sixteen things a second."""
_CHUNK = 4096
_CHUNKS = 8192
"""Chunks whose time is remembered: more than bytes of the longest frame, each of which might come alone."""
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
        problems += wrong_framing(source.framing, f"sources.{source.name}.framing")
        for point in _points(source):
            problems += wrong_point(source.framing, point, f"sources.{source.name}.points.{point.name}")
        if port is None:
            continue
        owner = owners.setdefault(port.path, source.name)
        if owner != source.name:
            problems.append(Problem(place, f"{shown(port.path)}, the port of {owner}", "a port of its own"))
        if not problems:
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
        self._settings, self._framing, self._now, self._stale_s = port, source.framing, now, stale_s
        self._asks = [ask for ask in source.asks if isinstance(ask, SerialAsk)]
        self._hear = hearer(source.framing, _points(source))
        self._dating = Dating()
        self._serial: Serial | None = None
        self._framer = framer(self._framing)
        self._frames: deque[tuple[bytes, Instant]] = deque()
        self._arrivals: deque[tuple[int, Instant]] = deque(maxlen=_CHUNKS)
        """How many bytes had come, and when."""
        self._received = 0
        self._settled_s = 0.0
        self._silence: asyncio.TimerHandle | None = None
        self._asking: set[asyncio.TimerHandle] = set()
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
        self._framer = framer(self._framing)
        self._arrivals.clear()
        self._received = 0
        self._loss = ""
        loop = asyncio.get_running_loop()
        self._settled_s = loop.time() + self._framing.settle
        self._await_silence()
        for ask in self._asks:
            self._ask_in(self._framing.settle, ask)
        loop.add_reader(self._serial.fileno(), self._readable)

    async def read(self, poll: Poll) -> list[Reading]:
        """Wait for the next frames that tell of a point, and return what they said. Raises LinkError."""
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
        self._frames.clear()

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
        self._await_silence()
        if asyncio.get_running_loop().time() < self._settled_s:
            return
        self._received += len(received)
        self._arrivals.append((self._received, self._now()))
        self._take(self._framer.feed(received))

    def _await_silence(self) -> None:
        """Have the framer told when nothing more comes for a gap.

        The event loop takes bytes that are there before timers that are due, so that a busy machine makes no silence.
        """
        if self._silence is not None:
            self._silence.cancel()
        if self._framing.gap is not None:
            self._silence = asyncio.get_running_loop().call_later(self._framing.gap, self._quiet)

    def _quiet(self) -> None:
        self._take(self._framer.quiet())

    def _take(self, found: Found) -> None:
        for each in found:
            if isinstance(each, Fault):
                self.dropped[each.reason] += 1
            else:
                self._frames.append((each.data, self._came(each.ends)))
        while len(self._frames) > _FRAMES:
            self._frames.popleft()
            self.dropped["nobody read"] += 1
        self._news.set()

    def _came(self, ends: int) -> Instant:
        """Return when the byte came that ended a frame."""
        while self._arrivals[0][0] < ends:
            self._arrivals.popleft()
        return self._arrivals[0][1]

    def _ask_in(self, delay_s: float, ask: SerialAsk) -> None:
        def due() -> None:
            self._asking.discard(handle)
            self._ask(ask)
            self._ask_in(ask.every, ask)

        handle = asyncio.get_running_loop().call_later(delay_s, due)
        self._asking.add(handle)

    def _ask(self, ask: SerialAsk) -> None:
        assert self._serial is not None
        try:
            sent = os.write(self._serial.fileno(), ask.send)
        except OSError:  # also when the device takes nothing: it is never waited for
            sent = 0
        if sent != len(ask.send):
            self.dropped["not asked"] += 1

    def _lose(self, reason: str) -> None:
        for timer in (self._silence, *self._asking):
            if timer is not None:
                timer.cancel()
        self._silence = None
        self._asking.clear()
        if self._serial is not None:
            asyncio.get_running_loop().remove_reader(self._serial.fileno())
            self._serial.close()
            self._serial = None
        self._loss = reason
        self._news.set()

    def _taken(self, source: str) -> list[Reading]:
        """Take all frames that wait, and return what they say of points."""
        readings: list[Reading] = []
        while self._frames:
            frame, at = self._frames.popleft()
            try:
                heard = self._hear(frame)
            except WireError:
                self.dropped["not understood"] += 1
                continue
            anchor = Anchor(source, excerpt(self._framing, frame), at)
            readings += [reading for said in heard for reading in self._dated(said, anchor)]
        return readings

    def _dated(self, said: Said, anchor: Anchor) -> list[Reading]:
        """Return what was said as a reading of the time at which it was true; nothing when it was known."""
        name = said.point.name
        if said.own_ms is None or not isinstance(said.point, ObisPoint):
            return [Reading(anchor, name, said.value, said.quality)]
        date = self._dating.date(name, said.own_ms, anchor.at, said.point.fresh_for)
        if date.verdict == "older":
            self.dropped["older than known"] += 1
        if date.verdict == "new":
            quality = date.quality if said.quality == GOOD else said.quality
            return [Reading(Anchor(anchor.source, anchor.detail, date.at), name, said.value, quality)]
        return [] if date.quality == GOOD else [Reading(anchor, name, None, bad("stale"))]


def _points(source: Source) -> list[FieldPoint | FramePoint | SentencePoint | ObisPoint]:
    return [p for p in source.points if isinstance(p, (FieldPoint, FramePoint, SentencePoint, ObisPoint))]
