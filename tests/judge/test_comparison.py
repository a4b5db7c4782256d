"""Redundant sensors and setpoints: two variables that should agree, watched by their difference."""

import random

import pytest
from sites import site

from edge_agent.judge.comparison import Comparisons, compare
from edge_agent.model.errors import ConfigError
from edge_agent.model.reading import Anchor, Event, Instant
from edge_agent.model.world import replace_entity, replace_world
from edge_agent.twin.baseline import baseline, empty_world

TWO = """
[drift]
warmup = 60
[[sources]]
name = "boiler"
kind = "modbus"
url = "tcp://127.0.0.1"
points = [
    {{ name = "flow_temp", function = 4, address = 0, type = "float32", unit = "degC" }},
    {{ name = "spare_temp", function = 4, address = 2, type = "float32", unit = "degC", range = [0, 100] }},
    {{ name = "pressure", function = 4, address = 4, type = "float32", unit = "bar" }},
]
[[comparisons]]
variable = "boiler.flow_temp"
with = "boiler.spare_temp"
"""
BOUND = TWO + 'within = 1.5\nfor = "10m"\n'
START_MS = 1_700_000_000_000


class Bench:
    def __init__(self, folder, text):
        self.site = site(folder, text)
        self.world = baseline(self.site, empty_world("w"))
        self.comparisons = Comparisons(self.site, self.world)
        self.known = {}
        self.second = 0

    def turn(self, one=None, other=None, seconds=10, quality="good"):
        self.second += seconds
        at = Instant(START_MS + self.second * 1000, self.second * 10**9, True)
        given = [(2, other), (1, one)]
        events = [Event(n, value, quality, Anchor("boiler", "fc4", at)) for n, value in given if value is not None]
        self.known = compare(self.comparisons, events, replace_world(self.world, findings=self.known), at.at_ms)
        return list(self.known.values())

    def restart(self):
        self.comparisons = Comparisons(self.site, self.world, self.comparisons.to_state())


def test_a_difference_within_its_bound_says_nothing(tmp_path):
    bench = Bench(tmp_path, BOUND)
    assert not [found for _ in range(100) for found in bench.turn(61.49, 60.0)]


@pytest.mark.parametrize("side", [1, -1])
def test_a_difference_beyond_its_bound_is_a_finding_when_it_has_lasted(tmp_path, side):
    bench = Bench(tmp_path, BOUND)
    turns = [bench.turn(60.0 + 1.6 * side, 60.0) for _ in range(61)]
    assert [bool(found) for found in turns] == [False] * 60 + [True]
    (found,) = turns[-1]
    assert found.sentence == (
        f"boiler.flow_temp is 1.6 degC {'above' if side > 0 else 'below'} boiler.spare_temp (60 degC):"
        " by 1.5 degC or more since 22:13:30 UTC, for more than 10 min"
    )
    assert (found.severity, found.kind, found.number) == ("medium", "difference", 1)
    assert found.anchors == ("sensor:boiler/flow_temp@1700000610000", "sensor:boiler/spare_temp@1700000610000")


def test_it_weighs_more_the_larger_it_is_and_ends_when_it_has_come_back(tmp_path):
    bench = Bench(tmp_path, BOUND)
    for _ in range(61):
        bench.turn(61.6, 60.0)
    assert [bench.turn(60.0 + apart, 60.0)[0].severity for apart in (1.5, 3.0, 6.0)] == ["medium", "high", "critical"]
    before = bench.turn(64.5, 60.0)
    assert before[0].severity == "critical", "it never becomes milder, nor is it said anew"
    assert bench.turn(61.4, 60.0) == before, "within, but not yet back"
    assert not bench.turn(61.3, 60.0)
    assert not bench.turn(61.6, 60.0), "and it must last anew"


def test_a_reading_that_is_not_good_decides_nothing(tmp_path):
    bench = Bench(tmp_path, BOUND)
    assert not [f for _ in range(100) for f in bench.turn(99.0, 60.0, quality="uncertain:stale")]


