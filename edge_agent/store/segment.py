"""Segments: their names, what one holds, and what of it is missing. Pure but for the paths.

Which records a segment answers for is not its own claim alone: from after its head's sequence number up to the
smallest such number among the heads of later segments. So a record that its writer never saw become durable is
passed over when the next process began before it, and a segment that a merge has taken in answers for nothing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from edge_agent.model.errors import TrustError, WireError
from edge_agent.seal.keys import Verifier
from edge_agent.seal.squash import Span, span_of, unseal_stretch
from edge_agent.store.frames import HEAD, RECORD, Damage, Frame, Stand, frame_at, stand_in, walk

SEGMENT_BYTES = 256 * 1024
"""Some 140 turns of 1.8 KB: a loss of one is bearable, and filling one with zeros takes under 50 ms on a card."""
HEAD_BYTES = 160
"""At least as much as a head's frame takes."""
_NAME = re.compile(r"(\d{8,})\.seg")


class Place(NamedTuple):
    """Where a record or a range stands in its segment."""

    span: Span
    offset: int
    """Where its frame begins."""
    end: int


class Hole(NamedTuple):
    """Records that should be in the log and are not, or a record that does not follow from the one before it."""

    segment: int
    """Number of the segment that should hold them; 0 when it is gone."""
    offset: int
    """Where in it the damage is; its length when the records were at its end."""
    first: int
    last: int
    reason: Literal["damaged", "missing", "unlinked"]
    """The bytes fail their check; there is nothing; the digest it names is not that of the record before."""

    @property
    def file(self) -> str:
        """The file that should hold them; `log` when it is gone."""
        return name_of(self.segment) if self.segment else "log"


class Scan(NamedTuple):
    """What stands in a segment."""

    head: Stand | None
    places: list[Place]
    wounds: list[Damage]
    stand: Stand
    """The furthest that anything in it speaks of."""
    end: int
    """Behind the last good frame."""
    written: int
    """Behind the last byte that is not zero, or behind `end`."""


@dataclass(slots=True, eq=False)
class Segment:
    """One segment in the table."""

    number: int
    path: Path
    size: int
    after: int
    """The sequence number before its first."""
    last: int
    """Its last; `after` when it holds none, less when a merge has taken it in."""
    mute: bool = False
    """Whether nothing in it can be read."""
    inspected: bool = False
    """Whether its holes are known."""
    packing: Literal["loose", "dense", "fixed"] = "loose"
    """May be squashed by itself; holds one record or range; or must stay as it is."""

    @property
    def empty(self) -> bool:
        """Whether it answers for no record."""
        return self.last <= self.after


def name_of(number: int) -> str:
    """Return the file name of a segment."""
    return f"{number:08}.seg"


def numbers_in(names: Iterable[str]) -> list[int]:
    """Return the numbers of the segments among file names, rising."""
    return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))


def head_of(data: bytes) -> Stand | None:
    """Return what the head says that begins a segment, or None when it is damaged."""
    found = frame_at(data, 0)
    if found is None or found.kind != HEAD:
        return None
    try:
        return stand_in(found)
    except WireError:
        return None


def scan(data: bytes, key: Verifier | None = None) -> Scan:
    """Return all that stands in a segment. With the key more is found between two wounds."""
    places: list[Place] = []
    wounds: list[Damage] = []
    stands: list[Stand] = []
    end = 0
    for part in walk(data, lambda envelope: key is not None and _verifies(envelope, key)):
        if isinstance(part, Damage) or not _taken(part, places, stands):
            wounds.append(Damage(part.offset, part.end))
        else:
            end = part.end
    return Scan(head_of(data), places, wounds, furthest(stands), end, max(end, len(data.rstrip(b"\0"))))


def _verifies(envelope: bytes, key: Verifier) -> bool:
    try:
        unseal_stretch(envelope, key)
    except (WireError, TrustError):
        return False
    return True


def furthest(stands: Sequence[Stand]) -> Stand:
    """Return the furthest of each that any of some heads, notes and records speaks of."""
    last = max(stands, default=Stand(), key=lambda stand: stand.seq)
    acked = max((each.acked for each in stands), default=last.acked)
    oldest = max((each.oldest for each in stands), default=last.oldest)
    return last._replace(acked=acked, oldest=oldest)


def _taken(part: Frame, places: list[Place], stands: list[Stand]) -> bool:
    """Read a frame into the lists; False when it passed its check and still says nothing."""
    try:
        if part.kind != RECORD:
            stands.append(stand_in(part))
            return True
        span = span_of(part.payload)
    except WireError:
        return False
    places.append(Place(span, part.offset, part.end))
    stands.append(Stand(span.last, span.digest))
    return True


def answers_for(found: Scan, segment: Segment) -> tuple[list[Place], list[Hole]]:
    """Return the places of a segment that count, in order, and what is missing between and behind them."""
    places: list[Place] = []
    holes: list[Hole] = []
    last, digest = segment.after, None if found.head is None else found.head.digest
    since = 0
    for place in found.places:
        span = place.span
        if span.first <= last or span.last > segment.last:
            continue
        if span.first > last + 1:
            holes.append(_hole(found, segment, last + 1, span.first - 1, (since, place.offset)))
        elif digest is not None and span.prev != digest:
            holes.append(Hole(segment.number, place.offset, span.first, span.first, "unlinked"))
        places.append(place)
        last, digest, since = span.last, span.digest, place.end
    if last < segment.last:
        holes.append(_hole(found, segment, last + 1, segment.last, (since, found.written)))
    return places, holes


def _hole(found: Scan, segment: Segment, first: int, last: int, between: tuple[int, int]) -> Hole:
    """Name missing records by the wound that lies between two offsets, if there is one."""
    start, end = between
    wound = next((wound.offset for wound in found.wounds if start <= wound.offset < end), None)
    if wound is None:
        return Hole(segment.number, end, first, last, "missing")
    return Hole(segment.number, wound, first, last, "damaged")


def first_run(places: Sequence[Place]) -> Sequence[Place]:
    """Return the first two or more places that follow from one another, or nothing."""
    start = 0
    for i in range(1, len(places) + 1):
        if i < len(places) and follows(places[i - 1].span, places[i].span):
            continue
        if i - start > 1:
            return places[start:i]
        start = i
    return ()


def follows(one: Span, other: Span) -> bool:
    """Whether `other` is the next of the chain after `one`."""
    return other.first == one.last + 1 and other.prev == one.digest
