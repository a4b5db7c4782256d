"""Who is who: scores by the policy's weights, merges that no hard constraint forbids, and splits that restore."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sites import METER, site

from edge_agent.model.reading import Anchor, Event, Instant
from edge_agent.model.world import Entity, State, Variable, World, home, replace_entity
from edge_agent.twin import alias
from edge_agent.twin.alias import cluster, forbidden, likeness, merge, split
from edge_agent.twin.baseline import baseline, bindings, empty_world
from edge_agent.twin.identity import identity_points, reconcile, resolve_identity

POLICY = Path(__file__).resolve().parents[3] / "shared" / "seed_schemas" / "identity_resolution_policy.yaml"
AT_MS = 1_700_000_000_000


def world_of(*heads, at_ms=AT_MS):
    variables = {n: Variable(n, head.id, "t", None, "gauge", "s") for n, head in enumerate(heads, 1)}
    states = {head.id: {n: State(1.0, at_ms, "good")} for n, head in enumerate(heads, 1)}
    return World("w", 1, at_ms, {head.id: head for head in heads}, variables, states, {})


def head(local, type_="pump", serial=None, namespace="w", **fields):
    attributes = {} if serial is None else {"serial": serial}
    return Entity(f"{namespace}:{type_}:{local}", type_, attributes=attributes | fields.pop("attributes", {}), **fields)


@pytest.mark.skipif(not POLICY.exists(), reason="the policy is not beside this repository")
def test_weights_and_thresholds_are_those_of_the_policy():
    text = POLICY.read_text()
    for name, weight in alias.WEIGHTS.items():
        assert f"- name: {name}\n    weight: {weight}" in text
    for name in ("AUTO_MERGE", "SUGGEST_MERGE"):
        assert f"{name.lower()}: {getattr(alias, name)}" in text
    assert f"force_split_review: {alias.SPLIT_REVIEW}" in text


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [(head("a"), head("b", "valve", namespace="x"), 0.1),
     (head("a"), head("b", "valve"), 0.35),
     (head("a"), head("b"), 0.55),
     (head("a", serial="CP-17"), head("b", serial="CP-17"), 0.85),
     (head("a", serial="CP-17", labels=("x",)), head("b", serial="CP-17", labels=("x",)), 0.95),
     (head("a", serial="CP-17", labels=("x",)), head("b", serial="CP-18", labels=("x",)), 0.75),
     (head("a", serial="0"), head("b", serial="0"), 0.65),
     (head("a", aliases=("w:pump:b",)), head("b"), 1.0)],
)  # fmt: skip
def test_likeness_is_the_weighted_sum(one, other, score):
    found = likeness(world_of(one, other), one.id, other.id)
    assert found.score == pytest.approx(score)
    assert found.score == pytest.approx(min(1.0, sum(found.features.values())))


def test_shared_neighbours_and_times_far_apart_count():
    room = head("room", "room")
    one, other = (head(n, relations=(("located_in", room.id),)) for n in "ab")
    world = world_of(one, other, room)
    assert likeness(world, one.id, other.id).features["relationship_context"] == 0.15
    states = {**world.states, other.id: {2: State(1.0, AT_MS - 7_200_000, "good")}}
    apart = World("w", 1, AT_MS, world.entities, world.variables, states, {})
    assert "temporal_coherence" not in likeness(apart, one.id, other.id).features


heads = st.lists(
    st.tuples(
        st.sampled_from(["pump", "valve", "device"]),
        st.sampled_from([None, "CP-17", "CP-18", "0"]),
        st.lists(st.sampled_from(["x", "y"]), unique=True, max_size=2),
        st.sampled_from(["w", "w", "v"]),
        st.dictionaries(st.sampled_from(["model", "ip"]), st.sampled_from(["10.0.0.1", "10.0.0.2"]), max_size=2),
    ),
    min_size=2,
    max_size=6,
)


def made(rows):
    return world_of(
        *(
            head(f"e{n}", type_, serial, namespace, labels=tuple(labels), attributes=attributes)
            for n, (type_, serial, labels, namespace, attributes) in enumerate(rows)
        )
    )


def sound(world):
    return all(
        forbidden(world.entities[a], world.entities[b]) is None
        for entity in world.entities
        for a, b in itertools.combinations(cluster(world, entity), 2)
    )


@given(heads, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_no_merge_ever_violates_a_hard_constraint_and_a_split_restores(rows, pairs):
    world = made(rows)
    ids = list(world.entities)
    trail = []
    for one, other in pairs:
        if one < len(ids) > other:
            joined = merge(world, ids[one], ids[other])
            assert sound(joined)
            if joined is not world:
                trail.append((world, max(home(world, ids[one]), home(world, ids[other]))))
            world = joined
    for before, absorbed in reversed(trail):
        world = split(world, absorbed)
        assert world == before


@given(heads, st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["CP-17", "CP-18", "CP-19"])), max_size=8))
def test_whatever_is_learned_no_constraint_is_violated(rows, lessons):
    world = made(rows)
    ids = list(world.entities)
    for entity in ids:
        world, _ = reconcile(world, entity, {})
    assert sound(world)
    for place, serial in lessons:
        entity = ids[place % len(ids)]
        attributes = {**world.entities[entity].attributes, "serial": serial}
        world, _ = reconcile(replace_entity(world, entity, attributes=attributes), entity, {})
        assert sound(world)


def test_pumps_that_stand_side_by_side_are_suggested_and_not_joined():
    same = {"labels": ("heating",), "relations": (("located_in", "w:room:room"),), "attributes": {"model": "ALPHA"}}
    world = world_of(head("a", **same), head("b", **same), head("room", "room"))
    assert likeness(world, "w:pump:a", "w:pump:b").score >= alias.AUTO_MERGE
    after, (entry,) = reconcile(world, "w:pump:a", {})
    assert after == world
    assert (entry.kind, entry.facts["action"]) == ("merge", "suggested")


TWO_WAYS = (
    METER
    + """
