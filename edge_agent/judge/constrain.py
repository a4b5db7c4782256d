"""What policy says to plans: it refuses, lets them wait for an approval, or permits what was approved.

Each plan is held against the same table of limits twice: when it is proposed, and again, with what is so then, when
its approval is in. Without a policy nothing may be written. Nothing here writes.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from edge_agent.judge.playbooks import Target
from edge_agent.model.action import UNSET, Action, Plan, Ruling, Write
from edge_agent.model.condition import Condition
from edge_agent.model.layout import variable_path
from edge_agent.model.reading import GOOD, Value
from edge_agent.model.site import PointPolicy, PolicySettings
from edge_agent.model.world import State, Variable, World, home

HOUR_S, DAY_S = 3600.0, 86400.0


class Bounds(NamedTuple):
    """What plans are held against."""

    policy: PolicySettings | None
    writable: Mapping[str, Target]
    boot: bytes
    mono_ms: int
    at_ms: int
    synced: bool
    """Whether somebody set the clock on the wall."""
    locked: str
    """Why nothing may be written for now, or empty."""
    heard: Collection[int]
    """Numbers of the variables that were heard since this process started: what was kept on disk may be days old."""


class _Case(NamedTuple):
    plan: Plan
    policy: PolicySettings
    bounds: Bounds
    states: Mapping[str, State]
    """By `entity.point`."""
    actions: Mapping[str, Action]
    """Those that count: not the one that is judged."""
    asked: Sequence[Plan]
    """The plans of this turn that wait from now on."""
    others: Mapping[str, Sequence[str]]
    """By interlock: what other sources call the same thing. Where they disagree, none of them may say no."""

    @property
    def points(self) -> Iterator[tuple[str, PointPolicy | None, Value]]:
        """Each point that the plan would write, what policy says of it, and the value."""
        ruled = {rule.point: rule for rule in self.policy.points}
        names = {(at.source, at.point): path for path, at in self.bounds.writable.items()}
        for step in self.plan.steps:
            path = names.get((step.source, step.point), f"{step.source}.{step.point}")
            yield path, ruled.get(path), step.value
        for undo in self.plan.inverse:
            path = names.get((undo.source, undo.point), f"{undo.source}.{undo.point}")
            yield path, ruled.get(path), undo.value


def constrain(plans: Iterable[Plan], world: World, bounds: Bounds) -> tuple[Ruling, ...]:
    """Return a ruling for each new plan and for the actions that were approved, in order.

    One action is permitted in a turn: the next is held against what is so when the first has been carried out, and
    against the rates that count it.
    """
    rulings: list[Ruling] = []
    for plan in plans:
        asked = [ruling.plan for ruling in rulings if ruling.verdict == "wait"]
        rulings.append(_rule(plan, world, bounds, None, asked))
    for action in world.actions.values():
        if action.stage == "approved" and not any(ruling.verdict == "permit" for ruling in rulings):
            rulings.append(_rule(action.plan, world, bounds, action))
    return tuple(rulings)


def age_s(write: Write, bounds: Bounds) -> float:
    """Return how long ago a write was intended, and where that cannot be known, how long ago at least.

    By the boot's clock; across boots by the wall, when it was set both then and now, else since this boot.
    """
    if write.boot == bounds.boot:
        return max(0.0, (bounds.mono_ms - write.mono_ms) / 1000)
    since_boot_s = bounds.mono_ms / 1000
    if write.at_ms == UNSET or not bounds.synced:
        return since_boot_s
    return max(since_boot_s, (bounds.at_ms - write.at_ms) / 1000)


def _rule(plan: Plan, world: World, bounds: Bounds, action: Action | None, asked: Sequence[Plan] = ()) -> Ruling:
    if not plan.steps:
        return Ruling(plan, "recommend", "it writes nothing: a person decides")
    if bounds.policy is None:
        return Ruling(plan, "refuse", "no policy is configured: nothing may be written")
    states = {
        variable_path(v.entity, v.name): _known(world.states[v.entity][number], number, bounds)
        for number, v in world.variables.items()
    }
    others = {key: each for key, each in world.actions.items() if action is None or key != action.id}
    case = _Case(plan, bounds.policy, bounds, states, others, asked, _told_elsewhere(bounds.policy, world))
    reason = next((why for limit in LIMITS for why in limit(case)), None)
    if reason is not None:
        return Ruling(plan, "refuse", reason)
    if action is None:
        return Ruling(plan, "wait", "it writes: somebody must approve it")
    return Ruling(plan, "permit", action.reason)


def alike(v: Variable) -> tuple[str, str | None, str]:
    """Return what two variables of one thing have in common, whichever sources they are from."""
    return v.point, v.unit, v.kind


def _told_elsewhere(policy: PolicySettings, world: World) -> Mapping[str, Sequence[str]]:
    named = {variable_path(v.entity, v.name): v for v in world.variables.values()}
    locks = [(lock.variable, named[lock.variable]) for lock in policy.interlocks if lock.variable in named]
    return {
        path: [
            other
            for other, o in named.items()
            if o is not v and alike(o) == alike(v) and home(world, o.entity) == home(world, v.entity)
        ]
        for path, v in locks
    }


def _known(state: State, number: int, bounds: Bounds) -> State:
    return state if number in bounds.heard else state._replace(quality="not heard since the agent started")


def _locked(case: _Case) -> Iterator[str]:
    if case.bounds.locked:
        yield case.bounds.locked


def _confidence(case: _Case) -> Iterator[str]:
    if case.plan.confidence < case.policy.min_confidence:
        yield f"the confidence in its cause is {case.plan.confidence:.2f}, below {case.policy.min_confidence:g}"


def _points(case: _Case) -> Iterator[str]:
    for path, rule, value in case.points:
        if rule is None or path not in case.bounds.writable:
            yield f"policy does not name {path}: it may not be written"
        elif value is not None and not _within(_number(value, case.bounds.writable[path]), rule.range):
            yield f"{path} = {value} lies outside {rule.range[0]:g} to {rule.range[1]:g}"


def _number(value: Value, at: Target) -> Value:
    return at.numbers.get(value) if isinstance(value, str) else value


def _within(value: Value, allowed: tuple[float, float]) -> bool:
    return isinstance(value, (int, float)) and allowed[0] <= value <= allowed[1]


def _qualities(case: _Case) -> Iterator[str]:
    for path, _, _ in case.points:
        yield from _unsure(path, case.states)
    for criterion in case.plan.criteria:
        yield from _unsure(criterion.variable, case.states)


def _unsure(path: str, states: Mapping[str, State]) -> Iterator[str]:
    quality = states[path].quality if path in states else "unknown here"
    if quality != GOOD:
        yield f"{path} is {quality}: what is not known is not acted upon"


def _steps(case: _Case) -> Iterator[str]:
    for path, rule, value in case.points:
        now = case.states[path].value if path in case.states else None
        if rule is None or rule.step is None or value is None or isinstance(value, str):
            continue
        if isinstance(now, (int, float)) and abs(value - now) > rule.step:
            yield f"{path} would go from {now} to {value}, more than {rule.step:g} at once"


def _interlocks(case: _Case) -> Iterator[str]:
    for lock in case.policy.interlocks:
        condition = Condition(lock.variable, lock.is_, lock.value)
        yield from _unsure(lock.variable, case.states)
        for path in (lock.variable, *case.others.get(lock.variable, ())):
            state = case.states.get(path)
            told = state is not None and (path == lock.variable or state.quality == GOOD)
            if told and state is not None and not condition.holds(state.value):
                yield f"interlock: {path} must be {condition.is_} {condition.value}: {lock.reason}"


def _busy(case: _Case) -> Iterator[str]:
    """One action at a time may have a point: two would undo one another."""
    mine = case.plan.places.keys()
    for action in case.actions.values():
        open_ = action.stage in ("waiting", "approved", "writing", "verifying", "rolling_back")
        if open_ and mine & action.plan.places.keys():
            yield f"action {action.id[:8]} has to do with the same point and is {action.stage}"
    for plan in case.asked:
        if mine & plan.places.keys():
            yield f"{plan.playbook} has to do with the same point and is asked for first"


def _rates(case: _Case) -> Iterator[str]:
    recent = [action for action in case.actions.values() if action.writes]
    within_hour = [a for a in recent if age_s(a.writes[0], case.bounds) < HOUR_S]
    if len(within_hour) >= case.policy.actions_per_hour:
        yield f"{len(within_hour)} actions in the last hour, and policy allows {case.policy.actions_per_hour}"
    writes = [write for action in recent for write in action.writes]
    for path, rule, _ in case.points:
        if rule is not None and path in case.bounds.writable:
            yield from _budget(path, rule, writes, case.bounds)


def _budget(path: str, rule: PointPolicy, writes: list[Write], bounds: Bounds) -> Iterator[str]:
    at = bounds.writable[path]
    ages = [age_s(write, bounds) for write in writes if (write.source, write.point) == (at.source, at.point)]
    if ages and min(ages) < rule.min_interval:
        yield f"{path} was written {min(ages):.0f} s ago, and policy wants {rule.min_interval:g} s between"
    # The inverse may be needed, too: without room for both nothing is begun.
    if sum(age < DAY_S for age in ages) + 2 > rule.daily_writes:
        yield f"{path}: the write and its inverse would be more than {rule.daily_writes} writes in a day"


LIMITS: tuple[Callable[[_Case], Iterator[str]], ...] = (
    _locked, _confidence, _points, _qualities, _steps, _interlocks, _busy, _rates,
)  # fmt: skip
"""In this order; the first reason that is found is told."""
