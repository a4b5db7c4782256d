"""May an approval open the way for the action it names? The second half of the checks, in their order.

An approval whose signature holds is held against the request that is open: each check has its word, and the first
that does not hold is the reason of the refusal. The first half, on the bytes, is seal/approvals.py. Nothing here is
ever undone by the clock on the wall: age is counted on the clock of the boot in which the request was made.
"""

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from edge_agent.judge.lifecycle import Move, moved
from edge_agent.model.action import Action, Approval, Approver, Operator, changed
from edge_agent.model.record import Entry, Fact

ROLES = ("operator", "supervisor")
"""From the least to the greatest; a greater one may do what a lesser one may."""


class Present(NamedTuple):
    """What an approval is held against, beside the request itself."""

    agent: str
    akey: str
    policy: bytes
    roster: bytes
    boot: bytes
    mono_ms: int
    at_ms: int
    locked: str = ""
    """Why nothing may be written for now, or empty."""


class Letter(Protocol):
    """An approval whose signature holds (seal.approvals.Opened)."""

    @property
    def approval(self) -> Approval:
        """What was signed."""

    @property
    def approver(self) -> Approver:
        """Whose key signed."""

    @property
    def envelope(self) -> bytes:
        """The very bytes."""


class Desk(NamedTuple):
    """The actions and operators of the world, and what was done at them in this turn."""

    actions: Mapping[str, Action]
    operators: Mapping[str, Operator]
    entries: tuple[Entry, ...] = ()
    refused: Mapping[str, int] = {}
    """How many approvals were refused, by reason."""


class Case(NamedTuple):
    """One approval beside everything it is held against."""

    approval: Approval
    approver: Approver
    action: Action | None
    operator: Operator
    now: Present

    @property
    def open_action(self) -> Action:
        """The action; only for checks behind the one that there is one."""
        assert self.action is not None
        return self.action

    @property
    def age_s(self) -> float:
        """How long ago the request was made, on the boot's clock."""
        return (self.now.mono_ms - self.open_action.mono_ms) / 1000


def _role_suffices(case: Case) -> bool:
    if case.approval.act == "reject":
        return True  # whoever is on the roster may say no
    plan = case.open_action.plan
    greater = ROLES.index(case.approver.role) >= ROLES.index(case.open_action.request.role)
    return greater and plan.risk <= case.approver.max_risk


def _of_age(case: Case) -> bool:
    return 0 <= case.age_s <= min(case.open_action.request.ttl_s, case.approval.ttl_s)


CHECKS: tuple[tuple[str, Callable[[Case], bool]], ...] = (
    ("agent", lambda c: c.approval.agent == c.now.agent),
    ("akey", lambda c: c.approval.akey == c.now.akey),
    ("operator", lambda c: c.approval.op == c.approver.name),
    ("request", lambda c: c.action is not None and c.action.stage not in ("refused", "expired")),
    ("consumed", lambda c: c.open_action.stage == "waiting"),
    ("nonce", lambda c: c.approval.nonce == c.open_action.request.nonce),
    ("plan", lambda c: c.approval.plan == c.open_action.request.plan_digest),
    (
        "checkpoint",
        lambda c: (c.approval.seq, c.approval.head) == (c.open_action.request.seq, c.open_action.request.head),
    ),
    ("policy", lambda c: c.approval.policy == c.open_action.request.policy == c.now.policy),
    ("roster", lambda c: c.approval.roster == c.open_action.request.roster == c.now.roster),
    ("role", _role_suffices),
    ("boot", lambda c: c.open_action.boot == c.now.boot),
    ("age", _of_age),
    ("counter", lambda c: c.approval.ctr > c.operator.counter),
    ("again", lambda c: c.approval.act == "reject" or c.approver.name not in dict(c.open_action.approvals)),
    ("locked", lambda c: c.approval.act == "reject" or not c.now.locked),
)
"""Reason and what must hold, in the order of the checks."""


