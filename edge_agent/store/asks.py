"""What people on site ask of the agent, as files in a folder of its own: for now, that a finding is known.

The folder is the agent's, mode 0700, so that whoever can put a file there is root or the agent's own user; who it was is
the owner of the file, which the kernel vouches for. A file holds `{"v": 1, "acknowledge": <finding>}` and is removed
when what it asked for is in a record. A crash in between asks twice, which is no harm.
"""

import json
import os
import pwd
import stat
from pathlib import Path
from typing import NamedTuple

from edge_agent.model.finding import Acknowledgement
from edge_agent.store.disk import Disk, telling, write_aside

_MOST_BYTES = 4096
_MOST = 64
"""Files taken in one turn; the rest waits for the next."""


class Asked(NamedTuple):
    """What one file asks for; None when it asks for nothing that can be understood."""

    path: Path
    ask: Acknowledgement | None


class Asks:
    """The folder, as the agent sees it. Making one makes the folder. Raises StoreError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with telling(folder, "make the folder of asks"):
            folder.mkdir(mode=0o700, exist_ok=True)

    def take(self) -> list[Asked]:
        """Return what is asked for, by name of its file; nothing when somebody removed the folder. Raises StoreError."""
        with telling(self._folder, "look for asks"):
            paths = sorted(path for path in self._folder.glob("*.json") if not path.is_dir())
        return [Asked(path, _read(path)) for path in paths[:_MOST]]

    def done(self, asked: list[Asked]) -> None:
        """Remove what was dealt with. Raises StoreError."""
        with telling(self._folder, "remove an ask"):
            for each in asked:
                each.path.unlink(missing_ok=True)


def ask(folder: Path, finding: str, name: str) -> None:
    """Put an ask where the agent finds it; `name` is what nobody else calls theirs. Raises StoreError."""
    path = folder / f"{name}.json"
    with telling(path, "ask the agent"):
        write_aside(Disk(), path, json.dumps({"v": 1, "acknowledge": finding}).encode() + b"\n")
        path.chmod(0o644)  # root asks too; the agent, which is not root, must be able to read it


def _read(path: Path) -> Acknowledgement | None:
    """Return what a file asks for; anything but a small plain file with these fields asks for nothing."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            return None
        raw = json.loads(os.read(file, _MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        os.close(file)
    finding = raw.get("acknowledge") if isinstance(raw, dict) and raw.get("v") == 1 else None
    return Acknowledgement(finding, f"os:{_user(status.st_uid)}") if isinstance(finding, str) else None


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
