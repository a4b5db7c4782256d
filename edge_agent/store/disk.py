"""The thin door to the file operations the store uses, so that a test can put a disk of its own in their place.

Linux only. `Disk` adds nothing to the system's calls but the loops around short reads and writes; it raises
OSError, which `telling` turns into a StoreError with the place, the reason and a hint. Files are made with mode
0600 and folders with 0700.
"""

import errno
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from edge_agent.model.errors import StoreError

_HINTS = {
    errno.ENOSPC: "free some space on this disk",
    errno.EDQUOT: "the user's quota is used up",
    errno.EROFS: "the disk is mounted read-only: mount it writable, or look for errors of the medium in the kernel log",
    errno.EACCES: "let the user that runs the agent read and write it, or choose another agent.data_dir",
    errno.EPERM: "let the user that runs the agent read and write it, or choose another agent.data_dir",
    errno.EIO: "the medium may be failing: look at the kernel log",
}
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_ROTTEN = (errno.EIO, errno.EBADMSG, errno.EUCLEAN)
_BLOCK_BYTES = 4096


class Space(NamedTuple):
    """What a file system has, in bytes."""

    free: int
    """For the user that asks."""
    total: int


class Disk:
    """The file operations of the store. Offsets and sizes are bytes; every method may raise OSError."""

    def make_folder(self, path: Path) -> None:
        """Make a folder with its parents, durably; nothing happens when it is there."""
        if not path.is_dir():
            path.mkdir(0o700, parents=True, exist_ok=True)
            self.sync_folder(path.parent)

    def create(self, path: Path) -> int:
        """Make a new file, open for reading and writing. FileExistsError when it is there."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def open(self, path: Path) -> int:
        """Open a file for reading."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def open_writable(self, path: Path) -> int:
        """Open a file that is there for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def close(self, file: int) -> None:
        """Let go of an open file."""
        os.close(file)

    def read(self, file: int, size: int, offset: int) -> bytes:
        """Return `size` bytes from `offset`, fewer only at the end of the file."""
        parts: list[bytes] = []
        while size > 0 and (part := os.pread(file, size, offset)):
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, file: int, content: bytes, offset: int) -> None:
        """Write all of `content` at `offset`; durable only after a sync."""
        view = memoryview(content)
        while view:
            done = os.pwrite(file, view, offset)
            view = view[done:]
            offset += done

    def status(self, file: int) -> os.stat_result:
        """Return mode, owner and size of an open file."""
        return os.fstat(file)

    def size(self, file: int) -> int:
        """Return the size of an open file."""
        return self.status(file).st_size

    def truncate(self, file: int, size: int) -> None:
        """Cut an open file."""
        os.ftruncate(file, size)

    def sync(self, file: int) -> None:
        """Make content and size of a file durable, on the medium."""
        os.fsync(file)

    def sync_content(self, file: int) -> None:
        """Make the content of a file durable whose size did not change."""
        os.fdatasync(file)

    def forget(self, file: int) -> None:
        """Have the next read come from the medium and not from memory.

        After a failed sync Linux keeps what was not written, marked as if it had been.
        """
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)

    def rename(self, old: Path, new: Path) -> None:
        """Move a file over whatever stood at `new`, at once or not at all; durable after `sync_folder`."""
        old.rename(new)

    def link(self, old: Path, new: Path) -> None:
        """Give a file a second name. FileExistsError when `new` is there."""
        new.hardlink_to(old)

    def unlink(self, path: Path) -> None:
        """Remove a name; durable after `sync_folder`."""
        path.unlink()

    def sync_folder(self, path: Path) -> None:
        """Make the names of a folder durable: what was made, renamed or removed in it."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def names(self, path: Path) -> list[str]:
        """Return the names in a folder."""
        return [each.name for each in path.iterdir()]

    def space(self, path: Path) -> Space:
        """Return what the file system of `path` has."""
        found = os.statvfs(path)
        return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


@contextmanager
def telling(path: Path, action: str) -> Iterator[None]:
    """Turn an OSError from within into a StoreError: where, what was tried, why not, and what may help."""
    try:
        yield
    except OSError as error:
        raise StoreError(told(error, path, action)) from error


def told(error: OSError, path: Path, action: str) -> str:
    """Return the text for a person of a file operation that failed."""
    hint = _HINTS.get(error.errno or 0)
    return f"{path}: cannot {action} as user {user_name()}: {error.strerror or error}" + (f" ({hint})" if hint else "")


def user_name(number: int | None = None) -> str:
    """Return the name of a user, or the number of one without a name; when not given, whom the agent runs as."""
    uid = os.geteuid() if number is None else number
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@contextmanager
def opened(disk: Disk, path: Path) -> Iterator[int]:
    """Hold a file open for reading."""
    file = disk.open(path)
    try:
        yield file
    finally:
        disk.close(file)


def read_salvaging(disk: Disk, file: int, size: int, offset: int = 0) -> bytes:
    """Return what `Disk.read` does, with zeros for the blocks that the medium cannot read any more."""
    try:
        return disk.read(file, size, offset)
    except OSError as error:
        if error.errno not in _ROTTEN:
            raise
    if size <= _BLOCK_BYTES:
        return bytes(size)
    parts = (
        read_salvaging(disk, file, min(_BLOCK_BYTES, size - at), offset + at) for at in range(0, size, _BLOCK_BYTES)
    )
    return b"".join(parts)


def read_whole(disk: Disk, path: Path) -> bytes:
    """Return the content of a file."""
    with opened(disk, path) as file:
        return disk.read(file, disk.size(file), 0)


def write_new(disk: Disk, path: Path, content: bytes) -> None:
    """Make a file with this content, durable but for its name; what stood there before is removed.

    A file that could not be written whole is removed again.
    """
    remove(disk, path)
    file = disk.create(path)
    try:
        disk.write(file, content, 0)
        disk.sync(file)
    except OSError:
        remove(disk, path)
        raise
    finally:
        disk.close(file)


def write_aside(disk: Disk, path: Path, content: bytes) -> None:
    """Replace a file so that a crash at any point leaves the old content or the new, whole."""
    aside = path.with_name(path.name + ".new")
    write_new(disk, aside, content)
    disk.rename(aside, path)
    disk.sync_folder(path.parent)


def remove(disk: Disk, path: Path) -> None:
    """Remove a file; nothing happens when there is none."""
    try:
        disk.unlink(path)
    except FileNotFoundError:
        return
