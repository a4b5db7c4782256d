"""The segments of a log as a table, and reading from them: for the publisher, for replay, and for `log verify`.

Opening one reads the head of each segment and the whole of the newest; an older one is looked through when it is
read or `inspect`ed, for it does not change, and a start must not wait for the whole log. Memory holds one row a
segment and the places of the records in the newest and two others, whatever the backlog.

`read`, `records`, `holes` and `used` may be called from any thread. What changes the table belongs to the log's
one writer; a lock is held where the two meet, never while content is written or synced.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from edge_agent.seal.keys import Verifier
from edge_agent.store.disk import Disk, opened, read_salvaging, telling
from edge_agent.store.frames import RECORD, Stand, frame_at
from edge_agent.store.segment import (
    HEAD_BYTES,
    Hole,
    Place,
    Scan,
    Segment,
    answers_for,
    furthest,
    head_of,
    name_of,
    numbers_in,
    scan,
)

_PLACES_KEPT = 3
_BATCH_BYTES = 256 * 1024


class Item(NamedTuple):
    """A record, or a squashed range, as it stands in the log."""

    seq: int
    """The last record it covers: what to acknowledge when it was delivered."""
    envelope: bytes
    first: int
    """The first record it covers; `seq` again when it is one record."""


class Shelf:
    """The segments of one folder, oldest first."""

    def __init__(self, folder: Path, disk: Disk, key: Verifier | None) -> None:
        self._folder = folder
        self._disk = disk
        self._key = key
        self._lock = threading.Lock()
        self._segments: list[Segment] = []
        self._places: dict[Segment, list[Place]] = {}
        self._holes: dict[tuple[int, int], Hole] = {}
        self.stand = Stand()
        """The furthest that the log speaks of, and what upstream has acknowledged."""

    @classmethod
    def survey(cls, folder: Path, disk: Disk | None = None, key: Verifier | None = None) -> "Shelf":
        """Return what stands in a folder, changing nothing; it may be the log of an agent that runs.

        With the key, more records are found between two wounds of one segment. Raises StoreError when the folder or
        a segment cannot be read.
        """
        shelf = cls(folder, disk or Disk(), key)
        with telling(folder, "read the log"):
            shelf._survey()
        return shelf

    def read(self, first_seq: int, max_bytes: int) -> list[Item]:
        """Return items in order, from the one that covers `first_seq` or the next that there is.

        At least one, and as many as stand in one segment and fit `max_bytes`; none when there is nothing further.
        What is damaged is passed over and named in `holes`. Raises StoreError.
        """
        with telling(self._folder, "read the log"):
            while (at := self._open_at(first_seq)) is not None:
                segment, file = at
                try:
                    items, first_seq = self._items(segment, file, first_seq, max_bytes)
                finally:
                    self._disk.close(file)
                if items:
                    return items
        return []

    def records(self, first_seq: int) -> Iterator[Item]:
        """Iterate over all items from `first_seq` on, for replay and verification. Raises StoreError."""
        while items := self.read(first_seq, _BATCH_BYTES):
            yield from items
            first_seq = items[-1].seq + 1

    def inspect(self) -> bool:
        """Look through the oldest segment that nobody looked through yet; False when there is none.

        Raises StoreError.
        """
        with telling(self._folder, "read the log"):
            at = self._open_uninspected()
            if at is None:
                return False
            segment, file = at
            try:
                self._look(segment, file)
            finally:
                self._disk.close(file)
        return True

    @property
    def holes(self) -> tuple[Hole, ...]:
        """What is missing, as far as was looked, in order."""
        with self._lock:
            return tuple(self._holes[key] for key in sorted(self._holes))

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The table, oldest first."""
        with self._lock:
            return tuple(self._segments)

    @property
    def oldest(self) -> int:
        """The first sequence number that the log answers for; the next to come when it holds none."""
        with self._lock:
            return next((each.after + 1 for each in self._segments if not each.empty), self.stand.seq + 1)

    @property
    def used(self) -> int:
        """Bytes in segments."""
        with self._lock:
            return sum(each.size for each in self._segments)

    # ---- what the writer changes

    def begin(self, segment: Segment) -> None:
        """Add the segment that is written to from now on."""
        with self._lock:
            segment.inspected = True
            self._segments.append(segment)
            self._keep_places(segment, [])

    def grow(self, place: Place) -> None:
        """Add a record to the newest segment, durable as it is."""
        with self._lock:
            newest = self._segments[-1]
            self._places[newest].append(place)
            newest.last = place.span.last
            self.stand = self.stand._replace(seq=place.span.last, digest=place.span.digest)

    def reach(self, seq: int, digest: bytes) -> None:
        """Go on behind a record that is known from elsewhere; what the log lacks up to it is a hole."""
        if seq > self.stand.seq:
            self.miss(Hole(0, 0, self.stand.seq + 1, seq, "missing"))
            self.stand = self.stand._replace(seq=seq, digest=digest)

    def swap(self, old: Sequence[Segment], new: Segment, rename: Callable[[], None]) -> None:
        """Put one segment in the place of several neighbours; `rename` gives its file the name of the last of them."""
        with self._lock:
            rename()
            self._segments[self._segments.index(old[-1])] = new
            self._segments = [each for each in self._segments if each not in old]
            for each in old:
                self._places.pop(each, None)

    def drop(self, segment: Segment, unlink: Callable[[], None]) -> None:
        """Take a segment from the table when `unlink` has removed its file."""
        with self._lock:
            unlink()
            self._segments.remove(segment)
            self._places.pop(segment, None)

    def miss(self, hole: Hole) -> None:
        """Name a hole."""
        with self._lock:
            self._holes[(hole.first, hole.last)] = hole

    def places(self, segment: Segment) -> list[Place]:
        """Return the places of a segment's records that count, in order. May raise OSError."""
        known = self._places.get(segment)
        if known is not None:
            return known
        with opened(self._disk, segment.path) as file:
            return self._look(segment, file)

    # ---- opening

    def _survey(self) -> None:
        tops = [self._top(number) for number in numbers_in(self._disk.names(self._folder))]
        self.stand = furthest(
            [self._end([path for path, _, _ in tops]), *(head for _, _, head in tops if head is not None)]
        )
        upto = self.stand.seq
        for path, size, head in reversed(tops):
            start = upto if head is None else head.seq
            self._segments.insert(0, Segment(int(path.stem), path, size, start, upto, mute=head is None))
            upto = min(upto, start)
        if self._segments:
            self.places(self._segments[-1])
            self._check_beginning(self._segments[0], upto)

    def _check_beginning(self, oldest: Segment, after: int) -> None:
        """Name what is missing before the oldest record that can be read, `after` + 1.

        Segments that were delivered are removed in time, so only what was not is missed, or what stood in one that
        is there and cannot be read.
        """
        if oldest.mute and self.stand.oldest <= after:
            self.miss(Hole(oldest.number, 0, self.stand.oldest, after, "damaged"))
        elif self.stand.acked < after:
            self.miss(Hole(0, 0, self.stand.acked + 1, after, "missing"))

    def _top(self, number: int) -> tuple[Path, int, Stand | None]:
        """Return path, size, and what stood before the first record; None when nothing in it tells."""
        path = self._folder / name_of(number)
        with opened(self._disk, path) as file:
            size = self._disk.size(file)
            head = head_of(read_salvaging(self._disk, file, HEAD_BYTES))
            if head is not None:
                return path, size, head
            places = scan(read_salvaging(self._disk, file, size), self._key).places
        return path, size, Stand(places[0].span.first - 1, places[0].span.prev) if places else None

    def _end(self, paths: list[Path]) -> Stand:
        """Return the furthest that the newest segment speaks of which says anything at all."""
        for path in reversed(paths):
            with opened(self._disk, path) as file:
                found = scan(read_salvaging(self._disk, file, self._disk.size(file)), self._key)
            if found.head is not None or found.places:
                return found.stand
        return Stand()

    # ---- reading

    def _open_at(self, seq: int) -> tuple[Segment, int] | None:
        """Open the segment that answers for `seq` or the next that answers for anything.

        Under the lock, so that the row and the file belong together whatever the writer does meanwhile.
        """
        with self._lock:
            index = bisect_left(self._segments, seq, key=lambda each: each.last)
            segment = next((each for each in self._segments[index:] if not each.empty), None)
            return None if segment is None else (segment, self._disk.open(segment.path))

    def _open_uninspected(self) -> tuple[Segment, int] | None:
        with self._lock:
            segment = next((each for each in self._segments if not each.inspected), None)
            return None if segment is None else (segment, self._disk.open(segment.path))

    def _items(self, segment: Segment, file: int, first_seq: int, max_bytes: int) -> tuple[list[Item], int]:
        """Return items of one segment and the sequence number to go on from."""
        places = self._places.get(segment)
        if places is None:
            places = self._look(segment, file)
        chosen = _fitting(places, first_seq, max_bytes)
        if not chosen:
            return [], max(segment.last, first_seq) + 1
        base = chosen[0].offset
        data = read_salvaging(self._disk, file, chosen[-1].end - base, base)
        items: list[Item] = []
        for span, offset, _ in chosen:
            found = frame_at(data, offset - base)
            if found is None or found.kind != RECORD:
                self.miss(Hole(segment.number, offset, span.first, span.last, "damaged"))
            else:
                items.append(Item(span.last, found.payload, span.first))
        return items, chosen[-1].span.last + 1

    def _look(self, segment: Segment, file: int) -> list[Place]:
        """Scan a segment, and note its holes and its places."""
        found: Scan = scan(read_salvaging(self._disk, file, self._disk.size(file)), self._key)
        places, holes = answers_for(found, segment)
        with self._lock:
            segment.inspected = True
            self._holes.update({(hole.first, hole.last): hole for hole in holes})
            if segment in self._segments:
                self._keep_places(segment, places)
        return places

    def _keep_places(self, segment: Segment, places: list[Place]) -> None:
        newest = self._segments[-1]
        self._places[segment] = places
        while len(self._places) > _PLACES_KEPT:
            del self._places[next(each for each in self._places if each is not newest)]


def _fitting(places: list[Place], first_seq: int, max_bytes: int) -> list[Place]:
    """Return the places from `first_seq` on whose records fit; one at least, if there is one."""
    start = bisect_left(places, first_seq, key=lambda place: place.span.last)
    stop = start
    while stop < len(places) and (stop == start or places[stop].end - places[start].offset <= max_bytes):
        stop += 1
    return places[start:stop]
