"""Lines of the CSV convention to values.

The convention for a microcontroller with a few sensors: `name,value[,value…]`, and once in a while
`#id,<sketch>,<version>` (read as values of the name `#id`).
"""

import re
from typing import NamedTuple

from edge_agent.model.errors import WireError
from edge_agent.model.profile import FieldPoint, PointBase
from edge_agent.model.reading import GOOD, bad
from edge_agent.twin.codec import Decoded, in_range
from edge_agent.twin.frames import EXCERPT

_MAX_VALUES = 64
"""Values of a line: one for each index that a point may have."""
MAX_TEXT = 256
"""Characters of a text value: what the twin takes."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity|ovf)", re.IGNORECASE)
"""What printf writes for numbers that are none, and Arduino's `Print` for one too large."""


class Line(NamedTuple):
    """A line of the convention, in words: `name,value[,value…]`."""

    name: str
    values: tuple[str, ...]


def parse_line(text: str) -> Line:
    """Return name and values of a line. Raises WireError when it has no name, no value or too many of them."""
    name, *values = (part.strip() for part in text.split(",", _MAX_VALUES + 1))
    if not name or not 1 <= len(values) <= _MAX_VALUES:
        raise WireError(f'line: got "{text[:EXCERPT]}", wanted name,value[,value…]')
    return Line(name, tuple(values))


def field_value(point: FieldPoint, line: Line) -> Decoded:
    """Return (value, quality) of a point in a line of its name."""
    return written_value(point, line.values[point.index] if point.index < len(line.values) else "")


def written_value(point: PointBase, text: str) -> Decoded:
    """Return (value, quality) of a point that is written as text.

    Gauges and counters are numbers, always as floats, since a device prints 21.0 as it likes; a state is a number
    if it looks like one and text otherwise; identity is text.
    """
    if not text:
        return None, bad("missing")
    if len(text) > MAX_TEXT or not text.isprintable():
        return None, bad("garbage")
    if point.identity is not None:
        return text, GOOD
    number = written_number(text)
    if number is not None:
        return in_range(number, point.range)
    if _NOT_FINITE.fullmatch(text):
        return None, bad("nan")
    return (text, GOOD) if point.kind == "state" else (None, bad("type"))


def written_number(text: str) -> float | None:
    """Return the number that text writes, which may be too large to be finite; None when it writes none."""
    return float(text) if _NUMBER.fullmatch(text) else None
