"""The `command` topic, both ends of it: what may be asked of a gateway, as bytes and back (reference/formats.md §6).

Whoever can publish on a broker can write here, so a command is capped before it is parsed, parsed strictly, and
asks only for what a subscriber may see anyway. Pure.
"""

from edge_agent.model.errors import WireError
from edge_agent.model.strict_json import decode_text, parse_json

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
    raw = parse_json(decode_text(payload, "command", MAX_COMMAND_BYTES), "command")
    if raw == {"v": 1, "ask": "snapshot"}:
        return None
    first = raw.get("from") if isinstance(raw, dict) else None
    if raw != {"v": 1, "ask": "records", "from": first} or type(first) is not int or not 0 < first < 2**63:
        raise WireError(f"command: wanted {ASK_SNAPSHOT.decode()} or {ask_records(1).decode()}")
    return first
