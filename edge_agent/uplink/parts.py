"""Envelopes that are larger than the broker takes in one message, in parts and back (reference/formats.md §6.2). Pure.

Whoever can publish on a broker can send parts, so what is put together is bounded, and nothing is believed of it:
the envelope is verified as if it had come whole.
"""

import hashlib
from collections import OrderedDict
from typing import Any

from edge_agent.model.checked import as_type
from edge_agent.model.errors import WireError
from edge_agent.seal.canonical import pack, unpack

MOST_BYTES = 16 * 1024 * 1024
"""Of all that is being put together."""
_ROOM = 64
"""What a part needs beside its piece of the envelope."""
_BEGIN = b"\x84\xa5bytes"
"""How a part begins: a map of four keys, `bytes` the first of them. An envelope begins otherwise."""
_FIELDS: dict[str, Any] = {"bytes": bytes, "of": int, "part": int, "sum": bytes}
_Pieces = dict[int, bytes]


def in_parts(envelope: bytes, limit: int) -> list[bytes]:
    """Return messages of at most `limit` bytes that bring an envelope; itself when it is no larger."""
    if len(envelope) <= limit:
        return [envelope]
    step = limit - _ROOM
    assert step > 0, limit
    total, of = hashlib.sha256(envelope).digest(), -(-len(envelope) // step)
    pieces = (envelope[at : at + step] for at in range(0, len(envelope), step))
    return [pack({"bytes": piece, "of": of, "part": n, "sum": total}) for n, piece in enumerate(pieces)]


class Assembly:
    """Puts parts together, of several envelopes at once: the oldest gives way when there is no room."""

    def __init__(self) -> None:
        self._pieces: OrderedDict[tuple[bytes, int], _Pieces] = OrderedDict()
        self._bytes = 0

    def take(self, message: bytes) -> bytes | None:
        """Return a message that is no part as it is, an envelope when its last part has come, and None before.

        Raises WireError when it begins as a part and is none.
        """
        if not message.startswith(_BEGIN):
            return message
        raw = as_type(unpack(message), dict[str, Any], "part")
        if raw.keys() != _FIELDS.keys():
            raise WireError(f"part: got fields {sorted(raw)}, wanted {sorted(_FIELDS)}")
        part = {name: as_type(raw[name], wanted, f"part.{name}") for name, wanted in _FIELDS.items()}
        if not 0 <= part["part"] < part["of"] or not part["bytes"]:
            raise WireError(f"part: got part {part['part']} of {part['of']}")
        return self._with(part["sum"], part["of"], part["part"], part["bytes"])

    def _with(self, total: bytes, of: int, number: int, piece: bytes) -> bytes | None:
        pieces = self._pieces.setdefault((total, of), {})
        self._bytes += len(piece) - len(pieces.get(number, b""))
        pieces[number] = piece
        while self._bytes > MOST_BYTES:
            self._forget(next(iter(self._pieces)))
        if len(pieces) < of or (total, of) not in self._pieces:
            return None
        self._forget((total, of))
        envelope = b"".join(pieces[n] for n in range(of))
        if hashlib.sha256(envelope).digest() != total:
            raise WireError("part: what the parts make is not what they say")
        return envelope

    def _forget(self, key: tuple[bytes, int]) -> None:
        self._bytes -= sum(map(len, self._pieces.pop(key).values()))
