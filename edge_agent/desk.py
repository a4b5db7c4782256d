"""The desk of the loop: what waits for an approval, and what has come in about it. Pure.

It joins what judge/ decides with what seal/ signs: approvals are opened and heard, requests are made, what is over is
closed, what ended long ago is let go. Everything it does is in the actions and the audit entries that it returns;
sync.py seals them, and only then acts.
"""

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from edge_agent.judge.approve import Desk, Letter, Present, expire, hear, move_entry, passed
from edge_agent.judge.constrain import DAY_S, Bounds, age_s
from edge_agent.judge.lifecycle import ENDS, UNDER_WAY, moved
from edge_agent.judge.rulebook import LOOKS, approvers_needed
from edge_agent.judge.verdict import relapsed
from edge_agent.model.action import Action, Approver, Plan, Request, Ruling
from edge_agent.model.finding import Acknowledgement
from edge_agent.model.layout import variable_path
from edge_agent.model.reading import GOOD, iso_utc
from edge_agent.model.record import Entry
from edge_agent.model.site import PolicySettings
from edge_agent.model.world import State, World, replace_world
from edge_agent.seal.actions import MAX_PLAN_BYTES, digest_of, drawn, plan_bytes, request_map
from edge_agent.seal.approvals import opened
from edge_agent.seal.canonical import pack
from edge_agent.twin.baseline import Binding, Bindings

REFUSALS_EVERY_MS = 1000
"""Refused approvals are told of at most so often, however many there are."""
WATCHED_S = 60.0
"""For so long at least what was undone is watched: a gateway or a relay with a delay does a write late."""
MOST_KEPT = 200
"""Ended actions that wrote nothing are forgotten from here on; a request a quarter of an hour makes half of it a day."""


class Post(NamedTuple):
    """What people said since the last turn."""

    letters: tuple[bytes, ...] = ()
    """Envelopes of approvals, or what claims to be."""
    refused: Mapping[str, int] = {}
    """Those that were not even read, by reason."""
    seed: bytes = b""
    """32 random bytes that nobody can foretell: what new requests are made of. Without them nothing is asked."""
    acknowledged: tuple[Acknowledgement, ...] = ()
    """Findings that somebody on site called known."""


class Refusals(NamedTuple):
    """Approvals that were refused and not yet told of, by reason, and when they were last told of."""

    counts: Mapping[str, int] = {}
    told_ms: int | None = None


def listen(world: World, post: Post, roster: Mapping[str, Approver], now: Present) -> Desk:
    """Return the desk after what is over was closed and what came in was heard."""
    letters: list[Letter] = []
    refused = Counter(post.refused)
    for envelope in post.letters:
        found = opened(envelope, roster)
        if isinstance(found, str):
            refused[found] += 1
        else:
            letters.append(found)
    desk = expire(Desk(world.actions, world.operators), now)
    return hear(letters, desk._replace(refused=refused), now)


def ask(
    desk: Desk,
    rulings: Iterable[Ruling],
    policy: PolicySettings | None,
    known: tuple[int, bytes],
    seed: bytes,
    now: Present,
) -> Desk:
    """Return the desk with a request for each plan that is to wait, and without what policy takes back.

    `known` is the newest sealed record, its number and digest: what is known when it is asked.
    """
    for ruling in rulings:
        plan = ruling.plan
        if ruling.verdict == "wait" and policy is not None and seed:
            desk = _asked(desk, plan, policy, known, seed, now)
        elif ruling.verdict == "refuse" and plan.steps:
            for action in [a for a in desk.actions.values() if a.plan == plan and a.stage == "approved"]:
                desk = passed(desk, action, "refuse", ruling.reason, now.at_ms)
    return desk


def forget(desk: Desk, bounds: Bounds) -> Desk:
    """Return the desk without the actions that ended a day ago: nothing is counted from them any more."""
    ended = [action for action in desk.actions.values() if action.stage in ENDS]
    old = [a for a in ended if a.writes and all(age_s(write, bounds) > DAY_S for write in a.writes)]
    idle = [a for a in ended if not a.writes]
    old += [a for a in idle if bounds.at_ms - a.at_ms > DAY_S * 1000]
    old += sorted(idle, key=lambda action: action.at_ms)[: max(0, len(idle) - MOST_KEPT)]
    gone = {action.id for action in old}
    if not gone:
        return desk
    return desk._replace(actions={key: action for key, action in desk.actions.items() if key not in gone})


def with_desk(world: World, desk: Desk) -> World:
    """Return the world with the actions and operators of the desk."""
    if desk.actions is world.actions and desk.operators is world.operators:
        return world
    return replace_world(world, actions=desk.actions, operators=desk.operators)


def tell(refusals: Refusals, new: Mapping[str, int], mono_ms: int) -> tuple[tuple[Entry, ...], Refusals]:
    """Return an entry for the refused approvals, at most one in `REFUSALS_EVERY_MS`, and what is still to be told."""
    counts = Counter(refusals.counts) + Counter(new)
    soon = refusals.told_ms is not None and 0 <= mono_ms - refusals.told_ms < REFUSALS_EVERY_MS
    if not counts or soon:
        return (), Refusals(dict(counts), refusals.told_ms)
    return (Entry("approvals-refused", dict(counts)),), Refusals({}, mono_ms)


