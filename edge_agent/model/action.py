"""What may be done, and what came of it: `Step`, `Plan`, `Ruling`, `Checkpoint`, `Outcome`.

A refusal is a value (`Ruling`), not an error.
"""

from typing import Literal

import msgspec

from edge_agent.model.reading import Value


class Step(msgspec.Struct, frozen=True):
    """One write to one point, with what must stand there before and how to undo it."""

    source: str
    point: str
    value: Value
    expect: Value
    """Read right before the write; anything else stops the action."""


class Plan(msgspec.Struct, frozen=True):
    """What to do about a risk. A plan without steps only recommends."""

    id: str
    summary: str
    steps: tuple[Step, ...]
    anchors: tuple[str, ...]


class Ruling(msgspec.Struct, frozen=True):
    """What policy says to a plan."""

    plan: Plan
    verdict: Literal["recommend", "permit", "refuse"]
    reason: str


class Checkpoint(msgspec.Struct, frozen=True):
    """The sealed record before an action, and what the points held then."""

    seq: int
    head: bytes
    before: tuple[Value, ...]
    """One for each step of the plan, in order."""


Result = Literal["verified", "rolled_back", "failed", "unknown"]


class Outcome(msgspec.Struct, frozen=True):
    """How an action ended. "unknown" is an honest end that calls a person."""

    plan: Plan
    result: Result
    reason: str
    checkpoint: Checkpoint | None
