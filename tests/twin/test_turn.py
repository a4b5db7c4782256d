"""From readings to the next world: transform, integrate, resolve identity, transition."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sites import METER, site

from edge_agent.model.reading import Anchor, Event, Instant, Reading
from edge_agent.model.world import State
from edge_agent.seal.canonical import pack
from edge_agent.twin.baseline import baseline, bindings, empty_world
from edge_agent.twin.diff import UNREAD, diff
from edge_agent.twin.identity import identity_points, resolve_identity
from edge_agent.twin.integrate import deadbands, integrate
from edge_agent.twin.transform import transform
from edge_agent.twin.transition import rules, transition

ENTITY = "w:device:meter"


def anchor(at_ms=1000):
    return Anchor("meter", "fc4 0+2 unit 1", Instant(at_ms, at_ms * 1_000_000, True))


def reading(point, value, quality="good", at_ms=1000):
    return Reading(anchor(at_ms), point, value, quality)


@pytest.fixture
def plant(tmp_path):
    found = site(tmp_path)
    world = baseline(found, empty_world("w"))
    return found, world, bindings(found, world)


def test_the_baseline_numbers_every_point_and_claims_nothing(plant):
    _, world, _ = plant
    assert [(v.number, v.name) for v in world.variables.values()] == [(1, "volts"), (2, "relay"), (3, "serial_number")]
    assert set(world.states[ENTITY].values()) == {UNREAD}


def test_a_baseline_in_line_with_the_configuration_changes_nothing(plant):
    found, world, _ = plant
    assert not diff(world, baseline(found, world))


def test_a_variable_keeps_its_number_and_state_and_a_number_is_never_used_again(plant, tmp_path):
    _, world, bound = plant
    known = integrate(world, transform([reading("relay", True)], bound)[0], {})
    changed = METER.replace('"volts"', '"voltage"')
    again = baseline(site(tmp_path, changed), known)
    assert {v.name: n for n, v in again.variables.items()} == {"relay": 2, "serial_number": 3, "voltage": 4}
    assert again.state_of(2).value is True


@pytest.mark.parametrize("value", [0, 0.0, False, "", 1, 2.5, "text", True, -(2**63) + 1])
def test_a_value_is_a_value(plant, value):
    events, dropped = transform([reading("volts", value)], plant[2])
    assert [(e.value, type(e.value), e.quality) for e in events] == [(value, type(value), "good")]
    assert not dropped


@pytest.mark.parametrize(
    ("value", "quality"),
    [
        (math.nan, "bad:nan"), (math.inf, "bad:nan"), (-math.inf, "bad:nan"), (None, "bad:missing"),
        (2**63, "bad:range"), (-(2**64), "bad:range"), ("x" * 257, "bad:type"), ("bell\a", "bad:type"),
        ("\u202eevil", "bad:type"),
    ],
)  # fmt: skip
def test_what_cannot_stand_in_the_world_is_bad_and_says_why(plant, value, quality):
    events, _ = transform([reading("volts", value)], plant[2])
    assert [(e.value, e.quality) for e in events] == [(None, quality)]


@given(st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.none()))
def test_whatever_passes_the_door_can_be_sealed(tmp_path_factory, value):
    found = site(tmp_path_factory.mktemp("s"))
    world = baseline(found, empty_world("w"))
    events, _ = transform([reading("volts", value)], bindings(found, world))
    after = integrate(world, events, {})
    pack(list(after.state_of(1)))


def test_a_reading_of_a_point_nobody_configured_is_counted(plant):
    events, dropped = transform([reading("volt", 1.0)], plant[2])
    assert (events, dict(dropped)) == ([], {"unknown point": 1})


def test_a_failed_reading_turns_the_quality_and_leaves_value_and_time(plant):
    _, world, bound = plant
    good = integrate(world, transform([reading("volts", 230.0, at_ms=1000)], bound)[0], {})
    failed = integrate(good, transform([reading("volts", None, "bad:timeout", at_ms=9000)], bound)[0], {})
    assert failed.state_of(1) == State(230.0, 1000, "bad:timeout")


def test_a_stale_value_is_never_dated_anew(plant):
    _, world, bound = plant
    good = integrate(world, transform([reading("volts", 230.0, at_ms=1000)], bound)[0], {})
    for at_ms in range(2000, 9000, 1000):
        good = integrate(good, transform([reading("volts", None, "bad:stale", at_ms=at_ms)], bound)[0], {})
    assert good.state_of(1).at_ms == 1000


def test_the_same_good_value_again_leaves_the_world_as_it_is(plant):
    _, world, bound = plant
    once = integrate(world, transform([reading("volts", 230.0)], bound)[0], {})
    assert integrate(once, transform([reading("volts", 230.0, at_ms=2000)], bound)[0], {}) is once


def test_a_value_back_from_bad_is_dated_when_it_came_back(plant):
    _, world, bound = plant
    for at_ms, value, quality in [(1000, 230.0, "good"), (2000, None, "bad:timeout"), (3000, 230.0, "good")]:
        world = integrate(world, transform([reading("volts", value, quality, at_ms)], bound)[0], {})
    assert world.state_of(1) == State(230.0, 3000, "good")


def test_the_last_reading_of_a_turn_wins(plant):
    _, world, bound = plant
    events, _ = transform([reading("volts", 1.0), reading("volts", 2.0), reading("volts", 0.0)], bound)
    assert integrate(world, events, {}).state_of(1).value == 0.0


def test_a_move_within_the_deadband_stays_at_home(tmp_path):
    found = site(tmp_path, METER.replace('unit = "V"', 'unit = "V", deadband = 0.5'))
    world = baseline(found, empty_world("w"))
    bound = bindings(found, world)
    for value, kept in [(230.0, 230.0), (230.4, 230.0), (229.6, 230.0), (230.5, 230.5), (0.0, 0.0)]:
        world = integrate(world, transform([reading("volts", value)], bound)[0], deadbands(bound))
        assert world.state_of(1).value == kept


def test_minus_zero_is_zero(plant):
    _, world, bound = plant
    value = integrate(world, transform([reading("volts", -0.0)], bound)[0], {}).state_of(1).value
    assert math.copysign(1, value) == 1


def test_what_a_device_says_of_itself_becomes_its_identity_and_a_swap_is_noticed(plant):
    _, world, bound = plant
    points = identity_points(bound)
    told = []
    for value in (0, 0, 4711):
        events = [Event(3, value, "good", anchor())]
        world, entries = resolve_identity(world, events, points)
        told += [(e.facts["was"], e.facts["now"], e.facts["swapped"]) for e in entries]
    assert told == [(None, "0", False), ("0", "4711", True)]
    assert world.entities[ENTITY].attributes["serial"] == "4711"


def test_a_bad_reading_says_nothing_of_identity(plant):
    _, world, bound = plant
    after, entries = resolve_identity(world, [Event(3, None, "bad:timeout", anchor())], identity_points(bound))
    assert (after, entries) == (world, ())


RULES = (
    METER
    + """
