"""JSON from outside, strictly.

What it may cost is bounded before it is parsed, and what two readers might understand differently (a key twice, NaN,
a number that does not fit) is refused.
"""

import json
import math
import re
from typing import Any, NoReturn

from edge_agent.model.errors import WireError

MAX_DEPTH = 16
MAX_ELEMENTS = 10_000
"""Members of objects and items of lists in one document."""

Json = dict[str, Any] | list[Any] | str | float | int | bool | None

_MARKS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
"""A string as a whole, or what opens, closes and separates. Possessive, so that no text makes it go back."""
_INT_DIGITS = 20
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
"""What fits 64 bits, signed or not: the whole numbers of the canonical form."""


def decode_text(data: bytes, what: str, max_bytes: int) -> str:
    """Return the text of bytes from outside. Raises WireError, naming `what`, when they are too many or no UTF-8."""
    if not 0 < len(data) <= max_bytes:
        raise WireError(f"{what}: got {len(data)} bytes, wanted 1 to {max_bytes}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WireError(f"{what}: got bytes that are not UTF-8: {error.reason} at {error.start}") from error


def parse_json(text: str, what: str) -> Json:
    """Return what a JSON document says. Raises WireError, naming `what`, when it is none or more than it may be."""
    _check_size(text, what)
    try:
        return _DECODER.decode(text)  # type: ignore[no-any-return]
    except json.JSONDecodeError as error:
        raise WireError(f"{what}: got broken JSON: {error.msg} at {error.pos}") from error
    except _RefusedError as error:
        raise WireError(f"{what}: got {error}") from error


class _RefusedError(Exception):
    """Valid JSON that is not taken."""


def _check_size(text: str, what: str) -> None:
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
            raise WireError(f"{what}: got more than {MAX_DEPTH} levels")
        if elements > MAX_ELEMENTS:
            raise WireError(f"{what}: got more than {MAX_ELEMENTS} elements")


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise _RefusedError("a key twice in one object")
    return found


def _int(digits: str) -> int:
    # Counted first: turning a million digits into a number takes minutes.
    if len(digits.lstrip("-")) <= _INT_DIGITS and _INT_MIN <= (found := int(digits)) <= _INT_MAX:
        return found
    raise _RefusedError(f"a whole number of {len(digits)} digits, wanted one that fits 64 bits")


def _float(digits: str) -> float:
    found = float(digits)
    if not math.isfinite(found):
        raise _RefusedError("a number that is not finite")
    return found


def _constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name}, wanted a finite number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant, strict=True
)
