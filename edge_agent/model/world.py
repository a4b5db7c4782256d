"""The world: what is so. A value, never changed in place; and `Delta`, the difference of two.

Entities hold variables; a variable is defined once (`Variable`) and numbered, and its running state (`State`)
is kept by entity, so that a turn copies and digests only the entities it touched. Numbers rise within an
entity in the order of definition: the canonical bytes rely on that order (reference/formats.md).
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from edge_agent.model.action import Action, Operator
from edge_agent.model.finding import Anomaly
from edge_agent.model.reading import Value


class Entity(msgspec.Struct, frozen=True):
    """A thing of the plant: a device, a machine, a room, or the gateway itself."""

    id: str
    """`namespace:type:id`."""
    type: str
    labels: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    attributes: dict[str, str] = {}
    """What identifies it: serial number, model, firmware, profile."""
    state: str | None = None
    """Its place in its own state machine, when transitions are configured."""
    relations: tuple[tuple[str, str], ...] = ()
    """Pairs of relation and the other entity's id."""
    since_ms: int | None = None
    """Wall time at which it passed to `state`; None before its first passage."""


class Variable(msgspec.Struct, frozen=True):
    """The definition of one variable. Its number is given once and never used again."""

    number: int
    entity: str
    name: str
    unit: str | None
    kind: str
    """"gauge", "counter" or "state"."""
    source: str
    """The source that reads it."""

    @property
    def point(self) -> str:
        """The point it is read from. A variable that other sources give too is named `point@source`."""
        return self.name.partition("@")[0]


class State(NamedTuple):
    """The running state of a variable, as it is digested: unchanged readings do not alter it."""

    value: Value
    at_ms: int
    """Wall time of the reading that brought this value, or of the last good one when the quality turned."""
    quality: str


class World(msgspec.Struct, frozen=True):
    """The twin at one version."""

    world_id: str
    version: int
    """The sequence number of the record that made it; 0 before the first."""
    at_ms: int
    entities: Mapping[str, Entity]
    variables: Mapping[int, Variable]
    states: Mapping[str, Mapping[int, State]]
    """By entity, then by variable number, rising."""
    findings: Mapping[str, Anomaly]
    """The open ones, by id."""
    actions: Mapping[str, Action] = {}
    """Those under way, and for a day those that ended: budgets are counted from them. By id."""
    operators: Mapping[str, Operator] = {}
    """Those who may or might approve, by keyid: their counters must never fall."""

    def state_of(self, number: int) -> State:
        """Return the running state of a variable; KeyError when the world has no such number."""
        return self.states[self.variables[number].entity][number]


class Delta(msgspec.Struct, frozen=True):
    """What must be done to one world to make it the next. `None` in a map removes the key."""

    entities: Mapping[str, Entity | None]
    variables: Mapping[int, Variable | None]
    states: Mapping[int, State]
    findings: Mapping[str, Anomaly | None]
    actions: Mapping[str, Action | None] = {}
    operators: Mapping[str, Operator | None] = {}

    def __bool__(self) -> bool:
        return any((self.entities, self.variables, self.states, self.findings, self.actions, self.operators))


SAME_AS = "same_as"
"""The relation that joins an entity to the one it was found to be (twin/identity.py)."""


def home(world: World, entity: str) -> str:
    """Return the entity that another was found to be the same as, over any number of links; itself without any."""
    seen = set[str]()
    while entity in world.entities and entity not in seen:
        seen.add(entity)
        relations = world.entities[entity].relations
        entity = next((other for relation, other in relations if relation == SAME_AS), entity)
    return entity


def replace_entity(world: World, entity: str, **fields: object) -> World:
    """Return the world with some fields of one entity's head replaced."""
    new = msgspec.structs.replace(world.entities[entity], **fields)
    return msgspec.structs.replace(world, entities={**world.entities, entity: new})


def replace_world(world: World, **fields: object) -> World:
    """Return the world with some of its fields replaced; it shares the rest."""
    return msgspec.structs.replace(world, **fields)
