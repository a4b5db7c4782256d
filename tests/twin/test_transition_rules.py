"""Transition rules: what is wrong with them is told beforehand, and what they do is exact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sites import METER, site

from edge_agent.model.errors import ConfigError
from edge_agent.model.reading import Anchor, Event, Instant
from edge_agent.model.site import ConditionSettings, TransitionSettings
from edge_agent.twin.baseline import baseline, empty_world
from edge_agent.twin.integrate import integrate
from edge_agent.twin.rules import flaws, together, within
from edge_agent.twin.transition import holds, rules, transition

START_MS = 1_700_000_000_000


def rule(src, dst, is_="above", value=1.0, lasting=0, hysteresis=0.0, variable="pump.x"):
    when = ConditionSettings(variable=variable, is_=is_, value=value, lasting=lasting, hysteresis=hysteresis)
    return TransitionSettings(entity="pump", src=src, dst=dst, when=when)


@pytest.mark.parametrize(
    ("table", "told"),
    [([rule("idle", "hot"), rule("hot", "idle", "below", 1.0)], []),
     ([rule("idle", "hot", value=5), rule("idle", "off", "below", 0)], []),
     ([rule("idle", "bad", value=9), rule("idle", "hot", value=5)], []),
     ([rule("idle", "hot", value=5, lasting=60), rule("idle", "bad", value=9, lasting=5)], []),
     ([rule("idle", "hot", value=5), rule("hot", "idle", value=9, variable="pump.y")], []),
     ([rule("idle", "hot"), rule("warm", "idle")], ["transitions[1].from"]),
     ([rule("idle", "hot"), rule("hot", "worse"), rule("lost", "found"), rule("found", "lost", "below", 0)],
      ["transitions[2].from", "transitions[3].from"]),
     ([rule("idle", "idle")], ["transitions[0].to"]),
     ([rule("idle", "hot", value=5), rule("idle", "bad", value=9)], ["transitions[1].when"]),
     ([rule("idle", "hot", value=5, lasting=5), rule("idle", "bad", value=5, lasting=60)], ["transitions[1].when"]),
     ([rule("idle", "on", "not", "off"), rule("idle", "run", "equal", "run")], ["transitions[1].when"]),
     ([rule("idle", "hot", value=5), rule("hot", "idle", "below", 6)], ["transitions[1].when"]),
     ([rule("idle", "hot", value=5), rule("hot", "idle", "equal", 7)], ["transitions[1].when"]),
     ([rule("idle", "hot", "above", "five")], ["transitions[0].when.value"]),
     ([rule("idle", "hot", "equal", 5, hysteresis=1.0)], ["transitions[0].when.hysteresis"])],
)  # fmt: skip
def test_what_is_wrong_with_rules_is_told_with_its_place(table, told):
    assert [f"transitions[{flaw.place}].{flaw.field}" for flaw in flaws(table, {"pump": "idle"})] == told


limits = st.sampled_from([0, 1, 2, 3])
conditions = st.builds(
    lambda is_, value: ConditionSettings(variable="pump.x", is_=is_, value=value),
    st.sampled_from(["above", "below", "equal", "not"]),
    limits,
)
GRID = [n / 2 for n in range(-2, 9)]


@given(conditions, conditions)
def test_what_the_check_says_of_two_conditions_is_so(one, other):
    both = [holds(one, x) and holds(other, x) for x in GRID]
    assert together(one, other) == any(both)
    assert within(one, other) == all(holds(other, x) for x in GRID if holds(one, x))


def test_check_tells_of_a_state_that_nothing_reaches(tmp_path):
    text = METER + (
        '\n[[entities]]\nid = "meter"\ntype = "device"\nstate = "idle"\n[[transitions]]\nentity = "meter"\nfrom = "warm"\n'
        'to = "idle"\nwhen = {{ variable = "meter.volts", is = "above", value = 3 }}\n'
    )
    with pytest.raises(
        ConfigError, match=r'transitions\[0\].from: got "warm", which nothing reaches, wanted a state reached'
    ):
        site(tmp_path, text)


EDGE = (
    METER
    + """
[[entities]]
id = "meter"
type = "device"
state = "idle"
[[transitions]]
entity = "meter"
from = "idle"
to = "hot"
when = {{ variable = "meter.volts", is = "above", value = 10, for = "3s", hysteresis = 1 }}
"""
)


def passages(folder, values):
    found = site(folder, EDGE)
    world = baseline(found, empty_world("w"))
    table, holding, told = rules(found, world), {}, []
    for second, value in enumerate(values):
        now = Instant(START_MS + second * 1000, second * 10**9, True)
        world = integrate(world, [Event(1, value, "good", Anchor("meter", "fc4", now))], {})
        world, holding, entries = transition(world, table, holding, now)
        told += [(second, entry.facts) for entry in entries]
    return world, told


def test_a_value_on_the_edge_does_not_start_the_wait_anew(tmp_path):
    _, told = passages(tmp_path, [10.5, 9.5, 9.2, 10.1])
    assert [second for second, _ in told] == [3]


def test_a_value_that_came_back_by_the_hysteresis_does(tmp_path):
    _, told = passages(tmp_path, [10.5, 10.5, 9.0, 10.5, 10.5])
    assert not told


def test_a_passage_says_its_cause_and_evidence_and_the_state_knows_since_when(tmp_path):
    world, [(_, facts)] = passages(tmp_path, [11.0, 12.0, 12.0, 12.0])
    assert facts == {
        "entity": "w:device:meter", "from": "idle", "to": "hot", "cause": "meter.volts above 10.0 for 3 s: 12.0",
        "evidence": f"sensor:meter/volts@{START_MS + 1000}", "entered": None,
    }  # fmt: skip
    head = world.entities["w:device:meter"]
    assert (head.state, head.since_ms) == ("hot", START_MS + 3000)


def test_since_when_a_state_lasts_is_kept_over_a_restart(tmp_path):
    world, _ = passages(tmp_path, [11.0] * 4)
    assert baseline(site(tmp_path, EDGE), world).entities["w:device:meter"].since_ms == START_MS + 3000