def refusal(letter: Letter, desk: Desk, now: Present) -> str | None:
    """Return the word of the first check that an approval does not pass, or None when it counts."""
    approval, approver = letter.approval, letter.approver
    known = desk.operators.get(approver.keyid, Operator(approver.name, 0))
    case = Case(approval, approver, desk.actions.get(approval.req.hex()), known, now)
    return next((word for word, holds in CHECKS if not holds(case)), None)


def hear(letters: Iterable[Letter], desk: Desk, now: Present) -> Desk:
    """Return the desk after some approvals, one after the other: what counts is noted, what does not is counted."""
    refused: Counter[str] = Counter(desk.refused)
    for letter in letters:
        word = refusal(letter, desk, now)
        if word is None:
            desk = _counted(letter, desk, now)
        else:
            refused[word] += 1
    return desk._replace(refused=dict(refused))


def expire(desk: Desk, now: Present) -> Desk:
    """Close what nobody answered in time, and what belongs to another boot, policy or roster."""
    for action in desk.actions.values():
        if action.stage in ("waiting", "approved") and (found := _over(action, now)) is not None:
            desk = passed(desk, action, *found, now.at_ms)
    return desk


def passed(
    desk: Desk, action: Action, move: Move, reason: str, at_ms: int, facts: Mapping[str, Fact] | None = None
) -> Desk:
    """Return the desk after a move of one action, with its entry for the audit trail."""
    after = moved(action, move, at_ms, reason)
    return desk._replace(
        actions={**desk.actions, after.id: after}, entries=(*desk.entries, move_entry(action, after, move, facts))
    )


def move_entry(before: Action, after: Action, move: Move, facts: Mapping[str, Fact] | None = None) -> Entry:
    """Return what the audit trail says of a move."""
    told: dict[str, Fact] = {"action": after.id, "plan": after.plan.id, "move": move}
    return Entry("action", {**told, "from": before.stage, "to": after.stage, "reason": after.reason, **(facts or {})})


def _over(action: Action, now: Present) -> tuple[Move, str] | None:
    request = action.request
    if action.boot != now.boot:
        return "void", "the gateway was booted since it was asked: it must be asked anew"
    if (request.agent, request.akey) != (now.agent, now.akey):
        return "void", "the gateway's key was replaced since it was asked: it must be asked anew"
    if (request.policy, request.roster) != (now.policy, now.roster):
        return "void", "the policy or the roster has changed since it was asked: it must be asked anew"
    age_s = (now.mono_ms - action.mono_ms) / 1000
    late = "nobody answered" if action.stage == "waiting" else "it was not begun"
    return ("expire", f"{late} within {request.ttl_s} s") if age_s > request.ttl_s else None


def _counted(letter: Letter, desk: Desk, now: Present) -> Desk:
    """Note an approval that passed every check: the counter, the proof, and the move that it leads to."""
    approval, approver = letter.approval, letter.approver
    action = desk.actions[approval.req.hex()]
    entry = Entry(
        "approval",
        {
            "action": action.id,
            "act": approval.act,
            "operator": approver.name,
            "keyid": approver.keyid,
            "counter": approval.ctr,
            "envelope": base64.b64encode(letter.envelope).decode(),
        },
    )
    desk = desk._replace(
        operators={**desk.operators, approver.keyid: Operator(approver.name, approval.ctr)},
        entries=(*desk.entries, entry),
    )
    if approval.act == "reject":
        return passed(desk, action, "reject", f"rejected by {approver.name}", now.at_ms)
    action = changed(action, approvals=(*action.approvals, (approver.name, approver.keyid)))
    desk = desk._replace(actions={**desk.actions, action.id: action})
    if len(action.approvals) < action.request.approvers:
        return desk
    names = " and ".join(name for name, _ in action.approvals)
    return passed(desk, action, "approve", f"approved by {names}", now.at_ms)
