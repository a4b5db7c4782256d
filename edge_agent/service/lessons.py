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
        document = file.load()
        self._kept: dict[str, Any] = {} if document is None else json.loads(document)
        if not isinstance(self._kept, dict):
            self._kept = {}
        self._known: dict[str, Any] = dict(self._kept)
        """With what links taught that are gone, and what was not kept yet."""
        self._learning: list[Learning] = []
        links = list(links)
        self.recall(links)
        self.follow(links)

    def recall(self, links: Iterable[Link]) -> None:
        """Tell new links all that is known."""
        self._known |= self._taught()
        for link in links:
            if isinstance(link, Learning):
                link.recall(self._known)

    def follow(self, links: Iterable[Link]) -> None:
        """Learn from these links from now on."""
        self._learning = [link for link in links if isinstance(link, Learning)]

    def _taught(self) -> dict[str, Any]:
        return {key: lesson for link in self._learning for key, lesson in link.lessons().items()}

    def news(self) -> str | None:
        """Return the document to keep when there is something new in it, and take it for kept."""
        found = self._known | self._taught()
        if found == self._kept:
            return None
        self._kept = found
        return json.dumps(found)

    def save(self, document: str) -> None:
        """Write a document; off the event loop. Raises StoreError."""
        self._file.save(document)
