"""The one table of an action's life: from where, by which move, to where. What is not in it cannot happen.

Every move is durable in a record before it takes effect; `proposed` and `checkpointed` last no longer than the record
in which they are passed. reference/lifecycle.md shows the picture that `picture` draws of the table.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from edge_agent.model.action import Action, Stage, changed

Move = Literal[
    "ask", "approve", "reject", "refuse", "expire", "void", "checkpoint", "intend", "fail", "read_back", "hold", "pass",
    "undo", "restore", "lose", "relapse",
]  # fmt: skip

MOVES: Mapping[tuple[Stage, Move], Stage] = {
    ("proposed", "ask"): "waiting",
    ("proposed", "refuse"): "refused",  # by policy
    ("waiting", "approve"): "approved",
    ("waiting", "reject"): "refused",  # by an operator
    ("waiting", "expire"): "expired",  # nobody answered in time
    ("waiting", "void"): "expired",  # another boot, policy or roster
    ("approved", "void"): "expired",
    ("approved", "expire"): "expired",
    ("approved", "refuse"): "refused",  # policy, looked at again with what is so now
    ("approved", "fail"): "failed",  # what stands there cannot be read, or an interlock is open: nothing written
    ("approved", "checkpoint"): "checkpointed",
    ("checkpointed", "intend"): "writing",
    ("writing", "fail"): "failed",  # not what was expected stood there: nothing was written
    ("writing", "read_back"): "verifying",
    ("verifying", "hold"): "verifying",  # it reads back as written; its criteria have until the deadline
    ("verifying", "pass"): "verified",
    ("verifying", "fail"): "failed",  # what stood before stands there still
    ("verifying", "undo"): "rolling_back",
    ("verifying", "lose"): "unknown",
    ("rolling_back", "restore"): "rolled_back",
    ("rolling_back", "lose"): "unknown",
    ("rolled_back", "relapse"): "unknown",  # what was undone stands there again: the device did it late
    ("failed", "relapse"): "unknown",
}
STAGES: tuple[Stage, ...] = get_args(Stage)
ENDS = frozenset(STAGES) - {stage for stage, move in MOVES if move != "relapse"}
"""Stages in which nothing more is done. What a device does late corrects the record, and that calls a person."""
UNDER_WAY: frozenset[Stage] = frozenset({"writing", "verifying", "rolling_back"})
"""Stages in which the device may have been written to, and nobody knows until it is read."""


class IllegalMoveError(Exception):
    """A move that the table does not have: a bug of ours."""


def moved(action: Action, move: Move, at_ms: int, reason: str, **fields: Any) -> Action:
    """Return the action after a move, with some of its fields replaced. Raises IllegalMoveError; nothing has changed then."""
    to = MOVES.get((action.stage, move))
    if to is None:
        raise IllegalMoveError(f"action {action.id}: no move {move!r} leads out of {action.stage!r}")
    return changed(action, stage=to, at_ms=at_ms, reason=reason, **fields)


def picture() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> proposed"]
    lines += [f"    {src} --> {dst}: {move}" for (src, move), dst in MOVES.items()]
    lines += [f"    {stage} --> [*]" for stage in STAGES if stage in ENDS]
    return "\n".join(lines) + "\n"
