import pytest
from hypothesis import given
from worlds import states, worlds

from edge_agent.model.errors import WireError
from edge_agent.model.world import Delta, State, Variable, World, replace_world
from edge_agent.seal.digest import entity_digests, root_digest, state_digest
from edge_agent.twin.diff import UNREAD, apply, compose, diff


def in_all_that_is_digested(one: World, other: World) -> bool:
    return state_digest(one) == state_digest(other)


@given(worlds(), worlds())
def test_applying_a_difference_makes_the_other_world(before, after):
    made = apply(before, diff(before, after), 7, 99)
    assert in_all_that_is_digested(made, after)
    assert (made.version, made.at_ms) == (7, 99)


@given(worlds(), worlds(), worlds())
def test_a_composed_difference_does_what_both_do(first, second, third):
    one, two = diff(first, second), diff(second, third)
    assert in_all_that_is_digested(apply(first, compose(one, two), 1, 1), third)


@given(worlds())
def test_a_world_does_not_differ_from_itself(world):
    assert not diff(world, world)
    assert not diff(world, replace_world(world, entities=dict(world.entities), states={**world.states}))


@given(worlds(), worlds())
def test_digests_taken_from_the_world_before_are_those_taken_anew(before, after):
    made = apply(before, diff(before, after), 1, 1)
    kept = entity_digests(made, (before, entity_digests(before)))
    assert root_digest("w", kept) == state_digest(after)


@pytest.mark.parametrize(("old", "new"), [(0, 0.0), (1, True), (False, 0), (0, ""), (None, 0), ("", None)])
def test_values_that_python_takes_for_equal_are_a_change(old, new):
    before = world_of(State(old, 1, "good"))
    after = world_of(State(new, 1, "good"))
    made = apply(before, diff(before, after), 1, 1).state_of(1)
    assert (made.value, type(made.value)) == (new, type(new))


def test_a_new_variable_holds_nothing_until_something_is_read():
    before = world_of(State(1.5, 1, "good"))
    delta = Delta({}, {2: Variable(2, "w:thing:a", "y", None, "gauge", "src")}, {}, {})
    assert apply(before, delta, 1, 1).state_of(2) == UNREAD


@pytest.mark.parametrize(
    "delta",
    [
        Delta({}, {}, {9: State(1, 1, "good")}, {}),
        Delta({"w:thing:a": None}, {}, {}, {}),
        Delta({}, {2: Variable(2, "w:thing:nobody", "y", None, "gauge", "src")}, {}, {}),
    ],
)
def test_a_delta_about_what_is_not_defined_is_refused_and_changes_nothing(delta):
    before = world_of(State(1.5, 1, "good"))
    digest = state_digest(before)
    with pytest.raises(WireError, match="not defined"):
        apply(before, delta, 1, 1)
    assert state_digest(before) == digest


@given(worlds(), states)
def test_a_turn_leaves_the_world_before_it_as_it_was(world, state):
    if not world.variables:
        return
    digest = state_digest(world)
    apply(world, Delta({}, {}, {next(iter(world.variables)): state}, {}), 1, 1)
    assert state_digest(world) == digest


def world_of(state: State) -> World:
    from edge_agent.model.world import Entity

    entity = Entity("w:thing:a", "thing")
    variable = Variable(1, entity.id, "x", None, "gauge", "src")
    return World("w", 0, 0, {entity.id: entity}, {1: variable}, {entity.id: {1: state}}, {})