def due(
    world: World, rulings: Sequence[Ruling], mono_ms: int, mine: frozenset[str], heard: Mapping[int, int]
) -> list[Action]:
    """Return the actions that touch the plant in this turn.

    Those that are permitted; those of which a process that ended has left nobody knows what; and those whose criteria
    have come about, or do not hold when their time is over: both are read once more. `mine` are the actions that this
    process has read back as written, `heard` is when variables were last heard.
    """
    permitted = [ruling.plan for ruling in rulings if ruling.verdict == "permit"]
    return [
        action
        for action in world.actions.values()
        if (action.stage == "approved" and action.plan in permitted)
        or (
            action.stage in UNDER_WAY
            and (not _holds(action, mine) or _overdue(action, mono_ms) or not unmet_criteria(action, world, heard))
        )
    ]


def unmet_criteria(action: Action, world: World, heard: Mapping[int, int]) -> list[str]:
    """Return each criterion that does not hold, in words; what is not known to hold does not.

    What was read before the targets had been read back as written says nothing of what came of it.
    """
    numbers = {variable_path(v.entity, v.name): number for number, v in world.variables.items()}
    since_ms = action.held_mono_ms
    unmet = []
    for criterion in action.plan.criteria:
        number = numbers.get(criterion.variable)
        state = None if number is None else world.state_of(number)
        if number is None or state is None or state.quality != GOOD:
            unmet.append(f"{criterion.variable} is {'gone' if state is None else state.quality}")
        elif since_ms is None or heard.get(number, since_ms) <= since_ms:
            unmet.append(f"{criterion.variable} was not read since")
        elif not criterion.holds(state.value):
            unmet.append(f"{criterion.variable} is {state.value}, wanted {criterion.is_} {criterion.value}")
    return unmet


def came_back(action: Action, world: World, bound: Bindings, heard: Mapping[int, int], now: Present) -> str:
    """Say what stands there again though it was undone, or never done; nothing when all is as it ended.

    A device may do late what it acknowledged, later than it was looked at. So its ordinary polls are watched for
    `WATCHED_S` after the last write, or as long as the plan itself gives it.
    """
    if action.stage not in ("rolled_back", "failed") or action.held_mono_ms is None:
        return ""  # of what failed before it was written nothing can come
    last, plan = action.writes[-1], action.plan
    same_boot = last.boot == now.boot
    watched_s = max(WATCHED_S, plan.deadline_s, LOOKS * max(step.settle_s for step in plan.steps))
    if (now.mono_ms - (last.mono_ms if same_boot else 0)) / 1000 > watched_s:
        return ""
    since_ms = action.held_mono_ms if same_boot else 0
    places = {(step.source, step.point) for step in plan.steps}
    others = [w for other in world.actions.values() if other.id != action.id for w in other.writes]
    if any((w.source, w.point) in places and w.boot == now.boot and w.mono_ms > since_ms for w in others):
        return ""  # what stands there now another action has written
    states = [_heard_since(world, bound.get((s.source, s.point)), heard, since_ms) for s in plan.steps]
    again = list(relapsed(action, [None if state is None else state.value for state in states]))
    if not again:
        return ""
    at_ms = max(state.at_ms for state in states if state is not None)
    return f"{action.reason}; it came back at {iso_utc(at_ms)}: {'; '.join(again)}"


def _heard_since(world: World, bound: Binding | None, heard: Mapping[int, int], since_ms: int) -> State | None:
    """Return the state of a variable that was heard since, when it is good."""
    if bound is None or heard.get(bound.number, since_ms) <= since_ms:
        return None
    state = world.state_of(bound.number)
    return state if state.quality == GOOD else None


def _holds(action: Action, mine: frozenset[str]) -> bool:
    return action.stage == "verifying" and action.held_mono_ms is not None and action.id in mine


def _overdue(action: Action, mono_ms: int) -> bool:
    return action.held_mono_ms is None or mono_ms - action.held_mono_ms > action.plan.deadline_s * 1000


def _asked(desk: Desk, plan: Plan, policy: PolicySettings, known: tuple[int, bytes], seed: bytes, now: Present) -> Desk:
    data = plan_bytes(plan)
    if len(data) > MAX_PLAN_BYTES:
        return desk
    request = Request(
        agent=now.agent,
        akey=now.akey,
        req=drawn(seed, plan.id, "req", 16),
        nonce=drawn(seed, plan.id, "nonce", 32),
        plan=data,
        plan_digest=digest_of(data),
        seq=known[0],
        head=known[1],
        policy=now.policy,
        roster=now.roster,
        approvers=approvers_needed(plan.risk, policy),
        role=plan.role,
        ttl_s=int(policy.request_ttl),
    )
    proposed = Action(request.req.hex(), "proposed", request, plan, now.boot, now.mono_ms, now.at_ms)
    waiting = moved(proposed, "ask", now.at_ms, f"{request.approvers} must approve within {request.ttl_s} s")
    facts = {"request": base64.b64encode(pack(request_map(request))).decode(), "summary": plan.summary, "why": plan.why}
    return desk._replace(
        actions={**desk.actions, waiting.id: waiting},
        entries=(*desk.entries, move_entry(proposed, waiting, "ask", facts)),
    )
