"""One agent at a time: an exclusive lock on the data folder, held as long as the process lives."""

import fcntl
import os
from pathlib import Path

from edge_agent.model.errors import StoreError
from edge_agent.model.layout import DataDir
from edge_agent.store.disk import Disk, telling, user_name


class Lock:
    """The lock on a data folder. The system lets go of it when the process ends, however it ends."""

    def __init__(self, file: int) -> None:
        self._file: int | None = file

    @classmethod
    def take(cls, where: DataDir, disk: Disk | None = None) -> "Lock":
        """Make the folder when there is none, and take its lock.

        Raises StoreError when the folder cannot be made or written, another process holds the lock, or root would
        leave files in it that its owner cannot read.
        """
        disk = disk or Disk()
        _refuse_root(where.root)
        with telling(where.root, "make the data folder"):
            disk.make_folder(where.root)
        with telling(where.lock, "write in the data folder"):
            file = _opened(disk, where.lock)
            try:
                _lock(file, where)
                os.ftruncate(file, 0)
                disk.write(file, b"%d\n" % os.getpid(), 0)
            except (OSError, StoreError):
                disk.close(file)
                raise
        return cls(file)

    def release(self) -> None:
        """Let go; may be called twice. The file stays: removing it would let two processes hold two locks."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _refuse_root(folder: Path) -> None:
    owner = folder.stat().st_uid if folder.is_dir() else os.geteuid()
    if os.geteuid() == 0 != owner:
        name = user_name(owner)
        raise StoreError(
            f"{folder}: got user root, wanted its owner {name}, who must be able to read what is written there"
            f" (sudo -u {name} edge-agent …)"
        )


def _opened(disk: Disk, path: Path) -> int:
    try:
        return disk.create(path)
    except FileExistsError:
        return disk.open_writable(path)


def _lock(file: int, where: DataDir) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(file, 20, 0).decode("ascii", "replace").strip()
        by = f"process {holder}" if holder.isdigit() else "another process"
        raise StoreError(
            f"{where.root}: {by} is already running on this data folder (stop it, or use another one)"
        ) from error
