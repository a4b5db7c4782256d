"""Messages in JSON to values, by path.

A path is a subset of JSONPath: `$`, `$.ENERGY.Power`, `$.list[0]`, `$['odd key']`. A payload is a JSON document, or
plain text (such as `Online`) for the path `$`; text that begins like a document must be one.
"""

import enum
import json
import re
from typing import Any, Final

from edge_agent.model.errors import WireError
from edge_agent.model.profile import PathPoint
from edge_agent.model.reading import GOOD, Value, bad
from edge_agent.model.strict_json import Json, decode_text, parse_json
from edge_agent.twin.civil import iso_ms
from edge_agent.twin.codec import Decoded
from edge_agent.twin.lines import MAX_TEXT
from edge_agent.twin.scale import scaled

MAX_BYTES = 64 * 1024

Path = tuple[str | int, ...]
"""The keys and indexes from the whole message down to a value."""

_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(0|[1-9][0-9]{0,4})\]|\['([^'\\]+)'\]")
_MS = 1e11
"""Numbers from here on are milliseconds since 1970 (until 1973), those below are seconds (until the year 5138)."""
_END_MS = 253_402_300_800_000
"""The year 10000."""


class Missing(enum.Enum):
    """What a message does not hold; `None` is JSON's null."""

    MISSING = enum.auto()


MISSING: Final = Missing.MISSING


def compile_path(text: str) -> Path:
    """Return the steps of a path. Raises ValueError when it is not one."""
    steps: list[str | int] = []
    at = 1
    while text[:1] == "$" and at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            break
        member, index, quoted = step.groups()
        steps.append(int(index) if index is not None else member or quoted)
        at = step.end()
    if text[:1] != "$" or at < len(text):
        raise ValueError("wanted a path such as $, $.a.b, $.list[0] or $['odd key']")
    return tuple(steps)


def find(path: Path, message: Json) -> Json | Missing:
    """Return what stands at the path, or MISSING."""
    found: Any = message
    for step in path:
        if isinstance(step, int):
            if not isinstance(found, list) or step >= len(found):
                return MISSING
        elif not isinstance(found, dict) or step not in found:
            return MISSING
        found = found[step]
    return found  # type: ignore[no-any-return]


def path_value(point: PathPoint, found: Json) -> Decoded:
    """Return (value, quality) of what stood at the path of a point.

    Gauges and counters are numbers, always as floats, since many a device writes 21.0 as 21; a state is a number,
    text, true or false; identity is a number or text. What the point lists under `values` is what it means there.
    null is a device that says it has no value.
    """
    if found is None:
        return None, bad("sentinel")
    if isinstance(found, (dict, list)):
        return None, bad("type")
    if point.values:
        said = found if isinstance(found, str) else json.dumps(found)
        return _value(point, point.values[said]) if said in point.values else (None, bad("unlisted"))
    return _value(point, found)


def _value(point: PathPoint, found: Value) -> Decoded:
    named = point.kind == "state" or point.identity is not None
    if isinstance(found, str) and named:
        usable = len(found) <= MAX_TEXT and found.isprintable()
        return (found, GOOD) if usable else (None, bad("garbage"))
    if isinstance(found, bool) and point.kind == "state":
        return found, GOOD
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        return scaled(found if named else float(found), point.scale, point.offset, point.range)
    return None, bad("type")


def parse_message(payload: bytes, max_bytes: int = MAX_BYTES) -> Json:
    """Return what a message says. Raises WireError when it is no message or more than it may be."""
    text = decode_text(payload, "message", max_bytes)
    try:
        return parse_json(text, "message")
    except WireError as error:
        plain = isinstance(error.__cause__, json.JSONDecodeError)
        if not plain or text.lstrip()[:1] in tuple('{["') or not text.isprintable():
            raise
        return text


def own_time_ms(path: Path, message: Json) -> int | None:
    """Return when a message says that it was true, in milliseconds since 1970; None when it does not say."""
    found = find(path, message)
    if isinstance(found, str):
        return iso_ms(found)
    if isinstance(found, (int, float)) and not isinstance(found, bool) and 0 <= found < _END_MS:
        return round(found if found >= _MS else found * 1000)
    return None
