"""What to squash next, and putting a squashed range in the place of the records it stands for.

One old segment at a time is written anew, smaller, and renamed over the old one; when all are squashed, the two
smallest neighbours become one. A merge takes the place of the later of the two, whose head then begins before
the earlier one: from that instant the earlier answers for nothing, and is removed.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from edge_agent.model.errors import StoreError
from edge_agent.model.record import ZERO_DIGEST
from edge_agent.seal.squash import span_of
from edge_agent.store.disk import Disk, opened, read_salvaging
from edge_agent.store.frames import RECORD, Stand, frame, frame_at, head_frame
from edge_agent.store.segment import HEAD_BYTES, Place, Segment, first_run, head_of
from edge_agent.store.shelf import Shelf

ASIDE = "squash.new"


class Work(NamedTuple):
    """Consecutive records and ranges that may become one range."""

    first: int
    last: int
    envelopes: list[bytes]


def can_squash(segments: Sequence[Segment], segment_bytes: int) -> bool:
    """Whether anything among sealed segments may be squashed, as far as is known without reading them."""
    return any(each.packing == "loose" for each in segments) or bool(_pairs(segments, segment_bytes))


def next_work(shelf: Shelf, segments: Sequence[Segment], segment_bytes: int) -> Work | None:
    """Return the oldest records that were not squashed yet, then the smallest neighbours; None when all is done.

    May raise OSError and StoreError.
    """
    for segment in segments:
        if segment.packing == "loose":
            run = first_run(shelf.places(segment))
            work = _work(shelf, run[0].span.first, run[-1].span.last) if run else None
            if work is not None:
                return work
            segment.packing = "dense" if _is_dense(shelf.places(segment), segment) else "fixed"
    for one, other in sorted(_pairs(segments, segment_bytes), key=_pair_bytes):
        work = _work(shelf, one.after + 1, other.last)
        if work is not None:
            return work
        one.packing = "fixed"
    return None


def _work(shelf: Shelf, first: int, last: int) -> Work | None:
    """Read what is to become one; None when something of it can no longer be read."""
    envelopes: list[bytes] = []
    reached = first - 1
    for item in shelf.records(first):
        if item.first != reached + 1:
            return None
        envelopes.append(item.envelope)
        reached = item.seq
        if reached >= last:
            break
    return Work(first, last, envelopes) if reached == last else None


def _is_dense(places: Sequence[Place], segment: Segment) -> bool:
    return [(p.span.first, p.span.last) for p in places] == [(segment.after + 1, segment.last)]


def _pairs(segments: Sequence[Segment], segment_bytes: int) -> list[tuple[Segment, Segment]]:
    return [
        (one, other)
        for one, other in pairwise(segments)
        if one.packing == other.packing == "dense"
        and one.last == other.after
        and _pair_bytes((one, other)) <= segment_bytes
    ]


def _pair_bytes(pair: tuple[Segment, Segment]) -> int:
    return pair[0].size + pair[1].size


def packed(shelf: Shelf, disk: Disk, old: Sequence[Segment], envelope: bytes, acked: int) -> bytes:
    """Return the content of the segment that takes the place of neighbours, with a range for the records it covers.

    What the range does not cover is copied. Raises StoreError when the range does not stand for whole records of
    these segments; may raise OSError.
    """
    span = span_of(envelope)
    kept = [(place, _frame_bytes(disk, segment, place)) for segment in old for place in shelf.places(segment)]
    covered = [p.span for p, _ in kept if span.first <= p.span.first and p.span.last <= span.last]
    if not covered or (covered[0].first, covered[0].prev) != (span.first, span.prev):
        raise StoreError(f"log: no record {span.first} with that predecessor stands where a range is to begin")
    if (covered[-1].last, covered[-1].digest) != (span.last, span.digest):
        raise StoreError(f"log: no record {span.last} with that digest stands where a range is to end")
    frames = [
        frame(RECORD, envelope) if p.span.first == span.first else b for p, b in kept if p.span not in covered[1:]
    ]
    before = _digest_before(disk, old[0], kept[0][0])
    stand = Stand(old[0].after, before, min(acked, old[0].after), min(shelf.oldest, old[0].after + 1))
    return b"".join([head_frame(old[-1].number, stand), *frames])


def put(shelf: Shelf, disk: Disk, old: Sequence[Segment], size: int) -> Segment:
    """Give the content that stands aside, durable, the place of neighbouring segments. May raise OSError."""
    folder = old[-1].path.parent
    new = Segment(old[-1].number, old[-1].path, size, old[0].after, old[-1].last)
    shelf.swap(old, new, lambda: disk.rename(folder / ASIDE, new.path))
    disk.sync_folder(folder)
    for segment in old[:-1]:
        disk.unlink(segment.path)
    if len(old) > 1:
        disk.sync_folder(folder)
    return new


def _frame_bytes(disk: Disk, segment: Segment, place: Place) -> bytes:
    with opened(disk, segment.path) as file:
        found = frame_at(read_salvaging(disk, file, place.end - place.offset, place.offset), 0)
    return b"" if found is None else frame(found.kind, found.payload)


def _digest_before(disk: Disk, segment: Segment, first: Place) -> bytes:
    """Return the digest of the record before a segment, from its first record or else from its head."""
    if first.span.first == segment.after + 1:
        return first.span.prev
    with opened(disk, segment.path) as file:
        head = head_of(read_salvaging(disk, file, HEAD_BYTES))
    return ZERO_DIGEST if head is None else head.digest