[[entities]]
id = "meter"
type = "device"
state = "idle"
[[transitions]]
entity = "meter"
from = "idle"
to = "loaded"
when = {{ variable = "meter.volts", is = "above", value = 0, for = "2s" }}
[[transitions]]
entity = "meter"
from = "loaded"
to = "idle"
when = {{ variable = "meter.volts", is = "equal", value = 0 }}
"""
)


def run_rules(found, steps):
    world = baseline(found, empty_world("w"))
    bound, table = bindings(found, world), rules(found, world)
    holding, states = {}, []
    for second, value, quality in steps:
        events, _ = transform([reading("volts", value, quality)], bound)
        world = integrate(world, events, {})
        world, holding, _ = transition(world, table, holding, Instant(second * 1000, second * 10**9, True))
        states.append(world.entities[ENTITY].state)
    return states


def test_a_transition_waits_until_its_condition_has_held_long_enough(tmp_path):
    steps = [(0, 5.0, "good"), (1, 5.0, "good"), (2, 5.0, "good"), (3, 0.0, "good")]
    assert run_rules(site(tmp_path, RULES), steps) == ["idle", "idle", "loaded", "idle"]


def test_what_is_not_known_moves_nothing_and_starts_the_wait_anew(tmp_path):
    steps = [(0, 5.0, "good"), (1, None, "bad:timeout"), (2, 5.0, "good"), (3, 5.0, "good"), (4, 5.0, "good")]
    assert run_rules(site(tmp_path, RULES), steps) == ["idle", "idle", "idle", "idle", "loaded"]


def test_text_and_truth_are_never_above_a_number(tmp_path):
    assert run_rules(site(tmp_path, RULES), [(0, True, "good"), (9, True, "good"), (19, "9", "good")]) == ["idle"] * 3
