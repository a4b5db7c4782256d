"""What reading back says of a write. Acknowledged is not done: only what stands there counts, and what stands next to it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from edge_agent.judge.lifecycle import Move
from edge_agent.model.action import Action, Plan
from edge_agent.model.reading import Instant, Value


class Seen(NamedTuple):
    """What the last look found: one value for each step, what is wrong, and why it could not be read, or nothing."""

    found: tuple[Value, ...]
    wrong: tuple[str, ...]
    fault: str


class Judged(NamedTuple):
    """The move that follows from a look, its reason, and what the action is to remember of it."""

    move: Move
    reason: str
    found: tuple[Value, ...]
    held_mono_ms: int | None = None


def agrees(found: Value, wanted: Value, tolerance: float) -> bool:
    """Whether a value that was read back is the one that was wanted, to the tolerance and what single precision holds."""
    if isinstance(found, str) or isinstance(wanted, str) or found is None or wanted is None:
        return found == wanted and found is not None
    return abs(found - wanted) <= tolerance + 1e-6 * abs(wanted)


def unmet(plan: Plan, found: Sequence[Value]) -> Iterator[str]:
    """Give each target that does not read back as written. `found` is in the order of the steps."""
    for step, value in zip(plan.steps, found, strict=True):
        if not agrees(value, step.value, step.tolerance):
            yield f"{step.source}.{step.shown_at} holds {value!r}, wanted {step.value!r}"


def astray(action: Action, near: Mapping[str, Value]) -> Iterator[str]:
    """Give each point beside the targets that does not hold any more what it held."""
    watched = {f"{step.source}.{point}" for step in action.plan.steps for point in (step.point, step.shown_at)}
    for place, value in action.near.items():
        if place not in watched and not agrees(near.get(place), value, 0.0) and value is not None:
            yield f"{place} holds {near.get(place)!r}, and held {value!r} before: the write went astray"


def restored(action: Action, found: Sequence[Value], near: Mapping[str, Value]) -> Iterator[str]:
    """Give each point that is not as the inverse says, or as it stood before. `found` are the steps' own points.

    What the inverse writes beside them is among what is near.
    """
    for step, wanted, value in zip(action.plan.steps, _put_back(action), found, strict=True):
        if not agrees(value, wanted, step.tolerance):
            yield f"{step.source}.{step.point} holds {value!r}, wanted {wanted!r}"
    undone = {(undo.source, undo.point): undo for undo in action.plan.inverse}
    targets = {f"{step.source}.{step.point}" for step in action.plan.steps}
    beside = {place: undo for at, undo in undone.items() if (place := ".".join(at)) not in targets}
    for place, value in action.near.items():
        if place not in targets | beside.keys() and value is not None and not agrees(near.get(place), value, 0.0):
            yield f"{place} holds {near.get(place)!r}, and held {value!r} before"
    for place, undo in beside.items():
        if not agrees(near.get(place), undo.value, undo.tolerance):
            yield f"{place} holds {near.get(place)!r}, wanted {undo.value!r}"


def relapsed(action: Action, now: Sequence[Value]) -> Iterator[str]:
    """Give each target that holds again what was written to it and undone. `now` is in the order of the steps."""
    for step, wanted, value in zip(action.plan.steps, _put_back(action), now, strict=True):
        if agrees(value, step.value, step.tolerance) and not agrees(value, wanted, step.tolerance):
            yield f"{step.source}.{step.point} holds {value!r} again, and not {wanted!r}"


def judge_written(
    action: Action,
    seen: Seen,
    fault: str,
    criteria: Sequence[str],
    now: Instant,
    *,
    final: bool,
    barred: str,
) -> Judged:
    """Return what follows from looking at the targets. `fault` is why writing stopped, `criteria` are those not met.

    What was written, acknowledged or not, is judged by what stands there. Where undoing is `barred` (it says why: a
    process that ended may have undone it) what stands as before has failed, and anything else is unknown.
    """
    found = seen.found
    if seen.fault:
        return Judged("lose", "; ".join(filter(None, (fault, f"cannot be read back: {seen.fault}"))), found)
    wrong = [*seen.wrong, *(criteria if final and not seen.wrong else ())]
    if not wrong and not criteria:
        good = " and ".join(["every target reads back as written", *map(str, action.plan.criteria)])
        return Judged("pass", "; ".join(filter(None, (fault, good))), found)
    if not wrong:
        reason = f"reads back as written; within {action.plan.deadline_s:g} s: {'; '.join(criteria)}"
        return Judged("hold", reason, found, now.mono_ns // 1_000_000)
    reason = "; ".join(filter(None, (fault, *wrong)))
    if not barred and action.plan.inverse:
        return Judged("undo", reason, found)
    if barred and barred != fault:
        reason = f"{reason}; {barred}"
    if _stands_as_before(action, seen):
        return Judged("fail", reason, found, now.mono_ns // 1_000_000)
    return Judged("lose", reason, found)


def judge_restored(action: Action, seen: Seen, faults: Sequence[str], now: Instant) -> Judged:
    """Return what follows from looking at what was undone."""
    why = "; ".join((action.reason, *faults))
    if seen.fault or seen.wrong:
        return Judged("lose", f"{why}; rolled back, and then: {seen.fault or '; '.join(seen.wrong)}", seen.found)
    return Judged("restore", f"{why}; what was to be put back reads back", seen.found, now.mono_ns // 1_000_000)


def _put_back(action: Action) -> Iterator[Value]:
    """Give what each step's point is to hold when it was undone, or when it never took what was written."""
    undone = {(undo.source, undo.point): undo.value for undo in action.plan.inverse}
    for step, before in zip(action.plan.steps, action.before, strict=True):
        value = undone.get((step.source, step.point))
        yield before if value is None else value


def _stands_as_before(action: Action, seen: Seen) -> bool:
    """Whether each target holds what it held before, nothing next to it was hit, and no other point shows otherwise."""
    rows = zip(action.plan.steps, action.before, seen.found, strict=True)
    astray_words = [word for word in seen.wrong if word.endswith("went astray")]
    return not astray_words and all(
        agrees(found, action.near.get(f"{step.source}.{step.verify}") if step.verify else before, step.tolerance)
        for step, before, found in rows
    )
