"""Frames, pure: the row of checked payloads that a segment is (reference/formats.md §7).

`walk` reads on past damage. It first believes the length of a frame that fails its check, and steps over it; only
when nothing good stands there does it search for the next magic. A payload may hold bytes of a stranger that look
like frames, so what a search finds counts only when frames stand back to back from there to the end of what was
written (inside a payload they never do, for what follows a stranger's text is ours) or when it is a record that
`genuine` knows by its signature.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from edge_agent.model.checked import as_type
from edge_agent.model.errors import WireError
from edge_agent.seal.canonical import pack, unpack

HEAD, RECORD, NOTE = b"EAH1", b"EAR1", b"EAA1"
FRAME_BYTES = 12
"""What a frame adds to its payload."""
NOTE_BYTES = 112
"""At least as much as a note's frame takes: 12, a map of 4 keys with 25, a digest with 34, three integers of 9."""

_HEADER = struct.Struct(">4sII")
_MAGIC = re.compile(rb"EA[HRA]1")
_VERSION = 1


Genuine = Callable[[bytes], bool]
"""Whether an envelope bears our signature; asked only about what was found by searching."""


class Frame(NamedTuple):
    """A frame that passed its check."""

    kind: bytes
    offset: int
    end: int
    payload: bytes


class Damage(NamedTuple):
    """Bytes that are no frame."""

    offset: int
    end: int


class Stand(NamedTuple):
    """Where the log stood when a head or a note was written."""

    seq: int = 0
    """The last record then."""
    digest: bytes = bytes(32)
    """Its digest."""
    acked: int = 0
    """The last record that upstream acknowledged."""
    oldest: int = 1
    """The first record still kept."""


def frame(kind: bytes, payload: bytes) -> bytes:
    """Return the bytes of one frame."""
    start = kind + len(payload).to_bytes(4, "big")
    return start + zlib.crc32(payload, zlib.crc32(start)).to_bytes(4, "big") + payload


def head_frame(segment: int, stand: Stand) -> bytes:
    """Return the first frame of a segment, which carries the chain on."""
    return frame(HEAD, pack({"v": _VERSION, "segment": segment, **stand._asdict()}))


def note_frame(stand: Stand) -> bytes:
    """Return a frame that says how far the log and upstream have come."""
    return frame(NOTE, pack(stand._asdict()))


def stand_in(found: Frame) -> Stand:
    """Return what a head or a note says. Raises WireError."""
    raw = unpack(found.payload)
    if found.kind == HEAD and (not isinstance(raw, dict) or raw.get("v") != _VERSION):
        raise WireError(f"head frame: got format version {raw.get('v') if isinstance(raw, dict) else raw!r}, wanted 1")
    fields = as_type(raw, dict[str, Any], "frame")
    return as_type([fields.get(name) for name in Stand._fields], Stand, "frame.seq, digest, acked, oldest")


def frame_at(data: bytes, offset: int) -> Frame | None:
    """Return the frame that stands at `offset`, or None when none does or its check fails."""
    if offset + FRAME_BYTES > len(data):
        return None
    kind, length, check = _HEADER.unpack_from(data, offset)
    start = offset + FRAME_BYTES
    end = start + length
    if end > len(data) or _MAGIC.fullmatch(kind) is None:
        return None
    payload = data[start:end]
    if zlib.crc32(payload, zlib.crc32(data[offset : offset + 8])) != check:
        return None
    return Frame(kind, offset, end, payload)


def walk(data: bytes, genuine: Genuine) -> Iterator[Frame | Damage]:
    """Return the frames of a segment in order, and between them the bytes that are none."""
    written = len(data.rstrip(b"\0"))
    offset = 0
    while offset < written:
        found = frame_at(data, offset)
        if found is None:
            end = _next(data, offset, written, genuine)
            yield Damage(offset, end)
            offset = end
        else:
            yield found
            offset = found.end


def _next(data: bytes, offset: int, written: int, genuine: Genuine) -> int:
    """Return where to read on after damage at `offset`; `written` when nothing good follows."""
    beyond = offset + FRAME_BYTES + int.from_bytes(data[offset + 4 : offset + 8], "big")
    if _MAGIC.match(data, offset) is not None and frame_at(data, beyond) is not None:
        return beyond
    for match in _MAGIC.finditer(data, offset + 1):
        if _back_to_back(data, match.start(), written) or _is_genuine(frame_at(data, match.start()), genuine):
            return match.start()
    return written


def _is_genuine(found: Frame | None, genuine: Genuine) -> bool:
    return found is not None and found.kind == RECORD and genuine(found.payload)


def _back_to_back(data: bytes, offset: int, written: int) -> bool:
    while offset < written:
        found = frame_at(data, offset)
        if found is None:
            return False
        offset = found.end
    return True
