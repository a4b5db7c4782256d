"""The loop, in the reference workflow's order and words.

    receive → transform → integrate → identity resolution → world state → diff → state transition →
    detect anomaly → estimate risk → forecast risk → plan → constrain → checkpoint → act → verify → audit →
    (rollback) → summarize

`assess` is everything up to constrain: no await, no clock, no disk. Its result is sealed in one record and is
durable before anything is done about it. `carry_out` touches the plant, by hands.py, and only for a plan that was
approved and permitted; what is asked, heard and closed on the way there is desk.py.
`await` is the visible mark of touching the world. What an action changed comes back as readings in the next
turn; nothing else alters the world. tests/test_sync.py holds the order of the calls against the list above.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

from edge_agent.desk import Post, Refusals, ask, came_back, due, forget, listen, tell, unmet_criteria, with_desk
from edge_agent.hands import Hands, act, beside, open_interlock, rollback, verify
from edge_agent.judge.approve import Present, move_entry
from edge_agent.judge.comparison import Comparisons, compare
from edge_agent.judge.constrain import Bounds, alike, constrain
from edge_agent.judge.findings import acknowledge, alarms_of, endings, group
from edge_agent.judge.lifecycle import Move, moved
from edge_agent.judge.plan import plan
from edge_agent.judge.playbooks import Target, playbook_plans, targets
from edge_agent.judge.risk import Limits, Unheard, estimate_risk, forecast_risk, next_interval
from edge_agent.judge.summarize import brief, summarize
from edge_agent.judge.verdict import Judged
from edge_agent.judge.watch import Watch, detect_anomaly
from edge_agent.model.action import (
    UNSET,
    Action,
    Approver,
    Checkpoint,
    Outcome,
    Result,
    Ruling,
    Step,
    Undo,
    Write,
)
from edge_agent.model.assessment import Assessment
from edge_agent.model.errors import LinkError, WireError
from edge_agent.model.finding import NO_DISPUTES, Disputes
from edge_agent.model.layout import local_name, sensor_ref, variable_path
from edge_agent.model.reading import GOOD, Event, Instant, Reading
from edge_agent.model.record import Entry, Record, Report, Sealed, Snapshot, SnapshotReason
from edge_agent.model.site import Site
from edge_agent.model.world import Delta, World, replace_world
from edge_agent.seal.actions import roster_digest, settings_digest
from edge_agent.seal.digest import Digests, entity_digests, root_digest
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.records import seal_record, seal_snapshot
from edge_agent.twin.baseline import Binding, Bindings, bindings
from edge_agent.twin.diff import compose, diff
from edge_agent.twin.identity import identity_points, resolve_identity
from edge_agent.twin.integrate import deadbands, integrate
from edge_agent.twin.transform import transform
from edge_agent.twin.transition import Holding, Rule, rules, transition
from edge_agent.twin.trust import Trust, trust_of, weigh

HORIZON_S = 24 * 3600.0
"""How far ahead risk is forecast: a day is what a person on call can act within."""
NO_POST = Post()
RESTARTED = "the agent was started anew while it was under way: it is read, and not written"
WRITTEN = "every step was acknowledged"


class Ledger(Protocol):
    """Where records and checkpoints become durable."""

    async def commit(self, sealed: Sealed) -> None:
        """Return when the record will survive a power cut. Raises StoreError."""

    async def keep(self, snapshot: Snapshot, envelope: bytes) -> None:
        """Return when the snapshot will survive a power cut. Raises StoreError."""


class Ground(NamedTuple):
    """What turns stand on and no turn changes; only `watch`, the running statistics, is alive."""

    site: Site
    bindings: Bindings
    deadband: Mapping[int, float]
    identity: Mapping[int, Binding]
    rules: Sequence[Rule]
    criticality: Mapping[int, float]
    watch: Watch
    comparisons: Comparisons
    trust: Trust
    key: PrivateKey
    boot: bytes
    writable: Mapping[str, Target]
    roster: Mapping[str, Approver]
    """By keyid."""
    vital: frozenset[int]
    """The variables that acting depends on."""
    policy_digest: bytes
    roster_digest: bytes


class Standing(NamedTuple):
    """What one turn hands to the next."""

    world: World
    digests: Digests
    head: bytes
    """Digest of the record that made the world."""
    holding: Holding
    advised: frozenset[str]
    """Ids of the plans already told."""
    refusals: Refusals = Refusals()
    """Of approvals."""
    mine: frozenset[str] = frozenset()
    """Ids of the actions that this process has read back as written, and whose criteria it waits for."""
    heard: Mapping[int, int] = {}
    """When what acting depends on was last heard by this process (monotonic ms), by variable."""
    disputes: Disputes = NO_DISPUTES
    """Which sources disagree, and since when."""
    locked: str = ""
    """Why nothing may be written for now, or empty."""


def ground(
    site: Site, world: World, watch: Watch, key: PrivateKey, boot: bytes, comparisons: Comparisons | None = None
) -> Ground:
    """Prepare what turns stand on. `world` is in line with the configuration (twin.baseline)."""
    bound = bindings(site, world)
    weights: dict[str, float] = {e.id: e.criticality for e in site.settings.entities}
    criticality = {v.number: weights.get(local_name(v.entity), 0.5) for v in world.variables.values()}
    settings = site.settings
    return Ground(
        site=site,
        bindings=bound,
        deadband=deadbands(bound),
        identity=identity_points(bound),
        rules=rules(site, world),
        criticality=criticality,
        watch=watch,
        trust=trust_of(site, world, deadbands(bound)),
        comparisons=comparisons or Comparisons(site, world),
        key=key,
        boot=boot,
        writable=targets(site),
        roster={approver.keyid: approver for approver in site.roster},
        vital=_vital(site, world),
        # With the sources: what is signed for one device must not be carried out on another.
        policy_digest=settings_digest(
            {"policy": settings.policy, "playbooks": settings.playbooks, "sources": site.sources}
        ),
        roster_digest=roster_digest(site.roster),
    )


async def sync(
    standing: Standing,
    readings: Sequence[Reading],
    ground: Ground,
    ledger: Ledger,
    hands: Hands | None,
    now: Instant,
    notes: Iterable[Entry] = (),
    post: Post = NO_POST,
) -> tuple[Standing, Report]:
    """Make one turn: assess, commit, carry out what was permitted, summarize.

    `notes` are the service's own entries for this turn's record (start, stop, drop); `post` is what people said.
    Without `hands` nothing is carried out: what is due waits. A turn that changed and decided nothing leaves no
    record. Raises StoreError when a record cannot be made durable.
    """
    found = assess(standing, receive(readings), ground, now, post)
    entries = (*notes, *found.entries)
    if found.delta or entries:
        entries = (brief(found), *entries)
        standing = await commit(standing, found.world, found.delta, entries, ground, ledger, now)
    standing = standing._replace(
        holding=found.holding,
        disputes=found.disputes,
        advised=frozenset(r.plan.id for r in found.rulings),
        refusals=Refusals(found.refused, found.told_ms),
        heard=found.heard,
    )
    outcomes = []
    if hands is not None:
        for action in due(found.world, found.rulings, now.mono_ns // 1_000_000, standing.mine, standing.heard):
            standing, outcome = await carry_out(standing, action, ground, ledger, hands)
            outcomes.append(outcome)
        present, _ = _present(standing, ground, now, found.heard)
        for action in found.world.actions.values():
            why = came_back(action, found.world, ground.bindings, found.heard, present)
            if why:
                standing, corrected = await _move(standing, action, "relapse", why, ground, ledger, hands)
                outcomes.append(_outcome(corrected))
    state = root_digest(standing.world.world_id, standing.digests)
    limits = Limits(*ground.site.settings.sync.limits_s)
    advice = next_interval(found.risk, found.ahead, Unheard(found.readings - found.good, found.readings), limits)
    return standing, summarize(found, outcomes, standing.world, state, standing.head, ground.site, advice)


def receive(readings: Sequence[Reading]) -> Sequence[Reading]:
    """Return the readings in the order they were made: links finish when they finish."""
    return sorted(readings, key=lambda reading: reading.anchor.at.mono_ns)


def assess(
    standing: Standing, readings: Sequence[Reading], ground: Ground, now: Instant, post: Post = NO_POST
) -> Assessment:
    """Return what the readings mean: the next world, what was noticed, and what is advised."""
    before = standing.world
    events, dropped = transform(readings, ground.bindings)
    mode = ground.site.settings.sync.mode
    merged = integrate(before, events, {} if mode == "full" else ground.deadband)
    known, learned = resolve_identity(merged, events, ground.identity)
    weighed_in, disputes, conflicts, believed = weigh(known, ground.trust, standing.disputes, before.findings, now)
    stated = world_state(weighed_in, now)
    changes = diff(before, stated)
    moved, holding, passages = transition(stated, ground.rules, standing.holding, now)
    told = replace_world(moved, findings=alarms_of(moved.findings))
    alarms = detect_anomaly(ground.watch, events, told, now)
    apart = compare(ground.comparisons, events, told, now.at_ms)
    findings = group({**alarms, **apart, **conflicts}, moved.findings, moved, now.at_ms, ground.criticality)
    findings, quieted = acknowledge(findings, post.acknowledged)
    noticed = moved if findings == moved.findings else replace_world(moved, findings=findings)
    # With delta_only nothing is weighed: no risk and no plan, and so no action.
    weighed = () if mode == "delta_only" else tuple(findings.values())
    courses = [*ground.watch.trends(), *ground.comparisons.trends()] if weighed else []
    risk = estimate_risk(weighed, ground.criticality)
    ahead = forecast_risk(risk, courses, HORIZON_S)
    heard = _heard(standing.heard, events, ground.vital)
    present, bounds = _present(standing, ground, now, heard)
    answered = with_desk(noticed, desk := listen(noticed, post, ground.roster, present))
    answers = () if mode == "delta_only" else playbook_plans(ground.site, answered, risk, ahead, ground.writable)
    plans = plan(weighed, risk, ahead) + answers
    rulings = () if mode == "delta_only" else constrain(plans, answered, bounds)
    desk = ask(desk, rulings, bounds.policy, (before.version, standing.head), post.seed, present)
    after = with_desk(noticed, forget(desk, bounds))
    refused, refusals = tell(standing.refusals, desk.refused, present.mono_ms)
    return Assessment(
        world=after,
        # Taken again at the end, so that transitions, findings and actions are in what is sealed.
        delta=compose(changes, diff(stated, after)),
        entries=(
            *learned,
            *believed,
            *passages,
            *quieted,
            *endings(before.findings, findings, now.at_ms),
            *_advice(rulings, standing.advised),
            *desk.entries,
            *refused,
            *_drops(dropped),
        ),
        holding=holding,
        disputes=disputes,
        readings=len(events),
        good=sum(event.quality == GOOD for event in events),
        risk=risk,
        ahead=ahead,
        rulings=rulings,
        anchors=_evidence(events),
        refused=refusals.counts,
        told_ms=refusals.told_ms,
        heard=heard,
    )


def world_state(world: World, now: Instant) -> World:
    """Return the world as of this turn."""
    return replace_world(world, at_ms=now.at_ms)


async def commit(
    standing: Standing,
    world: World,
    delta: Delta,
    entries: tuple[Entry, ...],
    ground: Ground,
    ledger: Ledger,
    now: Instant,
) -> Standing:
    """Seal one record and return when it is durable. Raises StoreError; then nothing has happened."""
    before = standing.world
    after = replace_world(world, version=before.version + 1, at_ms=now.at_ms)
    digests = entity_digests(after, (before, standing.digests))
    record = Record(
        world_id=after.world_id,
        seq=after.version,
        prev=standing.head,
        boot=ground.boot,
        at_ms=now.at_ms,
        mono_ms=now.mono_ns // 1_000_000,
        synced=now.synced,
        delta=delta,
        audit=entries,
        state=root_digest(after.world_id, digests),
    )
    sealed = seal_record(record, ground.key)
    await ledger.commit(sealed)
    return standing._replace(world=after, digests=digests, head=sealed.digest)


def snapshot_of(standing: Standing, ground: Ground, reason: SnapshotReason) -> tuple[Snapshot, bytes]:
    """Return the snapshot at the newest record, and its signed envelope."""
    state = root_digest(standing.world.world_id, standing.digests)
    snapshot = Snapshot(standing.world, standing.head, state, reason)
    return snapshot, seal_snapshot(snapshot, ground.key)


async def carry_out(
    standing: Standing, action: Action, ground: Ground, ledger: Ledger, hands: Hands
) -> tuple[Standing, Outcome]:
    """Checkpoint, act, verify, audit, and roll back what failed; each move durable before it takes effect.

    An approved action is begun. One that was under way when a process ended is never written to again, but read: what
    stands there decides. One whose criteria have come about is read once more, and so is one whose criteria did not
    come about in time, and rolled back.
    """
    begun, held = action.stage == "approved", action.id in standing.mine
    tried, fault = len(action.plan.steps), "" if held else RESTARTED
    if begun:
        standing, action = await checkpoint(standing, action, ground, ledger, hands)
        tried, fault = await act(action, hands) if action.stage == "writing" else (0, "")
    if action.stage == "writing":
        move: Move = "read_back" if tried else "fail"
        standing, action = await _move(standing, action, move, fault or WRITTEN, ground, ledger, hands)
    if action.stage == "verifying":
        barred = RESTARTED if not (begun or held) else _barred(standing, action, ground)
        criteria = unmet_criteria(action, standing.world, standing.heard)
        verdict = await verify(action, hands, fault, criteria, final=held, barred=barred)
        standing, action = await audit(standing, action, verdict, ground, ledger, hands)
    if action.stage == "rolling_back":
        verdict = await rollback(action, hands, tried if begun or held else 0)
        standing, action = await audit(standing, action, verdict, ground, ledger, hands)
    waits = {action.id} if action.stage == "verifying" else set()
    return standing._replace(mine=standing.mine - {action.id} | waits), _outcome(action)


async def checkpoint(
    standing: Standing, action: Action, ground: Ground, ledger: Ledger, hands: Hands
) -> tuple[Standing, Action]:
    """Read what stands there, keep a snapshot, and make the intent durable: from here on the approval is used up.

    The action is `writing` then, or `failed` when what stands there cannot be read or an interlock holds no more.
    """
    try:
        open_lock = await open_interlock(ground.site.settings.policy, standing.world, ground.bindings, hands)
        before = [await hands.read(step.source, step.point) for step in action.plan.steps]
        near = await beside(action.plan, hands)
    except (LinkError, WireError) as error:
        return await _move(standing, action, "fail", f"nothing was written: {error}", ground, ledger, hands)
    if None in before or open_lock:
        reason = f"nothing was written: {open_lock or 'what stands there is not good'}"
        return await _move(standing, action, "fail", reason, ground, ledger, hands)
    await ledger.keep(*snapshot_of(standing, ground, "checkpoint"))
    mark, now = Checkpoint(standing.world.version, standing.head), hands.now()
    marked = moved(
        action, "checkpoint", now.at_ms, "a snapshot is kept", checkpoint=mark, before=tuple(before), near=near
    )
    writes = tuple(_write(step, ground.boot, now) for step in action.plan.steps)
    intended = moved(marked, "intend", now.at_ms, "it is written next", writes=writes)
    held = {f"{sensor_ref(s.source, s.point)} before": v for s, v in zip(action.plan.steps, before, strict=True)}
    wanted = {f"{sensor_ref(s.source, s.point)} wanted": s.value for s in action.plan.steps}
    entries = (
        move_entry(action, marked, "checkpoint", {"seq": mark.seq, "head": mark.head.hex(), **held}),
        move_entry(marked, intended, "intend", wanted),
    )
    return await _commit_action(standing, intended, entries, ground, ledger, now), intended


async def audit(
    standing: Standing, action: Action, verdict: Judged, ground: Ground, ledger: Ledger, hands: Hands
) -> tuple[Standing, Action]:
    """Make durable what was found and what follows from it, in a record of its own; when it is to be undone, before it is."""
    fields: dict[str, Any] = {"found": verdict.found, "held_mono_ms": verdict.held_mono_ms}
    if verdict.move == "undo":
        now = hands.now()
        fields["writes"] = (*action.writes, *(_write(undo, ground.boot, now) for undo in action.plan.inverse))
    return await _move(standing, action, verdict.move, verdict.reason, ground, ledger, hands, **fields)


async def _move(
    standing: Standing,
    action: Action,
    move: Move,
    reason: str,
    ground: Ground,
    ledger: Ledger,
    hands: Hands,
    **fields: Any,
) -> tuple[Standing, Action]:
    """Make one move of an action durable, before it takes effect."""
    now = hands.now()
    after = moved(action, move, now.at_ms, reason, **fields)
    found = {
        f"{sensor_ref(step.source, step.shown_at)} found": value
        for step, value in zip(after.plan.steps, fields.get("found", ()), strict=False)
    }
    entry = move_entry(action, after, move, found)
    return await _commit_action(standing, after, (entry,), ground, ledger, now), after


async def _commit_action(
    standing: Standing, action: Action, entries: tuple[Entry, ...], ground: Ground, ledger: Ledger, now: Instant
) -> Standing:
    world = replace_world(standing.world, actions={**standing.world.actions, action.id: action})
    return await commit(standing, world, Delta({}, {}, {}, {}, {action.id: action}), entries, ground, ledger, now)


def _write(at: Step | Undo, boot: bytes, now: Instant) -> Write:
    return Write(at.source, at.point, now.at_ms if now.synced else UNSET, boot, now.mono_ns // 1_000_000)


def _outcome(action: Action) -> Outcome:
    result: Result = "pending" if action.stage == "verifying" else cast("Result", action.stage)
    return Outcome(action, result, action.reason)


def _barred(standing: Standing, action: Action, ground: Ground) -> str:
    """Say why what was begun may not be undone any more, or nothing: an inverse is a write as any other."""
    if standing.locked:
        return f"nothing is rolled back: {standing.locked}"
    if action.request.policy != ground.policy_digest:
        return "nothing is rolled back: the policy or the sources have changed since it was approved"
    return ""


def _vital(site: Site, world: World) -> frozenset[int]:
    """Return the variables that acting depends on: what is written, interlocks (whoever tells of them) and criteria."""
    policy, books = site.settings.policy, site.settings.playbooks
    if policy is None:
        return frozenset()
    paths = {point.point for point in policy.points} | {lock.variable for lock in policy.interlocks}
    paths |= {criterion.variable for book in books for criterion in book.criteria}
    locks = {lock.variable for lock in policy.interlocks}
    named = {number: variable_path(v.entity, v.name) for number, v in world.variables.items()}
    also = {alike(world.variables[number]) for number, path in named.items() if path in locks}
    return frozenset(
        number for number, path in named.items() if path in paths or alike(world.variables[number]) in also
    )


def _heard(before: Mapping[int, int], events: Sequence[Event], vital: frozenset[int]) -> Mapping[int, int]:
    new = {e.number: e.anchor.at.mono_ns // 1_000_000 for e in events if e.number in vital} if vital else {}
    return {**before, **new} if new else before


def _present(standing: Standing, ground: Ground, now: Instant, heard: Mapping[int, int]) -> tuple[Present, Bounds]:
    """Return what approvals and plans are held against in this turn."""
    site, mono_ms = ground.site, now.mono_ns // 1_000_000
    present = Present(
        site.world_id, ground.key.public.keyid, ground.policy_digest, ground.roster_digest, ground.boot, mono_ms,
        now.at_ms, standing.locked,
    )  # fmt: skip
    bounds = Bounds(
        site.settings.policy, ground.writable, ground.boot, mono_ms, now.at_ms, now.synced, standing.locked, heard
    )
    return present, bounds


def _advice(rulings: Iterable[Ruling], told: frozenset[str]) -> Iterable[Entry]:
    for ruling in rulings:
        if ruling.plan.id not in told:
            facts = {"plan": ruling.plan.id, "summary": ruling.plan.summary}
            yield Entry("plan", {**facts, "verdict": ruling.verdict, "reason": ruling.reason})


def _drops(dropped: Mapping[str, int]) -> Iterable[Entry]:
    return (Entry("drop", {"reason": reason, "count": count}) for reason, count in dropped.items())


def _evidence(events: Sequence[Event]) -> tuple[str, ...]:
    """Return one anchor for each source that spoke, with the time of its newest reading."""
    newest = {event.anchor.source: event.anchor.at.at_ms for event in events}
    return tuple(f"{sensor_ref(source, '*')}@{at_ms}" for source, at_ms in sorted(newest.items()))
