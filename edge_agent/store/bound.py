"""How many bytes the log may take: a hard cap, and a tenth of the disk left to others."""

from pathlib import Path

from edge_agent.model.errors import StoreError
from edge_agent.store.disk import Disk, telling

_LEAST_SEGMENTS = 8
"""One that is written, one spare, two in reserve, and four that can be squashed or given up."""
_RESERVE_SEGMENTS = 2
"""Kept back for the file aside of a squash (or the records of a safe stop) and for what the next start begins."""
_FREE_PARTS = 10


class Bound:
    """The bound of one log. `used` are the bytes of its segments and its spare."""

    def __init__(self, folder: Path, disk: Disk, max_bytes: int, segment_bytes: int) -> None:
        least = _LEAST_SEGMENTS * segment_bytes
        if max_bytes < least:
            raise StoreError(
                f"{folder}: got max_bytes = {max_bytes}, wanted at least {least}: {_LEAST_SEGMENTS} segments"
            )
        self._folder = folder
        self._disk = disk
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._held = least

    def fits(self, used: int, need: int) -> bool:
        """Whether the log may grow by `need` bytes.

        On a disk that others have filled it may still take what it had taken before, but no more. Raises
        StoreError.
        """
        if not self.holds(used + need, _RESERVE_SEGMENTS):
            return False
        if used + need <= self._held:
            return True
        with telling(self._folder, "ask for the free space"):
            space = self._disk.space(self._folder)
        if space.free - need < space.total // _FREE_PARTS:
            return False
        self._held = used + need
        return True

    def holds(self, used: int, reserve_segments: int) -> bool:
        """Whether `used` bytes are within the hard cap with so many segments in reserve."""
        return used <= self._max_bytes - reserve_segments * self._segment_bytes
