"""From a framing, as a profile writes it, to the framer that serves it; and what can be wrong with one."""

from collections.abc import Iterator

from edge_agent.model.checked import shown
from edge_agent.model.errors import Problem
from edge_agent.model.framing import (
    Checksum,
    DelimiterFraming,
    DsmrFraming,
    FixedFraming,
    Framing,
    LengthFraming,
    LineFraming,
    NmeaFraming,
)
from edge_agent.twin.binary_framing import BinaryFramer, needs_silence
from edge_agent.twin.checksum import width
from edge_agent.twin.frames import Framer
from edge_agent.twin.text_framing import EndedFramer, MarkedFramer


def framer(framing: Framing) -> Framer:
    """Return a framer for a port that was just opened."""
    if isinstance(framing, LineFraming) or (isinstance(framing, DelimiterFraming) and not framing.start):
        return EndedFramer(framing)
    if isinstance(framing, NmeaFraming):
        return MarkedFramer(None)
    return MarkedFramer(framing) if isinstance(framing, DsmrFraming) else BinaryFramer(framing)


def wrong_framing(framing: Framing, place: str) -> Iterator[Problem]:
    """Say what cannot work in a framing."""
    if isinstance(framing, (LineFraming, NmeaFraming, DsmrFraming)):
        return
    if isinstance(framing, DelimiterFraming):
        if not framing.end:
            yield Problem(f"{place}.end", "no bytes", "the bytes a frame ends with")
    elif needs_silence(framing) and framing.gap is None:
        yield Problem(place, "no gap, and no start with a checksum", "something that tells where a frame begins")
    if isinstance(framing, FixedFraming) and len(framing.start) + len(framing.end) > framing.length:
        yield Problem(f"{place}.length", str(framing.length), "room for start and end")
    if framing.checksum is not None:
        yield from _wrong_checksum(framing, framing.checksum, place)


def _wrong_checksum(
    framing: DelimiterFraming | FixedFraming | LengthFraming, rule: Checksum, place: str
) -> Iterator[Problem]:
    size = width(rule.kind) * (2 if rule.form == "hex" else 1)
    # Without a length of its own a frame is taken for the longest: what does not fit that fits none.
    length = framing.length if isinstance(framing, FixedFraming) else framing.max_length
    first, last, at = (each if each >= 0 else length + each for each in (*rule.over, rule.at))
    if not 0 <= first <= last < length:
        yield Problem(f"{place}.checksum.over", shown(list(rule.over)), f"first and last of {length} bytes")
    elif first < at + size and at <= last and isinstance(framing, FixedFraming):
        yield Problem(f"{place}.checksum.over", shown(list(rule.over)), "bytes beside the checksum itself")
    if not 0 <= at <= length - size:
        yield Problem(f"{place}.checksum.at", shown(rule.at), f"room for {size} bytes in {length}")
