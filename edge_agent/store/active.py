"""The segment that is written to, and the blank one that waits to be the next.

A blank is filled with zeros and synced before anything relies on it, so that a disk without room shows there and
never inside a frame, and a record costs one sync of content, none of the file system's own books. A segment gets
its number when its head is durable: one that carries a number and no head was damaged later.
"""

from pathlib import Path

from edge_agent.store.disk import Disk, opened, read_salvaging, remove, write_new
from edge_agent.store.frames import NOTE_BYTES, Stand, head_frame
from edge_agent.store.segment import HEAD_BYTES, SEGMENT_BYTES, Segment, name_of, scan

SPARE = "spare.seg"
BLANK = "blank.new"


class Active:
    """A segment of this process, open for writing. Its methods raise OSError; none is to be called after one did."""

    def __init__(self, disk: Disk, file: int, segment: Segment, end: int) -> None:
        self._disk = disk
        self._file = file
        self._end = end
        self.segment = segment

    @classmethod
    def begin(cls, disk: Disk, blank: Path, number: int, stand: Stand) -> "Active":
        """Make a segment of a blank one: its head first, then its name, both durable on return."""
        head = head_frame(number, stand)
        path = blank.with_name(name_of(number))
        file = disk.open_writable(blank)
        try:
            disk.write(file, head, 0)
            disk.sync_content(file)
            disk.rename(blank, path)
            disk.sync_folder(path.parent)
            size = disk.size(file)
        except OSError:
            disk.close(file)
            raise
        return cls(disk, file, Segment(number, path, size, stand.seq, stand.seq), len(head))

    def fits(self, frame_bytes: int) -> bool:
        """Whether a frame and a note with it still fit."""
        return self._end + frame_bytes + NOTE_BYTES <= self.segment.size

    def write(self, frames: bytes) -> int:
        """Write frames, durable on return; return the offset behind them."""
        self._disk.write(self._file, frames, self._end)
        self._disk.sync_content(self._file)
        self._end += len(frames)
        return self._end

    def close(self) -> None:
        """Let go of the file."""
        self._disk.close(self._file)


def size_for(frame_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> int:
    """Return the size of a new segment that is to take a frame: larger than others only when it must be."""
    return max(segment_bytes, HEAD_BYTES + frame_bytes + NOTE_BYTES)


def make_blank(disk: Disk, path: Path, size: int) -> None:
    """Make a blank segment, durable. Raises OSError, leaving none."""
    write_new(disk, path, bytes(size))
    disk.sync_folder(path.parent)


def has_spare(disk: Disk, folder: Path, size: int) -> bool:
    """Whether a blank of this size waits, whole and untouched."""
    try:
        with opened(disk, folder / SPARE) as file:
            return disk.size(file) == size and not disk.read(file, size, 0).strip(b"\0")
    except FileNotFoundError:
        return False


def clear(disk: Disk, folder: Path, size: int) -> None:
    """Remove what a crash may have left half done."""
    if SPARE in disk.names(folder) and not has_spare(disk, folder, size):
        remove(disk, folder / SPARE)
    for name in disk.names(folder):
        if name.endswith(".new"):
            remove(disk, folder / name)
    disk.sync_folder(folder)


def settle(disk: Disk, path: Path) -> None:
    """Make a segment of an earlier process durable, and have it read from the medium from now on.

    A process that was killed leaves its last frame in memory alone; one whose sync failed leaves it there marked
    as written. What is read after this is what the next power cut will leave.
    """
    with opened(disk, path) as file:
        disk.sync(file)
        disk.forget(file)


def trim(disk: Disk, segment: Segment) -> None:
    """Cut the zeros off the end of a segment of an earlier process. Only zeros: what is damaged stays as it is."""
    file = disk.open_writable(segment.path)
    try:
        written = scan(read_salvaging(disk, file, segment.size)).written
        if written < segment.size:
            disk.truncate(file, written)
            disk.sync(file)
            segment.size = written
    finally:
        disk.close(file)
