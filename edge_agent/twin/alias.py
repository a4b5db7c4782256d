"""Whether two entities are one thing: how alike they are, what forbids it, and how they are joined and parted again.

Weights, thresholds and hard constraints are those of the reference policy (identity_resolution_policy, 1.0.0). To it
this is added: two entities are joined without a person only when an identifier that devices give of themselves is the
same. Pumps of one make that stand side by side are as alike as can be, and are two.

A merge is a link and loses nothing: the absorbed entity keeps its head, its variables and what is learned of it, and
names the one it is the same as. So a split takes the link away, and both are what they would have been without it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from edge_agent.model.world import SAME_AS, Entity, World, home, replace_entity

WEIGHTS = {
    "exact_id_match": 1.0,
    "namespace_match": 0.25,
    "type_match": 0.2,
    "label_overlap": 0.1,
    "attribute_keys_overlap": 0.1,
    "attribute_value_match": 0.2,
    "relationship_context": 0.15,
    "temporal_coherence": 0.1,
}
AUTO_MERGE, SUGGEST_MERGE, SPLIT_REVIEW = 0.9, 0.75, 0.4
"""From which score two entities are joined, and proposed to a person; below which a merge is to be looked at again."""
HIGH_SIGNAL = ("serial", "ip", "url")
"""Attributes that tell one thing from all others of its kind."""
UNSPECIFIC = "device"
"""The type of what nobody described; every thing that is read may turn out to be one."""
LEAST_SERIAL = 4
"""Characters of an identifier that tells anything; 0, 1 and 123 stand in too many devices."""
SAME_TIME_MS = 3_600_000
"""Readings of one thing over two ways are no further apart than this."""


class Likeness(NamedTuple):
    """How alike two entities are."""

    score: float
    """0..1."""
    features: Mapping[str, float]
    """What each feature contributes; those that contribute nothing are left out."""


def likeness(world: World, one: str, other: str) -> Likeness:
    """Return how alike two entities are, by the weighted features of the policy."""
    a, b = world.entities[one], world.entities[other]
    matches = {
        "exact_id_match": float(a.id in b.aliases or b.id in a.aliases),
        "namespace_match": float(_namespace(a) == _namespace(b)),
        "type_match": float(a.type == b.type),
        "label_overlap": _jaccard(a.labels, b.labels),
        "attribute_keys_overlap": _jaccard(a.attributes, b.attributes),
        "attribute_value_match": float(bool(shared_identifiers(a, b))),
        "relationship_context": _jaccard(_neighbours(world, one), _neighbours(world, other)),
        "temporal_coherence": float(_at_one_time(world, one, other)),
    }
    features = {name: round(WEIGHTS[name] * match, 4) for name, match in matches.items() if match}
    return Likeness(round(min(1.0, sum(features.values())), 4), features)


def shared_identifiers(one: Entity, other: Entity) -> list[str]:
    """Return the high-signal attributes that both have, alike and telling."""
    mine, theirs = one.attributes, other.attributes
    return [name for name in HIGH_SIGNAL if name in mine and mine[name] == theirs.get(name) and _telling(mine[name])]


def forbidden(one: Entity, other: Entity) -> str | None:
    """Return the hard constraint that keeps two entities apart, in words; None when there is none."""
    for name in HIGH_SIGNAL:
        mine, theirs = one.attributes.get(name), other.attributes.get(name)
        if mine is not None and theirs is not None and mine != theirs:
            return f"their {name} differs: {mine} and {theirs}"
    if one.type != other.type and UNSPECIFIC not in (one.type, other.type):
        return f"their types differ: {one.type} and {other.type}"
    if _namespace(one) != _namespace(other) and not shared_identifiers(one, other):
        return f"their namespaces differ: {_namespace(one)} and {_namespace(other)}"
    return None


def cluster(world: World, entity: str) -> list[str]:
    """Return all entities that are the same as one, itself included."""
    whole = home(world, entity)
    return [each for each in world.entities if home(world, each) == whole]


def obstacle(world: World, one: str, other: str) -> str | None:
    """Return what keeps the clusters of two entities apart: the constraint of any two of them."""
    pairs = ((a, b) for a in cluster(world, one) for b in cluster(world, other))
    reasons = (forbidden(world.entities[a], world.entities[b]) for a, b in pairs)
    return next((reason for reason in reasons if reason is not None), None)


def merge(world: World, one: str, other: str) -> World:
    """Return the world in which two entities, and all that are the same as them, are one.

    The lower id is the canonical one, so that it does not matter who asks. A merge that a hard constraint forbids
    is none: the world comes back as it was.
    """
    kept, absorbed = sorted((home(world, one), home(world, other)))
    if kept == absorbed or obstacle(world, kept, absorbed) is not None:
        return world
    head, link = world.entities[kept], (SAME_AS, kept)
    world = replace_entity(world, kept, aliases=(*head.aliases, absorbed))
    return replace_entity(world, absorbed, relations=(*world.entities[absorbed].relations, link))


def split(world: World, absorbed: str) -> World:
    """Return the world in which an entity is again no other than itself; what was joined to it goes with it."""
    head = world.entities[absorbed]
    kept = next((other for relation, other in head.relations if relation == SAME_AS), None)
    if kept is None:
        return world
    world = replace_entity(world, absorbed, relations=tuple(edge for edge in head.relations if edge != (SAME_AS, kept)))
    aliases = list(world.entities[kept].aliases)
    if absorbed in aliases:
        del aliases[len(aliases) - 1 - aliases[::-1].index(absorbed)]  # the last: the merge's own
    return replace_entity(world, kept, aliases=tuple(aliases))


def doubtful(world: World, entity: str) -> Iterator[tuple[str, float]]:
    """Give the links in an entity's cluster between what is no longer alike, and the score without the link."""
    for each in cluster(world, entity):
        kept = next((other for relation, other in world.entities[each].relations if relation == SAME_AS), None)
        if kept is not None:
            score = likeness(split(world, each), each, kept).score
            if score < SPLIT_REVIEW:
                yield each, score


