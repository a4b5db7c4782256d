"""Messages in JSON to values, by path. What a message may cost is bounded before it is parsed.

A path is a subset of JSONPath: `$`, `$.ENERGY.Power`, `$.list[0]`, `$['odd key']`. A payload is a JSON document, or
plain text (such as `Online`) for the path `$`; text that begins like a document must be one.
"""

import enum
import json
import math
import re
from typing import Any, Final, NoReturn

from edge_agent.model.errors import WireError
from edge_agent.model.profile import PathPoint
from edge_agent.model.reading import GOOD, bad
from edge_agent.twin.codec import Decoded, in_range

MAX_BYTES = 64 * 1024
MAX_DEPTH = 16
MAX_ELEMENTS = 10_000
"""Members of objects and items of lists in one message."""
MAX_TEXT = 256
"""Characters of a text value: what the twin takes."""

Json = dict[str, Any] | list[Any] | str | float | int | bool | None
Path = tuple[str | int, ...]
"""The keys and indexes from the whole message down to a value."""

_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(0|[1-9][0-9]{0,4})\]|\['([^'\\]+)'\]")
_MARKS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
"""A string as a whole, or what opens, closes and separates. Possessive, so that no text makes it go back."""
_INT_DIGITS = 20
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
"""What fits 64 bits, signed or not: the whole numbers of the canonical form."""


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
    text, true or false; identity is a number or text. null is a device that says it has no value.
    """
    if found is None:
        return None, bad("sentinel")
    named = point.kind == "state" or point.identity is not None
    if isinstance(found, str) and named:
        usable = len(found) <= MAX_TEXT and found.isprintable()
        return (found, GOOD) if usable else (None, bad("garbage"))
    if isinstance(found, bool) and point.kind == "state":
        return found, GOOD
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        return in_range(found if named else float(found), point.range)
    return None, bad("type")


def parse_message(payload: bytes) -> Json:
    """Return what a message says. Raises WireError when it is no message or more than it may be."""
    if not 0 < len(payload) <= MAX_BYTES:
        raise WireError(f"message: got {len(payload)} bytes, wanted 1 to {MAX_BYTES}")
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise WireError(f"message: got bytes that are not UTF-8: {error.reason} at {error.start}") from error
    _check_size(text)
    try:
        return _DECODER.decode(text)  # type: ignore[no-any-return]
    except json.JSONDecodeError as error:
        if text.lstrip()[:1] in tuple('{["') or not text.isprintable():
            raise WireError(f"message: got broken JSON: {error.msg} at {error.pos}") from error
        return text


def _check_size(text: str) -> None:
    """Refuse, in one pass over the text and before anything is built from it, what is too deep or too much."""
    depth = elements = 0
    for mark in _MARKS.findall(text):
        if mark in ("[", "{"):
            depth += 1
            elements += 1
        elif mark in ("]", "}"):
            depth -= 1
        elif mark == ",":
            elements += 1
        if depth > MAX_DEPTH:
            raise WireError(f"message: got more than {MAX_DEPTH} levels")
        if elements > MAX_ELEMENTS:
            raise WireError(f"message: got more than {MAX_ELEMENTS} elements")


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise WireError("message: got a key twice in one object")
    return found


def _int(digits: str) -> int:
    # Counted first: turning a million digits into a number takes minutes.
    if len(digits.lstrip("-")) <= _INT_DIGITS and _INT_MIN <= (found := int(digits)) <= _INT_MAX:
        return found
    raise WireError(f"message: got a whole number of {len(digits)} digits, wanted one that fits 64 bits")


def _float(digits: str) -> float:
    found = float(digits)
    if not math.isfinite(found):
        raise WireError("message: got a number that is not finite")
    return found


def _constant(name: str) -> NoReturn:
    raise WireError(f"message: got {name}, wanted a finite number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant, strict=True
)
