"""The log of sealed records: the one thing on disk that must hold (reference/formats.md §7).

Its rules, each bought with a failure seen elsewhere: a record counts once it is durable; nothing is ever written
into a segment of an earlier process; after a failed write or sync nothing more is written at all (the process
ends with 74, and the next start reads what the medium really holds); damage costs the records it hit and no
others, and is named; the bytes are bounded, temporary ones included, and a tenth of the disk stays free.

`append`, `append_last`, `flush_acknowledged`, `squash_candidates`, `replace`, `leave_as_is` and `close` write,
sync and wait for one another: call them in a worker thread. `head`, `acknowledge`, `keep_from`, `room`, `holes`,
`read` and `records` may be called from the event loop at any time.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from edge_agent.model.errors import StoreError, WireError
from edge_agent.model.record import ZERO_DIGEST, Sealed
from edge_agent.seal.keys import Verifier
from edge_agent.seal.squash import Span, span_of
from edge_agent.store.active import BLANK, SPARE, Active, clear, has_spare, make_blank, settle, size_for, trim
from edge_agent.store.bound import Bound
from edge_agent.store.disk import NO_ROOM, Disk, telling, told, write_new
from edge_agent.store.frames import FRAME_BYTES, RECORD, Stand, frame, note_frame
from edge_agent.store.packing import ASIDE, Work, can_squash, next_work, packed, put
from edge_agent.store.segment import SEGMENT_BYTES, Hole, Place, Segment, name_of, numbers_in
from edge_agent.store.shelf import Item, Shelf

Room = Literal["free", "squash", "full"]
_HALVED = 5
"""How often a start halves its first segment to fit a full disk: down to 16 KiB."""


class Head(NamedTuple):
    """How far the log has come."""

    seq: int
    """The last durable record; 0 before the first."""
    digest: bytes
    """Its digest: what the next one names as `prev`."""
    acked: int
    """The last record that upstream acknowledged."""
    oldest: int
    """The first record still kept."""


class Log:
    """The one writer of a folder of segments, and its readers' door. Made by `open`."""

    def __init__(self, shelf: Shelf, folder: Path, disk: Disk, bound: Bound, segment_bytes: int) -> None:
        self._shelf = shelf
        self._folder = folder
        self._disk = disk
        self._bound = bound
        self._segment_bytes = segment_bytes
        self._writing = threading.Lock()
        self._acked = self._acked_durable = min(shelf.stand.acked, shelf.stand.seq)
        self._keep_from = 0
        self._spare = has_spare(disk, folder, segment_bytes)
        self._starved = False
        self._broken: StoreError | None = None
        self._active: Active | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        max_bytes: int,
        disk: Disk | None = None,
        known: tuple[int, bytes] = (0, ZERO_DIGEST),
        key: Verifier | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> "Log":
        """Recover a log, or begin one, and begin a new segment in it.

        `known` is a record known from elsewhere, and its digest: the newest good snapshot's. A log that ends before
        it has lost its end; the chain goes on behind it and what is between is a hole. With the key, more records
        are found between two wounds of one segment. Raises StoreError.
        """
        disk = disk or Disk()
        bound = Bound(folder, disk, max_bytes, segment_bytes)
        with telling(folder, "recover the log"):
            disk.make_folder(folder)
            clear(disk, folder, segment_bytes)
            numbers = numbers_in(disk.names(folder))
            if numbers:
                settle(disk, folder / name_of(numbers[-1]))
            shelf = Shelf.survey(folder, disk, key)
            shelf.reach(*known)
            if numbers:
                trim(disk, shelf.segments[-1])
        log = cls(shelf, folder, disk, bound, segment_bytes)
        with log._writing:
            log._begin_first()
            for empty in [each for each in log._sealed() if each.empty and not each.mute]:
                log._drop(empty)
            log._secure_spare()
        return log

    # ---- for the event loop

    @property
    def head(self) -> Head:
        """How far the log has come."""
        stand = self._shelf.stand
        return Head(stand.seq, stand.digest, self._acked, self._shelf.oldest)

    @property
    def holes(self) -> tuple[Hole, ...]:
        """What is missing, in order; more may be found while old segments are read or looked through."""
        return self._shelf.holes

    @property
    def size(self) -> int:
        """Bytes it takes now, the spare segment included."""
        return self._used

    def size_after(self, seq: int) -> int:
        """Return the bytes of the segments that hold records after `seq`."""
        return sum(each.size for each in self._shelf.segments if each.last > seq and not each.empty)

    def acknowledge(self, seq: int) -> None:
        """Note that upstream has all records up to `seq`, as far as there are so many.

        Only in memory: the next record, a new segment, `flush_acknowledged` and `close` make it durable.
        """
        self._acked = max(self._acked, min(seq, self._shelf.stand.seq))

    def keep_from(self, seq: int) -> None:
        """Keep the records from `seq` on while that is possible: the oldest kept snapshot needs them."""
        self._keep_from = seq

    def room(self, size: int | None = None) -> Room:
        """Say whether an envelope of `size` bytes may be appended, or when not given, any as long as a segment.

        "squash" asks for `squash_candidates` first; "full" says that nothing more helps. Raises StoreError.
        """
        need = self._need(size)
        if not need:
            return "free"
        used = self._used
        if not self._starved and self._bound.fits(used - self._freeable(self._keep_from), need):
            return "free"
        if can_squash(self._sealed(), self._segment_bytes):
            return "squash"
        everything = self._shelf.stand.seq + 1
        return "free" if not self._starved and self._bound.fits(used - self._freeable(everything), need) else "full"

    def read(self, first_seq: int, max_bytes: int) -> list[Item]:
        """Return durable items in order, as `Shelf.read` does. Raises StoreError."""
        return self._shelf.read(first_seq, max_bytes)

    def records(self, first_seq: int) -> Iterator[Item]:
        """Iterate over all durable items from `first_seq` on. Raises StoreError."""
        return self._shelf.records(first_seq)

    # ---- for the worker thread

    def append(self, record: Sealed) -> None:
        """Make a record durable: on return it is on the medium.

        Raises StoreError, and stays usable, when the record does not follow from the head or `room` does not say
        "free"; raises StoreError and refuses all further writing when the disk failed.
        """
        with self._writing:
            span = self._checked(record)
            if self.room(len(record.envelope)) != "free":
                raise StoreError(
                    f"{self._folder}: the log is full: record {record.seq} of {len(record.envelope)} bytes"
                )
            self._reclaim(self._need(len(record.envelope)))
            self._write(record.envelope, span)
            self._secure_spare()
        self._shelf.inspect()

    def append_last(self, record: Sealed) -> None:
        """Make a record of a safe stop durable, at the price of the spare segment when the log is full.

        Raises StoreError as `append` does.
        """
        with self._writing:
            self._write(record.envelope, self._checked(record))

    def flush_acknowledged(self) -> None:
        """Make durable what was acknowledged, if that changed, and try for a spare segment if there is none.

        Raises StoreError.
        """
        with self._writing:
            self._check_usable()
            self._write_note(wanted=self._acked > self._acked_durable)
            self._secure_spare()

    def inspect(self) -> bool:
        """Look through one more old segment for holes; False when all were. Each `append` does it once."""
        return self._shelf.inspect()

    def squash_candidates(self) -> Work | None:
        """Return records to squash into one range, oldest first; None when nothing is left to gain.

        Raises StoreError.
        """
        with self._writing, telling(self._folder, "read what to squash"):
            return next_work(self._shelf, self._sealed(), self._segment_bytes)

    def replace(self, first: int, last: int, envelope: bytes) -> None:
        """Put a squashed range in the place of the records that it covers.

        A crash at any point leaves these or that. A range that takes no less room is not put in. Raises StoreError.
        """
        with self._writing:
            self._check_usable()
            old = [each for each in self._sealed() if each.last >= first and each.after < last]
            with telling(self._folder, "squash"):
                content = packed(self._shelf, self._disk, old, envelope, self._acked_durable)
                if len(content) >= sum(each.size for each in old):
                    old[0].packing = "fixed"
                    return
                write_new(self._disk, self._folder / ASIDE, content)
            with self._deciding("squash"):
                put(self._shelf, self._disk, old, len(content))
            self._secure_spare()

    def leave_as_is(self, first: int) -> None:
        """Squash the segment that holds record `first` no further: something in it does not verify."""
        with self._writing:
            for segment in self._sealed():
                if segment.after < first <= segment.last:
                    segment.packing = "fixed"

    def close(self) -> None:
        """Make durable how far log and upstream have come, and let go of the files. May be called twice."""
        with self._writing:
            active, self._active = self._active, None
            if active is None:
                return
            try:
                if self._broken is None:
                    self._active = active
                    self._write_note(wanted=not active.segment.empty or self._acked > self._acked_durable)
            finally:
                self._active = None
                active.close()

    # ---- writing

    def _checked(self, record: Sealed) -> Span:
        """Return what a record stands for when it follows from the head."""
        self._check_usable()
        try:
            span = span_of(record.envelope)
        except WireError as error:
            raise StoreError(f"{self._folder}: record {record.seq} is no record: {error}") from error
        stand = self._shelf.stand
        if span != Span(record.seq, record.seq, stand.digest, record.digest) or record.seq != stand.seq + 1:
            found = f"record {record.seq} ({span.first} inside, prev {span.prev.hex()[:16]}, digest {span.digest.hex()[:16]})"
            raise StoreError(f"{self._folder}: got {found}, wanted {stand.seq + 1} after {stand.digest.hex()[:16]}")
        return span

    def _check_usable(self) -> None:
        if self._broken is not None:
            raise StoreError(f"{self._folder}: nothing is written after a failure: {self._broken}") from self._broken
        if self._active is None:
            raise StoreError(f"{self._folder}: the log is closed")

    def _write(self, envelope: bytes, span: Span) -> None:
        record = frame(RECORD, envelope)
        if not self._open_segment.fits(len(record)):
            self._rotate(len(record))
        active, acked = self._open_segment, self._acked
        note = note_frame(self._stand(acked)) if acked > self._acked_durable else b""
        with self._deciding("append"):
            end = active.write(note + record)
        self._acked_durable = acked
        self._shelf.grow(Place(span, end - len(record), end))

    def _write_note(self, *, wanted: bool) -> None:
        """Write how far log and upstream have come, when that is wanted and fits; the next segment says it, too."""
        active, acked = self._open_segment, self._acked
        if wanted and active.fits(0):
            with self._deciding("append"):
                active.write(note_frame(self._stand(acked)))
            self._acked_durable = acked

    def _rotate(self, frame_bytes: int) -> None:
        full = self._open_segment
        size = size_for(frame_bytes, self._segment_bytes)
        if not self._begin(size, reserve_segments=1):
            raise StoreError(f"{self._folder}: the log is full: no room for a segment of {size} bytes")
        full.close()
        if full.segment.empty:
            self._drop(full.segment)

    def _begin_first(self) -> None:
        """Begin the first segment of this process, a smaller one where there is no room for a whole one."""
        sizes = [self._segment_bytes >> halved for halved in range(_HALVED)]
        if not any(self._begin(size, reserve_segments=0) for size in sizes):
            raise StoreError(
                f"{self._folder}: no room for a segment of {sizes[-1]} bytes (free some space on this disk)"
            )

    def _begin(self, size: int, *, reserve_segments: int) -> bool:
        """Begin a new segment, of the spare if it is of this size and there; False when there is no room."""
        spare = self._spare and size == self._segment_bytes
        blank = self._folder / (SPARE if spare else BLANK)
        if not spare and not (self._bound.holds(self._used + size, reserve_segments) and self._made_blank(blank, size)):
            return False
        acked = self._acked
        last = self._shelf.segments[-1].number if self._shelf.segments else 0
        with self._deciding("begin a segment"):
            self._active = Active.begin(self._disk, blank, last + 1, self._stand(acked))
        self._spare = self._spare and not spare
        self._acked_durable = acked
        self._shelf.begin(self._active.segment)
        return True

    def _stand(self, acked: int) -> Stand:
        return self._shelf.stand._replace(acked=acked, oldest=self._shelf.oldest)

    @property
    def _open_segment(self) -> Active:
        assert self._active is not None
        return self._active

    @contextmanager
    def _deciding(self, action: str) -> Iterator[None]:
        """After a failure in here nothing more is written: nobody knows what the medium holds."""
        try:
            with telling(self._folder, action):
                yield
        except StoreError as error:
            self._broken = error
            raise

    # ---- room

    @property
    def _used(self) -> int:
        return self._shelf.used + (self._segment_bytes if self._spare else 0)

    def _need(self, size: int | None) -> int:
        """Return the bytes of new segments before a record is in and a spare stands ready."""
        need = 0 if self._spare else self._segment_bytes
        frame_bytes = FRAME_BYTES + (size or 0)
        if size is None or self._active is None or not self._active.fits(frame_bytes):
            need += size_for(frame_bytes, self._segment_bytes)
        return need

    def _sealed(self) -> list[Segment]:
        active = self._active
        return [each for each in self._shelf.segments if active is None or each is not active.segment]

    def _freeable(self, below: int) -> int:
        """Return the bytes of the oldest segments that hold nothing but delivered records below a sequence number."""
        total = 0
        for segment in self._sealed():
            if segment.last > self._acked_durable or segment.last >= below:
                break
            total += segment.size
        return total

    def _reclaim(self, need: int) -> None:
        while not self._bound.fits(self._used, need) and self._drop_next():
            pass

    def _drop_next(self) -> bool:
        """Remove the oldest segment if all of it was delivered and, while squashing can help, nobody needs it."""
        sealed = self._sealed()
        if not sealed or sealed[0].last > self._acked_durable:
            return False
        must = self._active is None or not can_squash(sealed, self._segment_bytes)
        if sealed[0].last >= self._keep_from and not must:
            return False
        self._drop(sealed[0])
        return True

    def _drop(self, segment: Segment) -> None:
        with self._deciding("remove a segment"):
            self._shelf.drop(segment, lambda: self._disk.unlink(segment.path))
            self._disk.sync_folder(self._folder)

    def _secure_spare(self) -> None:
        """Have a spare segment if there is room for one. Without it the log says that it is full."""
        if self._spare:
            return
        self._reclaim(self._segment_bytes)
        if self._bound.fits(self._used, self._segment_bytes):
            self._spare = self._made_blank(self._folder / SPARE, self._segment_bytes)
            self._starved = not self._spare

    def _made_blank(self, path: Path, size: int) -> bool:
        """Make a blank segment, giving up what may be given up; False when the disk has no room for it."""
        while True:
            try:
                make_blank(self._disk, path, size)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    self._broken = StoreError(told(error, path, "make a segment"))
                    raise self._broken from error
                if not self._drop_next():
                    return False
            else:
                return True