def strangers(world: World, entity: str) -> Iterator[tuple[str, str]]:
    """Give the links in an entity's cluster that a hard constraint now forbids, and the constraint."""
    members = cluster(world, entity)
    for each in members:
        kept = next((other for relation, other in world.entities[each].relations if relation == SAME_AS), None)
        if kept is None:
            continue
        side = [other for other in members if other == each or _leads_to(world, other, each)]
        rest = [other for other in members if other not in side]
        reasons = (forbidden(world.entities[a], world.entities[b]) for a in side for b in rest)
        reason = next((found for found in reasons if found is not None), None)
        if reason is not None:
            yield each, reason


def _leads_to(world: World, entity: str, wanted: str) -> bool:
    seen = set[str]()
    while entity not in seen:
        seen.add(entity)
        entity = next((other for relation, other in world.entities[entity].relations if relation == SAME_AS), entity)
        if entity == wanted:
            return True
    return False


def _namespace(entity: Entity) -> str:
    return entity.id.split(":", 1)[0]


def _telling(identifier: str) -> bool:
    return len(identifier) >= LEAST_SERIAL and len(set(identifier)) > 1


def _jaccard(one: Iterable[object], other: Iterable[object]) -> float:
    mine, theirs = set(one), set(other)
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else 0.0


def _neighbours(world: World, entity: str) -> set[tuple[str, str, str]]:
    out = {("to", relation, other) for relation, other in world.entities[entity].relations if relation != SAME_AS}
    into = {
        ("from", relation, each.id)
        for each in world.entities.values()
        for relation, other in each.relations
        if other == entity and relation != SAME_AS
    }
    return out | into


def _at_one_time(world: World, one: str, other: str) -> bool:
    times = [max((s.at_ms for s in world.states.get(each, {}).values()), default=0) for each in (one, other)]
    return min(times) > 0 and abs(times[0] - times[1]) <= SAME_TIME_MS
