"""Device identification (function 2B/0E) as it comes: objects by number (Modbus Application Protocol 1.1b3, 6.21)."""

from typing import NamedTuple

from edge_agent.model.errors import WireError

_KIND = 0x0E
_HEAD = 6
"""Kind, access code, conformity, whether more follows, the next object, and how many there are."""
_LAST_BASIC, _LAST_REGULAR = 0x02, 0x7F


class Objects(NamedTuple):
    """What one answer brought."""

    texts: dict[int, bytes]
    following: int | None
    """The object to go on with; None when this was all."""


def access_code(number: int) -> int:
    """Return how a stream of objects that begins with this one is asked for: basic, regular or extended."""
    return 1 if number <= _LAST_BASIC else 2 if number <= _LAST_REGULAR else 3


def parse_objects(body: bytes, where: str) -> Objects:
    """Return the objects in an answer, from behind its function code. Raises WireError (mismatch)."""
    if len(body) < _HEAD or body[0] != _KIND:
        raise WireError(f"{where}: got {body[:8].hex() or 'nothing'}, wanted device identification", "mismatch")
    texts: dict[int, bytes] = {}
    at = _HEAD
    for _ in range(body[5]):
        end = at + 2 + body[at + 1] if at + 1 < len(body) else len(body) + 1
        if end > len(body):
            raise WireError(f"{where}: got an object that ends at {end} of {len(body)} bytes", "mismatch")
        texts[body[at]] = body[at + 2 : end]
        at = end
    if at != len(body):
        raise WireError(f"{where}: got {len(body) - at} bytes behind the last object", "mismatch")
    return Objects(texts, body[4] if body[3] else None)