def test_an_open_difference_stands_through_a_restart(tmp_path):
    bench = Bench(tmp_path, BOUND)
    for _ in range(61):
        before = bench.turn(61.6, 60.0)
    bench.restart()
    assert bench.turn() == before
    assert bench.turn(61.6, 60.0) == before
    assert not bench.turn(60.0, 60.0)


def test_a_rising_difference_says_where_it_is_heading(tmp_path):
    bench = Bench(tmp_path, BOUND)
    rng = random.Random(5)
    for turn in range(510):
        bench.turn(60.0 + turn * 10 / 3600 * 1.2 + rng.gauss(0, 0.05), 60.0)
    (course,) = bench.comparisons.trends()
    assert course.slope * 3600 == pytest.approx(1.2, rel=0.1)
    assert course.limit == 3.0
    assert course.path == "the difference of boiler.flow_temp and boiler.spare_temp"


def test_redundant_sensors_may_differ_by_a_constant_and_the_one_that_strays_is_noticed(tmp_path):
    bench = Bench(tmp_path, TWO)
    rng = random.Random(1)
    swing = iter(range(10**6))

    def both(error):
        truth = 60 + 10 * ((next(swing) // 50) % 2)  # the plant jumps: neither sensor rests, their difference does
        return truth + rng.gauss(0.4, 0.1) + error, truth + rng.gauss(0, 0.1)

    assert not [f for _ in range(600) for f in bench.turn(*both(0))]
    found = [f for _ in range(60) for f in bench.turn(*both(0.6))]
    assert found
    assert {f.kind for f in found} == {"difference"}
    assert found[0].sentence.startswith("boiler.flow_temp~boiler.spare_temp is ")
    assert found[0].anchors[1].startswith("sensor:boiler/spare_temp@")
    bench.restart()
    assert bench.turn(*both(0.6))


def test_largest_drift_is_a_share_of_the_range(tmp_path):
    bench = Bench(tmp_path, TWO.replace("[drift]", "[drift]\nlargest = 0.15"))
    assert bench.turn(75.1, 60.0)
    assert "by 15 degC or more" in bench.turn(75.1, 60.0)[0].sentence


@pytest.mark.parametrize(
    ("line", "wanted"),
    [('with = "boiler.spare_temp"', "a variable"), ('with = "boiler.spare_temp"', "another variable"),
     ('with = "boiler.spare_temp"', "two variables of one unit"), ("", "finite number above 0")],
)  # fmt: skip
def test_a_comparison_that_makes_no_sense_is_refused(tmp_path, line, wanted):
    other = {
        "a variable": "boiler.spar",
        "another variable": "boiler.flow_temp",
        "two variables of one unit": "boiler.pressure",
    }
    text = TWO.replace('with = "boiler.spare_temp"', f'with = "{other.get(wanted, "boiler.spare_temp")}"')
    with pytest.raises(ConfigError, match=wanted):
        site(tmp_path, text if line else text + "within = 0.0\n")


@pytest.mark.parametrize("restart", [False, True])
def test_a_difference_is_learned_anew_when_a_device_is_swapped(tmp_path, restart):
    bench = Bench(tmp_path, TWO)
    rng = random.Random(1)
    (entity,) = {v.entity for v in bench.world.variables.values()}
    bench.world = replace_entity(bench.world, entity, attributes={"serial": "1"})
    bench.comparisons = Comparisons(bench.site, bench.world)
    for _ in range(200):
        assert not bench.turn(60 + rng.gauss(0, 0.1), 60.0)
    bench.world = replace_entity(bench.world, entity, attributes={"serial": "2"})
    if restart:
        bench.restart()
    for _ in range(300):
        assert not bench.turn(63 + rng.gauss(0, 0.1), 60.0), "the new pair differs by another constant"
