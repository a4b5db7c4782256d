"""Entities pass from one state to another when a structured condition has held long enough.

No code is evaluated: a condition is a variable, a comparison, a value and a duration.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from edge_agent.model.layout import variable_path
from edge_agent.model.reading import GOOD, Value
from edge_agent.model.record import Entry
from edge_agent.model.site import ConditionSettings, Site
from edge_agent.model.world import World, replace_entity


class Rule(NamedTuple):
    """A transition, bound to the world."""

    entity: str
    src: str
    dst: str
    number: int
    condition: ConditionSettings


Holding = Mapping[int, int]
"""Since when (monotonic, ns) the condition of each rule that holds has held, by the rule's place in its list."""

_COMPARE: dict[str, Callable[[Value, Value], bool]] = {
    "above": lambda value, limit: _numeric(value) and _numeric(limit) and value > limit,  # type: ignore[operator]
    "below": lambda value, limit: _numeric(value) and _numeric(limit) and value < limit,  # type: ignore[operator]
    "equal": lambda value, limit: value == limit and isinstance(value, bool) == isinstance(limit, bool),
}


def rules(site: Site, world: World) -> tuple[Rule, ...]:
    """Return the configured transitions, bound. `world` is in line with the configuration."""
    entities = {key.rsplit(":", 1)[-1]: key for key in world.entities}
    numbers = {variable_path(v.entity, v.name): v.number for v in world.variables.values()}
    return tuple(
        Rule(entities[t.entity], t.src, t.dst, numbers[t.when.variable], t.when) for t in site.settings.transitions
    )


def transition(
    world: World, rules: Sequence[Rule], holding: Holding, mono_ns: int
) -> tuple[World, Holding, tuple[Entry, ...]]:
    """Return the world after the rules were applied once, in their order, and an entry for each passage.

    A variable that is not good holds no condition: what is not known moves nothing.
    """
    held: dict[int, int] = {}
    entries: list[Entry] = []
    for place, rule in enumerate(rules):
        state = world.state_of(rule.number)
        condition = rule.condition
        here = world.entities[rule.entity].state == rule.src
        if not here or state.quality != GOOD or not _COMPARE[condition.is_](state.value, condition.value):
            continue
        since = held[place] = holding.get(place, mono_ns)
        if mono_ns - since < condition.lasting * 1e9:
            continue
        cause = f"{condition.variable} {condition.is_} {condition.value} for {condition.lasting:g} s: {state.value}"
        entries.append(Entry("transition", {"entity": rule.entity, "from": rule.src, "to": rule.dst, "cause": cause}))
        world = replace_entity(world, rule.entity, state=rule.dst)
        del held[place]
    return world, held, tuple(entries)


def _numeric(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