[[sources]]
name = "gateway"
kind = "modbus"
url = "tcp://127.0.0.1"
unit = 2
points = [ {{ name = "serial_number", function = 4, address = 10, type = "uint32", identity = "serial", drift = false }} ]
[[entities]]
id = "meter"
type = "device"
labels = ["mains"]
[[entities]]
id = "gateway"
type = "device"
labels = ["mains"]
"""
)


def heard(world, points, source, number, serial, at_ms=AT_MS):
    event = Event(number, serial, "good", Anchor(source, "fc4", Instant(at_ms, at_ms * 10**6, True)))
    entity = world.variables[number].entity
    rows = {**world.states[entity], number: State(serial, at_ms, "good")}
    world = World("w", 1, at_ms, world.entities, world.variables, {**world.states, entity: rows}, {})
    return resolve_identity(world, [event], points)


def test_one_device_over_two_ways_is_joined_with_evidence_kept_over_a_restart_and_parted_when_swapped(tmp_path):
    found = site(tmp_path, TWO_WAYS)
    world = baseline(found, empty_world("w"))
    points = identity_points(bindings(found, world))
    world, entries = heard(world, points, "meter", 3, 81234)
    assert [e.kind for e in entries] == ["identity"]
    world, entries = heard(world, points, "gateway", 4, 81234)
    assert [e.kind for e in entries] == ["identity", "merge"]
    facts = entries[1].facts
    assert (facts["entity"], facts["other"], facts["action"]) == ("w:device:gateway", "w:device:meter", "merged")
    assert facts["evidence"] == f"sensor:meter/serial_number@{AT_MS} sensor:gateway/serial_number@{AT_MS}"
    assert "attribute_value_match 0.2" in facts["features"]
    assert baseline(found, world) == world

    world, entries = heard(world, points, "meter", 3, 99999, AT_MS + 1)
    assert [e.kind for e in entries] == ["identity", "split"]
    assert entries[0].facts["swapped"] is True
    assert entries[1].facts["reason"] == "their serial differs: 99999 and 81234"
    assert home(world, "w:device:meter") == "w:device:meter"


def test_a_merge_of_what_is_no_longer_alike_is_to_be_looked_at_again():
    kept, other = head("a", "device"), head("b", "pump", relations=(("same_as", "w:device:a"),))
    world = world_of(kept, other)
    after, (entry,) = reconcile(world, other.id, {})
    assert after == world, "a person decides"
    assert (entry.kind, entry.facts["action"]) == ("split", "suggested")
    assert entry.facts["reason"] == "they are alike to 0.35 only"
