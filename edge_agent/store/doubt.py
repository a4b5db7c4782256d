"""A log that was put back, remembered until a person says that all is well: `rolled-back.json` (formats.md §7).

While the file is there nothing is written to a device. What it says is for people; that it is there decides.
"""

import json
from typing import NamedTuple

from edge_agent.model.checked import as_type
from edge_agent.model.errors import StoreError, WireError
from edge_agent.model.layout import DataDir
from edge_agent.model.record import Fact
from edge_agent.store.disk import Disk, read_whole, remove, telling, write_aside


class Doubt(NamedTuple):
    """What was found: both 0 when the file itself can no longer be read."""

    log: int
    """The record that the log ended at."""
    snapshot: int
    """The record, further on, that a snapshot stands at."""

    @property
    def facts(self) -> dict[str, Fact]:
        """What the audit entry says."""
        return {"log": self.log, "snapshot": self.snapshot}

    @property
    def reason(self) -> str:
        """Why nothing may be written, and what to do about it."""
        return (
            f"the log ended at record {self.log} and a snapshot stands at record {self.snapshot}: an older copy of the "
            "log was put back, or its end was lost (when that is understood: edge-agent snapshots accept agent.toml)"
        )


def keep_doubt(where: DataDir, doubt: Doubt, disk: Disk | None = None) -> None:
    """Remember it durably. Raises StoreError."""
    with telling(where.rolled_back, "note that the log was rolled back"):
        write_aside(disk or Disk(), where.rolled_back, json.dumps({"v": 1, **doubt.facts}).encode() + b"\n")


def read_doubt(where: DataDir, disk: Disk | None = None) -> Doubt | None:
    """Return what is remembered, or None. Raises StoreError when it cannot be known."""
    try:
        with telling(where.rolled_back, "read whether the log was rolled back"):
            content = read_whole(disk or Disk(), where.rolled_back)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    try:
        found = as_type(json.loads(content), dict[str, int], "rolled-back.json")
        return Doubt(found["log"], found["snapshot"])
    except (ValueError, WireError, KeyError):
        return Doubt(0, 0)


def drop_doubt(where: DataDir, disk: Disk | None = None) -> None:
    """Forget it, durably. Raises StoreError."""
    disk = disk or Disk()
    with telling(where.rolled_back, "forget that the log was rolled back"):
        remove(disk, where.rolled_back)
        disk.sync_folder(where.root)
