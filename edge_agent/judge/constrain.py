"""What policy says to plans. There is no policy language yet, so that nothing may be written."""

from collections.abc import Iterable

from edge_agent.model.action import Plan, Ruling


def constrain(plans: Iterable[Plan], policy: None) -> tuple[Ruling, ...]:
    """Return a ruling for each plan, in order. `policy` is the missing one: a plan that writes is refused."""
    return tuple(_rule(plan, policy) for plan in plans)


def _rule(plan: Plan, policy: None) -> Ruling:
    if not plan.steps:
        return Ruling(plan, "recommend", "it writes nothing: a person decides")
    assert policy is None
    return Ruling(plan, "refuse", "no policy is configured: nothing may be written")
