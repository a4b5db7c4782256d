"""What the newest records of a log say of the recent past, in one pass: courses, actions with their proofs, risk.

Every record is verified. How far back is a number of records, so that a page costs the same on any log.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from edge_agent.cli.stored import Folder
from edge_agent.model.action import Action
from edge_agent.model.record import Fact
from edge_agent.model.world import World
from edge_agent.seal.squash import Stretch, unseal_stretch

MOST_CHANGES = 4096
"""Kept of one variable: a picture is some hundred points wide."""


class Move(NamedTuple):
    """An audit entry of an action, with the record in which it stands: the proof."""

    seq: int
    at_ms: int
    kind: str
    """`action` or `approval`."""
    facts: Mapping[str, Fact]


class Past:
    """What was found. Courses hold wall time and value, rising; None where the value was not good."""

    courses: dict[int, deque[tuple[int, float | None]]]
    actions: dict[str, Action]
    moves: dict[str, list[Move]]
    turns: deque[tuple[int, Mapping[str, Fact]]]
    """When, and the report of the turn in short."""

    def __init__(self) -> None:
        self.first = self.last = 0
        self.since_ms: int | None = None
        self._newest_ms: int | None = None
        self.courses = {}
        self.actions = {}
        self.moves = {}
        self.turns = deque(maxlen=MOST_CHANGES)

    def take(self, stretch: Stretch) -> None:
        """Take in a verified record or range."""
        if self._newest_ms is not None and any(told.entry.kind == "start" for told in stretch.audit):
            self._pause(self._newest_ms, stretch.at_ms)
        self._newest_ms = stretch.at_ms
        self.first, self.last = self.first or stretch.first, stretch.last
        if self.since_ms is None:
            self.since_ms = stretch.at_ms
        for number, state in stretch.delta.states.items():
            good = not state.quality.startswith("bad:") and _is_number(state.value)
            at_ms = state.at_ms if good else stretch.at_ms
            course = self.courses.setdefault(number, deque(maxlen=MOST_CHANGES))
            if not course or at_ms >= course[-1][0]:
                course.append((at_ms, float(state.value) if good else None))  # type: ignore[arg-type]
        self.actions |= {key: action for key, action in stretch.delta.actions.items() if action is not None}
        for told in stretch.audit:
            entry = told.entry
            if entry.kind in ("action", "approval"):
                id_ = str(entry.facts.get("action"))
                self.moves.setdefault(id_, []).append(Move(told.seq, told.at_ms, entry.kind, entry.facts))
            elif entry.kind == "turn":
                self.turns.append((told.at_ms, entry.facts))

    def _pause(self, from_ms: int, to_ms: int) -> None:
        """Take note that nothing was read between two runs; what is not sent again is as it was."""
        for course in self.courses.values():
            if course[-1][1] is not None and course[-1][0] < from_ms <= to_ms:
                course.extend(((from_ms, None), (to_ms, course[-1][1])))

    def values(self, number: int) -> list[float]:
        """Return the numbers of a variable's course."""
        return [value for _, value in self.courses.get(number, ()) if value is not None]


def past_of(folder: Folder, world: World, records: int) -> Past:
    """Return what the newest so many records say, up to the one that left the world so.

    Raises StoreError, and TrustError or WireError where a record does not hold.
    """
    found = Past()
    for item in folder.shelf.records(max(folder.shelf.oldest, world.version - records + 1)):
        if item.first > world.version:
            break
        found.take(unseal_stretch(item.envelope, folder.key))
    found.actions |= world.actions
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
