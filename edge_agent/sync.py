"""The loop, in the reference workflow's order and words.

    receive → transform → integrate → identity resolution → world state → diff → state transition →
    detect anomaly → estimate risk → forecast risk → plan → constrain → checkpoint → act → verify → audit →
    (rollback) → summarize

`assess` is everything up to constrain: no await, no clock, no disk. Its result is sealed in one record and is
durable before anything is done about it. `carry_out` touches the plant, and only for a plan that was permitted.
`await` is the visible mark of touching the world. What an action changed comes back as readings in the next
turn; nothing else alters the world. tests/test_sync.py holds the order of the calls against the list above.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from edge_agent.judge.comparison import Comparisons, compare
from edge_agent.judge.constrain import constrain
from edge_agent.judge.findings import acknowledge, alarms_of, endings, group
from edge_agent.judge.monitor import Watch, detect_anomaly
from edge_agent.judge.plan import plan
from edge_agent.judge.risk import Limits, Unheard, estimate_risk, forecast_risk, next_interval
from edge_agent.judge.summarize import brief, summarize
from edge_agent.model.action import Checkpoint, Outcome, Plan, Result, Ruling
from edge_agent.model.assessment import Assessment
from edge_agent.model.errors import LinkError, TrustError, WireError
from edge_agent.model.finding import Acknowledgement
from edge_agent.model.layout import local_name, sensor_ref
from edge_agent.model.reading import GOOD, Event, Instant, Reading, Value
from edge_agent.model.record import Entry, Record, Report, Sealed, Snapshot, SnapshotReason
from edge_agent.model.site import Site
from edge_agent.model.world import Delta, World, replace_world
from edge_agent.seal.digest import Digests, entity_digests, root_digest
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.records import seal_record, seal_snapshot
from edge_agent.twin.baseline import Binding, Bindings, bindings
from edge_agent.twin.diff import compose, diff
from edge_agent.twin.identity import identity_points, resolve_identity
from edge_agent.twin.integrate import deadbands, integrate
from edge_agent.twin.transform import transform
from edge_agent.twin.transition import Holding, Rule, rules, transition

HORIZON_S = 24 * 3600.0
"""How far ahead risk is forecast: a day is what a person on call can act within."""
_NOTHING = Delta({}, {}, {}, {})


class Ledger(Protocol):
    """Where records and checkpoints become durable."""

    async def commit(self, sealed: Sealed) -> None:
        """Return when the record will survive a power cut. Raises StoreError."""

    async def keep(self, snapshot: Snapshot, envelope: bytes) -> None:
        """Return when the snapshot will survive a power cut. Raises StoreError."""


class Hands(Protocol):
    """What touches the plant: the sources, through the queues of their buses."""

    async def read(self, source: str, point: str) -> Value:
        """Return what the point holds now, None when that is not good. Raises LinkError, WireError."""

    async def write(self, source: str, point: str, value: Value) -> None:
        """Write, and wait until the device has settled. Raises LinkError, WireError, TrustError."""


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
    key: PrivateKey
    boot: bytes


class Standing(NamedTuple):
    """What one turn hands to the next."""

    world: World
    digests: Digests
    head: bytes
    """Digest of the record that made the world."""
    holding: Holding
    advised: frozenset[str]
    """Ids of the plans already told."""


def ground(
    site: Site, world: World, watch: Watch, key: PrivateKey, boot: bytes, comparisons: Comparisons | None = None
) -> Ground:
    """Prepare what turns stand on. `world` is in line with the configuration (twin.baseline)."""
    bound = bindings(site, world)
    weights: dict[str, float] = {e.id: e.criticality for e in site.settings.entities}
    criticality = {v.number: weights.get(local_name(v.entity), 0.5) for v in world.variables.values()}
    return Ground(
        site=site,
        bindings=bound,
        deadband=deadbands(bound),
        identity=identity_points(bound),
        rules=rules(site, world),
        criticality=criticality,
        watch=watch,
        comparisons=comparisons or Comparisons(site, world.variables),
        key=key,
        boot=boot,
    )


async def sync(
    standing: Standing,
    readings: Sequence[Reading],
    ground: Ground,
    ledger: Ledger,
    hands: Hands,
    now: Instant,
    notes: Iterable[Entry] = (),
    asks: Sequence[Acknowledgement] = (),
) -> tuple[Standing, Report]:
    """Make one turn: assess, commit, carry out what was permitted, summarize.

    `notes` are the service's own entries for this turn's record (start, stop, drop); `asks` are what people on site
    acknowledged. A turn that changed and
    decided nothing leaves no record. Raises StoreError when a record cannot be made durable.
    """
    found = assess(standing, receive(readings), ground, now, asks)
    entries = (*notes, *found.entries)
    if found.delta or entries:
        entries = (brief(found), *entries)
        standing = await commit(standing, found.world, found.delta, entries, ground, ledger, now)
    standing = standing._replace(holding=found.holding, advised=frozenset(r.plan.id for r in found.rulings))
    outcomes: list[Outcome] = []
    for ruling in found.rulings:
        if ruling.verdict == "permit":
            standing, outcome = await carry_out(standing, ruling.plan, ground, ledger, hands, now)
            outcomes.append(outcome)
    state = root_digest(standing.world.world_id, standing.digests)
    limits = Limits(*ground.site.settings.sync.limits_s)
    advice = next_interval(found.risk, found.ahead, Unheard(found.readings - found.good, found.readings), limits)
    return standing, summarize(found, outcomes, standing.world, state, standing.head, ground.site, advice)


def receive(readings: Sequence[Reading]) -> Sequence[Reading]:
    """Return the readings in the order they were made: links finish when they finish."""
    return sorted(readings, key=lambda reading: reading.anchor.at.mono_ns)


def assess(
    standing: Standing,
    readings: Sequence[Reading],
    ground: Ground,
    now: Instant,
    asks: Sequence[Acknowledgement] = (),
) -> Assessment:
    """Return what the readings mean: the next world, what was noticed, and what is advised."""
    before = standing.world
    events, dropped = transform(readings, ground.bindings)
    mode = ground.site.settings.sync.mode
    merged = integrate(before, events, {} if mode == "full" else ground.deadband)
    known, learned = resolve_identity(merged, events, ground.identity)
    stated = world_state(known, now)
    changes = diff(before, stated)
    moved, holding, passages = transition(stated, ground.rules, standing.holding, now)
    told = alarms_of(moved.findings)
    alarms = detect_anomaly(ground.watch, events, replace_world(moved, findings=told), now.at_ms)
    apart = compare(ground.comparisons, events, told, now.at_ms)
    findings = group({**alarms, **apart}, moved.findings, moved, now.at_ms, ground.criticality)
    findings, heard = acknowledge(findings, asks)
    after = moved if findings == moved.findings else replace_world(moved, findings=findings)
    # With delta_only nothing is weighed: no risk and no plan, and so no action.
    weighed = () if mode == "delta_only" else tuple(findings.values())
    courses = [*ground.watch.trends(), *ground.comparisons.trends()] if weighed else []
    risk = estimate_risk(weighed, ground.criticality)
    ahead = forecast_risk(risk, courses, HORIZON_S)
    plans = plan(weighed, risk, ahead)
    rulings = constrain(plans, None)
    return Assessment(
        world=after,
        # Taken again at the end, so that transitions and findings are in what is sealed.
        delta=compose(changes, diff(stated, after)),
        entries=(
            *learned,
            *passages,
            *heard,
            *endings(before.findings, findings, now.at_ms),
            *_advice(rulings, standing.advised),
            *_drops(dropped),
        ),
        holding=holding,
        readings=len(events),
        good=sum(event.quality == GOOD for event in events),
        risk=risk,
        ahead=ahead,
        rulings=rulings,
        anchors=_evidence(events),
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
    standing: Standing, plan: Plan, ground: Ground, ledger: Ledger, hands: Hands, now: Instant
) -> tuple[Standing, Outcome]:
    """Checkpoint, act, verify, audit, and roll back what failed. Nothing is written without a checkpoint."""
    standing, mark = await checkpoint(standing, plan, ground, ledger, hands, now)
    if mark is None:
        return standing, Outcome(plan, "failed", "what stood there before could not be read: nothing was written", None)
    fault = await act(plan, hands)
    result, reason = await verify(plan, hands, fault)
    standing = await audit(standing, "verify", plan, {"result": result, "reason": reason}, ground, ledger, now)
    if result != "verified":
        result, reason = await rollback(plan, mark, hands, reason)
        standing = await audit(standing, "rollback", plan, {"result": result, "reason": reason}, ground, ledger, now)
    return standing, Outcome(plan, result, reason, mark)


async def checkpoint(
    standing: Standing, plan: Plan, ground: Ground, ledger: Ledger, hands: Hands, now: Instant
) -> tuple[Standing, Checkpoint | None]:
    """Seal what the points hold and what is intended, and keep a snapshot; None when they cannot be read."""
    try:
        before = [await hands.read(step.source, step.point) for step in plan.steps]
    except (LinkError, WireError):
        before = [None]
    facts: dict[str, Value] = {
        f"{sensor_ref(step.source, step.point)} before": value for step, value in zip(plan.steps, before, strict=False)
    }
    standing = await audit(standing, "checkpoint", plan, facts, ground, ledger, now)
    if None in before:
        return standing, None
    await ledger.keep(*snapshot_of(standing, ground, "checkpoint"))
    return standing, Checkpoint(standing.world.version, standing.head, tuple(before))


async def act(plan: Plan, hands: Hands) -> str | None:
    """Write the steps in order; return why it stopped, or None."""
    try:
        for step in plan.steps:
            found = await hands.read(step.source, step.point)
            if found != step.expect:
                return f"{step.source}.{step.point} holds {found!r}, expected {step.expect!r}"
            await hands.write(step.source, step.point, step.value)
    except (LinkError, WireError, TrustError) as error:
        return str(error)
    return None


async def verify(plan: Plan, hands: Hands, fault: str | None) -> tuple[Result, str]:
    """Read every target back; what was acknowledged is not yet done."""
    try:
        found = [await hands.read(step.source, step.point) for step in plan.steps]
    except (LinkError, WireError) as error:
        return "unknown", f"cannot be read back: {error}"
    wrong = [
        f"{step.source}.{step.point} holds {value!r}, wanted {step.value!r}"
        for step, value in zip(plan.steps, found, strict=True)
        if value != step.value
    ]
    if fault is not None or wrong:
        return "failed", "; ".join([*([] if fault is None else [fault]), *wrong])
    return "verified", "every target reads back as written"


async def rollback(plan: Plan, mark: Checkpoint, hands: Hands, reason: str) -> tuple[Result, str]:
    """Put back what stood before, last step first, and read it back; what cannot be read calls a person."""
    try:
        for step, value in reversed(list(zip(plan.steps, mark.before, strict=True))):
            if await hands.read(step.source, step.point) != value:
                await hands.write(step.source, step.point, value)
        found = tuple([await hands.read(step.source, step.point) for step in plan.steps])
    except (LinkError, WireError, TrustError) as error:
        return "unknown", f"{reason}; rolling back: {error}"
    return ("rolled_back", reason) if found == mark.before else ("unknown", f"{reason}; rolled back to {found!r}")


async def audit(
    standing: Standing,
    kind: str,
    plan: Plan,
    facts: Mapping[str, Value],
    ground: Ground,
    ledger: Ledger,
    now: Instant,
) -> Standing:
    """Make one step of an action durable, in a record of its own."""
    entry = Entry(kind, {"plan": plan.id, **facts})
    return await commit(standing, standing.world, _NOTHING, (entry,), ground, ledger, now)


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
