"""An action in words, for the operator who is to answer for it: nothing that is signed is left out."""

from collections.abc import Iterator

from edge_agent.judge.approve import ROLES
from edge_agent.model.action import Action, Plan
from edge_agent.model.layout import record_ref, variable_path
from edge_agent.model.reading import iso_utc
from edge_agent.model.world import World
from edge_agent.service.logs import one_line


def in_short(action: Action) -> str:
    """Return one line."""
    return clean(f"{action.id[:8]}  {action.stage:12} {iso_utc(action.at_ms)}  {action.plan.summary}: {action.reason}")


def in_full(action: Action, world: World) -> Iterator[str]:
    """Give what will be written where, why, on which evidence, what stands there now, and what if it fails."""
    return map(clean, _lines(action, world))


def clean(text: str) -> str:
    """Return a line without anything that a terminal would obey."""
    return one_line(text)


def _lines(action: Action, world: World) -> Iterator[str]:
    plan, request = action.plan, action.request
    yield f"action {action.id}"
    yield f"  {plan.summary}"
    yield f"  stage     {action.stage} since {iso_utc(action.at_ms)}: {action.reason}"
    yield f"  why       {plan.why}"
    yield f"  evidence  {', '.join(plan.anchors) or 'none'} (confidence {plan.confidence:.2f})"
    yield f"  known     {record_ref(request.seq)} {request.head.hex()[:16]}…"
    yield "  writes"
    yield from (f"    {line}" for line in _writes(plan, world))
    yield from (f"    {line}" for line in _came_of_it(action, world))
    goals = " and ".join(["every target reads back", *map(str, plan.criteria)])
    yield f"  good when {goals}, within {plan.deadline_s:g} s"
    yield f"  else      {_undo(plan, world)}"
    yield f"  if that fails too: {plan.if_it_fails}; a person is called"
    yield f"  risk      {plan.risk:g} of 1 for doing it"
    yield f"  needs     {request.approvers} distinct {_roles(request.role)}, within {request.ttl_s} s of the request"
    yield f"  approved  {', '.join(f'{name} (key {keyid})' for name, keyid in action.approvals) or 'by nobody yet'}"
    yield f"  plan      sha256:{request.plan_digest.hex()}"


def _writes(plan: Plan, world: World) -> Iterator[str]:
    for step in plan.steps:
        path, now = _now(step.source, step.point, world)
        hold = "" if step.hold_s is None else f", which the device takes back after {step.hold_s:g} s"
        shown = f"read back{_at(step.verify)} after {step.settle_s:g} s{_within(step.tolerance)}"
        expected = f"only if {step.expect!r} stands there{_within(step.tolerance)}"
        yield f"{path} = {step.value!r}{hold}   (now {now}; {expected}; {shown})"
    for path in dict.fromkeys(criterion.variable for criterion in plan.criteria):
        yield f"and watches {path}   (now {_value(path, world)})"


def _came_of_it(action: Action, world: World) -> Iterator[str]:
    """Say what stood there before it was begun, and what the last look found."""
    for place, step in enumerate(action.plan.steps):
        path = _now(step.source, step.point, world)[0]
        if action.before:
            yield f"{path} held {action.before[place]!r} before"
        if action.found:
            yield f"{step.verify or path} read {action.found[place]!r} at the last look"


def _at(point: str) -> str:
    return f" at {point}" if point else ""


def _within(tolerance: float) -> str:
    return f", give or take {tolerance:g}" if tolerance else ""


def _undo(plan: Plan, world: World) -> str:
    if not plan.inverse:
        return "it is left as it is"
    return ", ".join(
        f"{_now(undo.source, undo.point, world)[0]} = "
        f"{'what stood there before' if undo.value is None else repr(undo.value)}"
        f" (read back after {undo.settle_s:g} s{_within(undo.tolerance)})"
        for undo in plan.inverse
    )


def _now(source: str, point: str, world: World) -> tuple[str, str]:
    for v in world.variables.values():
        if (v.source, v.name) == (source, point):
            path = variable_path(v.entity, v.name)
            return path, _value(path, world)
    return f"{source}.{point}", "not in the twin"


def _value(path: str, world: World) -> str:
    for number, v in world.variables.items():
        if variable_path(v.entity, v.name) == path:
            state = world.state_of(number)
            unit = f" {v.unit}" if v.unit else ""
            quality = "" if state.quality == "good" else f", {state.quality}"
            return f"{state.value!r}{unit}{quality}, as of {iso_utc(state.at_ms)}"
    return "not in the twin"


def _roles(least: str) -> str:
    return " or ".join(f"{role}s" for role in ROLES[ROLES.index(least) :]) if least in ROLES else least
