"""The file in which a mirror keeps its place in a gateway's chain (reference/formats.md §6.3)."""

from pathlib import Path

from edge_agent.model.errors import StoreError
from edge_agent.store.disk import Disk, read_whole, telling, write_aside


class PlaceFile:
    """One file, replaced so that a crash at any point leaves the old place or the new one (see uplink.mirror.Keeper)."""

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self._path = path
        self._disk = disk or Disk()

    def load(self) -> bytes | None:
        """Return what was kept, None when nothing was. Raises StoreError."""
        try:
            with telling(self._path, "read the mirror's place"):
                return read_whole(self._disk, self._path)
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def save(self, place: bytes) -> None:
        """Keep a place, durable on return. Raises StoreError."""
        with telling(self._path, "keep the mirror's place"):
            write_aside(self._disk, self._path, place)
