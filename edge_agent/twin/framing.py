"""Bytes of a serial port to frames, and lines of the CSV convention to values. Bytes in, frames out; no port here.

The stream may begin anywhere and break anywhere: the same bytes give the same frames however they are cut up, and
half a line is never a frame. What is not a frame is a `Fault` with its reason, for the counters:

    partial    the line under way when the port was opened, without a checksum that would vouch for it
    length     longer than the longest frame; dropped up to the next line end
    garbage    not printable ASCII
    checksum   missing, or not the exclusive or of the bytes before `*`

The convention for a microcontroller with a few sensors: `name,value[,value…]`, and once in a while
`#id,<sketch>,<version>` (read as values of the name `#id`).
"""

import functools
import operator
import re
from typing import Final, NamedTuple

from edge_agent.model.errors import WireError
from edge_agent.model.framing import LineFraming
from edge_agent.model.profile import FieldPoint
from edge_agent.model.reading import GOOD, bad
from edge_agent.twin.codec import Decoded, in_range

EXCERPT: Final = 80
"""Characters of a line that are shown to a person."""
_MAX_VALUES = 64
"""Values of a line: one for each index that a point may have."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity|ovf)", re.IGNORECASE)
"""What printf writes for numbers that are none, and Arduino's `Print` for one too large."""


class Frame(NamedTuple):
    """One whole line, printable ASCII, without its line end and its checksum."""

    text: str


class Fault(NamedTuple):
    """Bytes that were dropped: why, and how they began, escaped, for a person."""

    reason: str
    excerpt: str


class LineFramer:
    """Finds the lines in what a port says, from the moment it was opened: one framer for each time it is."""

    def __init__(self, framing: LineFraming) -> None:
        self._framing = framing
        self._line = bytearray()
        self._skipping = framing.checksum == "none"
        """Whether the bytes up to the next line end are dropped."""
        self._first = self._skipping

    def feed(self, received: bytes) -> list[Frame | Fault]:
        """Return what became whole, in order. Keeps at most one unfinished line of `max_length` bytes."""
        found: list[Frame | Fault] = []
        *ended, rest = received.split(b"\n")
        for part in ended:
            self._append(part, found)
            self._end(found)
        self._append(rest, found)
        return found

    def _append(self, part: bytes, found: list[Frame | Fault]) -> None:
        if self._skipping:
            return
        self._line += part
        if len(self._line.removesuffix(b"\r")) > self._framing.max_length:
            found.append(self._fault("length", self._line))
            self._line.clear()
            self._skipping = True

    def _end(self, found: list[Frame | Fault]) -> None:
        line = bytes(self._line.removesuffix(b"\r"))
        self._line.clear()
        if self._first:
            found.append(Fault("partial", ""))
        elif line and not self._skipping:
            found.append(self._framed(line))
        self._first = self._skipping = False

    def _framed(self, line: bytes) -> Frame | Fault:
        body = line
        if self._framing.checksum == "xor":
            body, star, digits = line.rpartition(b"*")
            if not star or digits.upper() != b"%02X" % xor(body):
                return self._fault("checksum", line)
        text = body.decode("ascii", "replace")
        return Frame(text) if text.isascii() and text.isprintable() else self._fault("garbage", line)

    def _fault(self, reason: str, line: bytes | bytearray) -> Fault:
        # Cut at the longest frame too, so that a fault reads the same however its bytes were cut up.
        begin = line[: min(EXCERPT, self._framing.max_length)].decode("latin-1")
        return Fault(reason, begin.encode("unicode_escape").decode()[:EXCERPT])


class Line(NamedTuple):
    """A line of the convention, in words: `name,value[,value…]`."""

    name: str
    values: tuple[str, ...]


def xor(data: bytes) -> int:
    """Return the exclusive or of all bytes."""
    return functools.reduce(operator.xor, data, 0)


def parse_line(text: str) -> Line:
    """Return name and values of a line. Raises WireError when it has no name, no value or too many of them."""
    name, *values = (part.strip() for part in text.split(",", _MAX_VALUES + 1))
    if not name or not 1 <= len(values) <= _MAX_VALUES:
        raise WireError(f'line: got "{text[:EXCERPT]}", wanted name,value[,value…]')
    return Line(name, tuple(values))


def field_value(point: FieldPoint, line: Line) -> Decoded:
    """Return (value, quality) of a point in a line of its name.

    Gauges and counters are numbers, always as floats, since a device prints 21.0 as it likes; a state is a number
    if it looks like one and text otherwise; identity is text.
    """
    text = line.values[point.index] if point.index < len(line.values) else ""
    if not text:
        return None, bad("missing")
    if point.identity is not None:
        return text, GOOD
    if _NUMBER.fullmatch(text):
        return in_range(float(text), point.range)
    if _NOT_FINITE.fullmatch(text):
        return None, bad("nan")
    return (text, GOOD) if point.kind == "state" else (None, bad("type"))
