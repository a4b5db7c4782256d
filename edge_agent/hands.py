"""The hands of the loop: reading before a write, writing, reading back, undoing. Here the plant is touched, and nowhere else.

Nothing is decided and nothing is sealed here: what was read goes to judge/verdict.py, and sync.py makes each move of
an action durable before its next one takes effect.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from edge_agent.judge.rulebook import LOOKS
from edge_agent.judge.verdict import Judged, Seen, agrees, astray, judge_restored, judge_written, restored, unmet
from edge_agent.model.action import Action, Plan, Step
from edge_agent.model.condition import Condition
from edge_agent.model.errors import LinkError, TrustError, WireError
from edge_agent.model.layout import variable_path
from edge_agent.model.profile import RegisterPoint
from edge_agent.model.reading import Instant, Value
from edge_agent.model.site import PolicySettings
from edge_agent.model.world import World
from edge_agent.twin.baseline import Bindings

LOST_S = 12.0
"""For so long it is looked for a device that does not answer: no turn is made meanwhile, and each look may wait for its
bus. One that settles more slowly has its five looks all the same."""
TWICE = 2
"""Looks in a row that must agree: one that does it and takes it back at once must be found out."""


class Hands(Protocol):
    """What touches the plant: the sources, through the queues of their buses."""

    async def read(self, source: str, point: str) -> Value:
        """Return what the point holds now, None when that is not good. Raises LinkError, WireError."""

    async def write(self, source: str, point: str, value: Value, hold_s: float | None) -> None:
        """Write; with `hold_s` the device takes it back by itself. Raises LinkError, WireError, TrustError.

        After a TrustError nothing was sent. After any other it is not known whether it was done.
        """

    async def settle(self, seconds: float) -> None:
        """Wait as long as a device needs."""

    def near(self, source: str) -> Sequence[str]:
        """Return the points of a source that a write which goes astray could hit."""

    def now(self) -> Instant:
        """Return the present instant: acting takes time."""


async def open_interlock(policy: PolicySettings | None, world: World, bindings: Bindings, hands: Hands) -> str:
    """Say which interlock does not hold now, or nothing. Of those that can be asked for: what was polled may be old.

    A device that speaks by itself cannot be asked; there the newest that was heard counts.
    """
    for lock in () if policy is None else policy.interlocks:
        condition = Condition(lock.variable, lock.is_, lock.value)
        for place, bound in bindings.items():
            v = world.variables[bound.number]
            if variable_path(v.entity, v.name) == lock.variable and isinstance(bound.point, RegisterPoint):
                found = await hands.read(*place)
                if found is None or not condition.holds(found):
                    wanted = f"must be {condition.is_} {condition.value}"
                    return f"interlock: {lock.variable} is {found!r} and {wanted}: {lock.reason}"
    return ""


async def act(action: Action, hands: Hands) -> tuple[int, str]:
    """Write the steps in order; return how many were tried, and why it stopped, or nothing."""
    tried = 0
    try:
        for step in action.plan.steps:
            found = await hands.read(step.source, step.point)
            if not agrees(found, step.expect, step.tolerance):
                return tried, f"{step.source}.{step.point} holds {found!r}, expected {step.expect!r}"
            tried += 1
            await hands.write(step.source, step.point, step.value, step.hold_s)
            await hands.settle(step.settle_s)
    except TrustError as error:  # nothing was sent
        return tried - 1, str(error)
    except (LinkError, WireError) as error:
        return tried, f"{error}"
    return tried, ""


async def verify(
    action: Action, hands: Hands, fault: str, criteria: Sequence[str], *, final: bool, barred: str
) -> Judged:
    """Read the targets and their neighbours back; what was acknowledged is not yet done.

    It counts when two looks in a row, a settling time apart, agree. `criteria` are those not met as far as was heard;
    `final` says that they are not waited for any longer, `barred` why nothing may be undone, or nothing.
    """

    def wrong(found: Sequence[Value], near: Mapping[str, Value]) -> list[str]:
        return [*unmet(action.plan, found), *astray(action, near)]

    seen = await _look(action, hands, lambda step: step.shown_at, wrong)
    return judge_written(action, seen, fault, criteria, hands.now(), final=final, barred=barred)


async def rollback(action: Action, hands: Hands, tried: int) -> Judged:
    """Write the inverse of the steps that were tried, and read it back; what cannot be read calls a person.

    Nothing is written when nothing was tried: a process that ended may have written it already.
    """
    steps = {(step.source, step.point) for step in action.plan.steps}
    attempted = {(step.source, step.point) for step in action.plan.steps[:tried]}
    before = {(s.source, s.point): value for s, value in zip(action.plan.steps, action.before, strict=True)}
    faults = []
    for undo in action.plan.inverse if tried else ():
        place = (undo.source, undo.point)
        if place in steps and place not in attempted:
            continue
        try:
            await hands.write(*place, before[place] if undo.value is None else undo.value, None)
        except (LinkError, WireError, TrustError) as error:
            faults.append(str(error))
        await hands.settle(undo.settle_s)

    def wrong(found: Sequence[Value], near: Mapping[str, Value]) -> list[str]:
        return [*restored(action, found, near)]

    # A write that did nothing may still be under way in the device: what was undone is watched to the last look.
    seen = await _look(action, hands, lambda step: step.point, wrong, patient=True)
    return judge_restored(action, seen, faults, hands.now())


async def beside(plan: Plan, hands: Hands) -> dict[str, Value]:
    """Return what stands beside the targets, on each device that is written to, or may be when it is undone."""
    sources = dict.fromkeys(source for source, _ in plan.places)
    return {f"{source}.{point}": await hands.read(source, point) for source in sources for point in hands.near(source)}


async def _look(
    action: Action,
    hands: Hands,
    where: Callable[[Step], str],
    wrong: Callable[[Sequence[Value], Mapping[str, Value]], list[str]],
    *,
    patient: bool = False,
) -> Seen:
    """Look until two looks in a row find nothing wrong, or for the last time; a settling time apart.

    With `patient` it is looked to the last time in any case, and the last two count.
    """
    plan, pause_s, good = action.plan, max(step.settle_s for step in action.plan.steps), 0
    lost_ns = hands.now().mono_ns + max(LOST_S, LOOKS * pause_s) * 1e9
    seen = Seen((), (), "it was not looked at")
    for look in range(LOOKS):
        if look:
            await hands.settle(pause_s)
        try:
            found = tuple([await hands.read(step.source, where(step)) for step in plan.steps])
            near = await beside(plan, hands)
        except (LinkError, WireError) as error:
            seen, good = Seen((), (), str(error)), 0
            if hands.now().mono_ns > lost_ns:
                break
            continue
        seen = Seen(found, tuple(wrong(found, near)), "")
        good = 0 if seen.wrong else good + 1
        if good >= TWICE and not patient:
            return seen
    return seen if seen.wrong or seen.fault or good >= TWICE else seen._replace(wrong=("it does not stay as it is",))
