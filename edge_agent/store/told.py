"""Which holes of the log were told on the chain, so that a start tells none of them a second time (formats.md §7)."""

import json
from collections.abc import Iterable
from pathlib import Path

from edge_agent.model.checked import as_type
from edge_agent.model.errors import WireError
from edge_agent.store.baselines import Baselines
from edge_agent.store.disk import Disk
from edge_agent.store.segment import Hole


class Told:
    """One small file, on which nothing depends: without it the holes are told once more."""

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self._file = Baselines(path, disk, what="holes")
        document = self._file.load()
        self._kept = set() if document is None else _ranges(json.loads(document))
        self._told = set(self._kept)

    def take(self, holes: Iterable[Hole]) -> list[Hole]:
        """Return those that were not told yet, and take them for told."""
        new = [hole for hole in holes if (hole.first, hole.last) not in self._told]
        self._told.update((hole.first, hole.last) for hole in new)
        return new

    def keep(self, oldest: int) -> None:
        """Make durable what was told, now that it is in a record, but for what lies before `oldest`. Raises StoreError."""
        if self._told != self._kept:
            self._file.save(json.dumps(sorted(hole for hole in self._told if hole[1] >= oldest)))
            self._kept = set(self._told)


def _ranges(raw: object) -> set[tuple[int, int]]:
    try:
        return set(as_type(raw, list[tuple[int, int]], "holes"))
    except WireError:
        return set()
