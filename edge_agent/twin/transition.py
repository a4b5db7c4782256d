"""Entities pass from one state to another when a structured condition has held long enough.

No code is evaluated: a condition is a variable, a comparison, a value, a duration and a hysteresis. A value that
came back by less than the hysteresis still holds the condition, so that one on the edge neither passes nor restarts.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edge_agent.model.condition import COMPARE
from edge_agent.model.layout import sensor_ref, variable_path
from edge_agent.model.reading import GOOD, Instant, Value
from edge_agent.model.record import Entry
from edge_agent.model.site import ConditionSettings, Site
from edge_agent.model.world import State, World, replace_entity
from edge_agent.twin.trust import stands_for


class Rule(NamedTuple):
    """A transition, bound to the world."""

    entity: str
    src: str
    dst: str
    number: int
    condition: ConditionSettings


Holding = Mapping[int, int]
"""Since when (monotonic, ns) the condition of each rule that holds has held, by the rule's place in its list."""


def rules(site: Site, world: World) -> tuple[Rule, ...]:
    """Return the configured transitions, bound. `world` is in line with the configuration."""
    entities = {key.rsplit(":", 1)[-1]: key for key in world.entities}
    numbers = {variable_path(v.entity, v.name): v.number for v in world.variables.values()}
    return tuple(
        Rule(entities[t.entity], t.src, t.dst, numbers[t.when.variable], t.when) for t in site.settings.transitions
    )


def transition(
    world: World, rules: Sequence[Rule], holding: Holding, now: Instant
) -> tuple[World, Holding, tuple[Entry, ...]]:
    """Return the world after the rules were applied once, in their order, and an entry for each passage.

    Of two rules whose conditions hold, the first passes. A variable that is not good holds no condition: what is
    not known moves nothing.
    """
    held: dict[int, int] = {}
    entries: list[Entry] = []
    for place, rule in enumerate(rules):
        number = stands_for(world, rule.number)
        state = world.state_of(number)
        here = world.entities[rule.entity].state == rule.src
        if not here or state.quality != GOOD or not holds(rule.condition, state.value, held=place in holding):
            continue
        since = held[place] = holding.get(place, now.mono_ns)
        if now.mono_ns - since < rule.condition.lasting * 1e9:
            continue
        entries.append(_passage(world, rule, number, state))
        world = replace_entity(world, rule.entity, state=rule.dst, since_ms=now.at_ms)
        del held[place]
    return world, held, tuple(entries)


def holds(condition: ConditionSettings, value: Value, *, held: bool = False) -> bool:
    """Whether a value fulfils a condition; `held`: it did already, so that it must come back by the hysteresis."""
    return COMPARE[condition.is_](value, condition.value, condition.hysteresis if held else 0.0)


def _passage(world: World, rule: Rule, number: int, state: State) -> Entry:
    condition, variable = rule.condition, world.variables[number]
    lasting = f" for {condition.lasting:g} s" if condition.lasting else ""
    cause = f"{condition.variable} {condition.is_} {condition.value}{lasting}: {state.value}"
    evidence = f"{sensor_ref(variable.source, variable.point)}@{state.at_ms}"
    facts = {"entity": rule.entity, "from": rule.src, "to": rule.dst, "cause": cause, "evidence": evidence}
    return Entry("transition", {**facts, "entered": world.entities[rule.entity].since_ms})
