"""What may be done, who allowed it, and what came of it: `Plan`, `Request`, `Approval`, `Action`, `Outcome`.

A refusal is a value (`Ruling`), not an error.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from edge_agent.model.condition import Condition
from edge_agent.model.reading import Value

Stage = Literal[
    "proposed", "waiting", "approved", "refused", "expired", "checkpointed", "writing", "verifying", "verified",
    "rolling_back", "rolled_back", "failed", "unknown",
]  # fmt: skip
"""Where an action stands; judge/lifecycle.py has the moves between them."""


class Step(msgspec.Struct, frozen=True):
    """One write to one point, with what must stand there before."""

    source: str
    point: str
    value: Value
    expect: Value
    """Read right before the write; anything else stops the action."""
    hold_s: float | None = None
    """After how long the device takes it back by itself."""
    settle_s: float = 1.0
    """How long the device needs until it can be read back."""
    verify: str = ""
    """The point that shows whether it was done, when that is another one."""
    tolerance: float = 0.0
    """By how much what is read back may differ."""

    @property
    def shown_at(self) -> str:
        """The point that is read back."""
        return self.verify or self.point


class Undo(msgspec.Struct, frozen=True):
    """One write of the inverse. `value` None puts back what stood there before."""

    source: str
    point: str
    value: Value = None
    settle_s: float = 1.0
    tolerance: float = 0.0


class Plan(msgspec.Struct, frozen=True):
    """What to do about a risk. A plan without steps only recommends. An operator signs the digest of all of it."""

    id: str
    summary: str
    steps: tuple[Step, ...]
    anchors: tuple[str, ...]
    """The evidence."""
    playbook: str = ""
    why: str = ""
    """What set it off, in a sentence with numbers."""
    confidence: float = 1.0
    """How far what set it off can be relied upon (0..1)."""
    inverse: tuple[Undo, ...] = ()
    """What is written when it fails; nothing is when this is empty."""
    criteria: tuple[Condition, ...] = ()
    """What must come of it."""
    deadline_s: float = 10.0
    """Seconds from the writes until the targets read back as written and the criteria hold."""
    risk: float = 0.0
    """What doing it puts at risk (0..1), as its author judged."""
    if_it_fails: str = ""
    """For the operator, in words."""
    role: str = "operator"
    """The least role that may approve it."""

    @property
    def places(self) -> Mapping[tuple[str, str], None]:
        """Every source and point that it may write to, when it goes well or not, in order."""
        steps = [(step.source, step.point) for step in self.steps]
        return dict.fromkeys([*steps, *((undo.source, undo.point) for undo in self.inverse)])


class Ruling(msgspec.Struct, frozen=True):
    """What policy says to a plan."""

    plan: Plan
    verdict: Literal["recommend", "wait", "permit", "refuse"]
    reason: str


class Request(msgspec.Struct, frozen=True):
    """What an approval must match, field by field (reference/formats.md §9)."""

    agent: str
    akey: str
    req: bytes
    nonce: bytes
    plan: bytes
    """The plan's canonical bytes: these are what will be carried out."""
    plan_digest: bytes
    seq: int
    """The record that was the newest when the plan began to wait, and its digest: what was known then."""
    head: bytes
    policy: bytes
    roster: bytes
    approvers: int
    """How many distinct operators must approve."""
    role: str
    ttl_s: int


class Approval(msgspec.Struct, frozen=True):
    """What an operator signed: yes or no to one request. Its signature was verified."""

    act: Literal["approve", "reject"]
    agent: str
    akey: str
    req: bytes
    nonce: bytes
    plan: bytes
    """The digest of the plan (32 bytes)."""
    seq: int
    head: bytes
    policy: bytes
    roster: bytes
    op: str
    ctr: int
    ttl_s: int


class Approver(msgspec.Struct, frozen=True):
    """One of those who may approve: a line of the roster."""

    name: str
    keyid: str
    key: bytes
    """The raw public key (32 bytes)."""
    role: str
    max_risk: float
    revoked: bool


class Operator(msgspec.Struct, frozen=True):
    """What the world remembers of an approver: the name, and the highest counter that was taken."""

    name: str
    counter: int


class Checkpoint(msgspec.Struct, frozen=True):
    """The sealed record that a snapshot was kept of before an action."""

    seq: int
    head: bytes


UNSET = 0
"""Wall time of a write that was made before anybody set the clock."""


class Write(msgspec.Struct, frozen=True):
    """A write that was intended: it counts against budgets from the instant it was, done or not."""

    source: str
    point: str
    at_ms: int
    """Or `UNSET`: a board without a battery begins years ago, and what it wrote then is not as old as that."""
    boot: bytes
    mono_ms: int


class Action(msgspec.Struct, frozen=True):
    """A plan with steps on its way. It stands in the world, so that it is sealed, restored and mirrored."""

    id: str
    """The request's `req` in hexadecimal."""
    stage: Stage
    request: Request
    plan: Plan
    """The request's plan bytes, read."""
    boot: bytes
    """The boot in which it was asked, and when on that boot's clock: approvals are aged by it."""
    mono_ms: int
    at_ms: int
    """Wall time of the last move."""
    reason: str = ""
    """Of the last move."""
    approvals: tuple[tuple[str, str], ...] = ()
    """Name and keyid of those who approved."""
    checkpoint: Checkpoint | None = None
    before: tuple[Value, ...] = ()
    """What each step's point held at the checkpoint, in order."""
    near: Mapping[str, Value] = {}
    """What else could be hit by a write that goes astray, and what it held, by `source.point`."""
    found: tuple[Value, ...] = ()
    """What each step's point read at the last look."""
    writes: tuple[Write, ...] = ()
    held_mono_ms: int | None = None
    """When the targets were last read back as they should be, on the clock of the boot that did. As written: criteria
    have from then to the deadline. As before: what is heard later tells whether they stay so."""


def changed(action: Action, **fields: object) -> Action:
    """Return an action with some of its fields replaced; its stage is changed by judge/lifecycle.py alone."""
    return msgspec.structs.replace(action, **fields)


Result = Literal["verified", "pending", "rolled_back", "failed", "unknown"]


class Outcome(msgspec.Struct, frozen=True):
    """How far an action came in a turn. "pending" waits for its criteria; "unknown" is an honest end: it calls a person."""

    action: Action
    result: Result
    reason: str

    @property
    def plan(self) -> Plan:
        """What was to be done."""
        return self.action.plan

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where it can be gone back to."""
        return self.action.checkpoint
