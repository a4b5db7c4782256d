"""Keeps over restarts what links found out about their devices: which addresses a firmware does not have."""

import json
from collections.abc import Iterable
from typing import Any

from edge_agent.sources import Learning, Link
from edge_agent.store.baselines import Baselines


class Lessons:
    """One file for the agent; what is told in it of other buses stays."""

    def __init__(self, file: Baselines, links: Iterable[Link]) -> None:
        self._file = file
        self._learning = [link for link in links if isinstance(link, Learning)]
        document = file.load()
        self._kept: dict[str, Any] = {} if document is None else json.loads(document)
        if not isinstance(self._kept, dict):
            self._kept = {}
        for link in self._learning:
            link.recall(self._kept)

    def news(self) -> str | None:
        """Return the document to keep when there is something new in it, and take it for kept."""
        found = self._kept | {key: lesson for link in self._learning for key, lesson in link.lessons().items()}
        if found == self._kept:
            return None
        self._kept = found
        return json.dumps(found)

    def save(self, document: str) -> None:
        """Write a document; off the event loop. Raises StoreError."""
        self._file.save(document)
