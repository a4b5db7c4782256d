"""The `command` topic, both ends of it: what may be asked of a gateway, as bytes and back (reference/formats.md §6).

Whoever can publish on a broker can write here, so a command is capped before it is parsed, parsed strictly, and
asks only for what a subscriber may see anyway. Pure.
"""

import json
from typing import Any, NoReturn

from edge_agent.model.errors import WireError

MAX_COMMAND_BYTES = 8 * 1024

ASK_SNAPSHOT = b'{"v":1,"ask":"snapshot"}'


def is_letter(payload: bytes) -> bool:
    """Whether a command claims to be an approval: an envelope, where the others are JSON objects."""
    return not payload.startswith(b"{")


def ask_records(first: int) -> bytes:
    """Return the command that asks for the records from `first` on."""
    return b'{"v":1,"ask":"records","from":%d}' % first


def asked(payload: bytes) -> int | None:
    """Return from which record on a resend is asked for, or None when a snapshot is.

    Raises WireError when it is neither.
    """
    if len(payload) > MAX_COMMAND_BYTES:
        raise WireError(f"command: got {len(payload)} bytes, wanted at most {MAX_COMMAND_BYTES}")
    try:
        raw = json.loads(payload.decode(), object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(f"command: wanted a JSON object: {str(error)[:80]!r}") from error
    if raw == {"v": 1, "ask": "snapshot"}:
        return None
    first = raw.get("from") if isinstance(raw, dict) else None
    if raw != {"v": 1, "ask": "records", "from": first} or type(first) is not int or not 0 < first < 2**63:
        raise WireError(f"command: wanted {ASK_SNAPSHOT.decode()} or {ask_records(1).decode()}")
    return first


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
