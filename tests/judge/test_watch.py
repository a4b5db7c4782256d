"""The statistics as the loop uses them: seeded streams in, findings out."""

import itertools
import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import site

from edge_agent.judge.constrain import Bounds, constrain
from edge_agent.judge.monitor import Monitor
from edge_agent.judge.plan import plan
from edge_agent.judge.risk import estimate_risk, forecast_risk
from edge_agent.judge.watch import Watch, detect_anomaly
from edge_agent.model.action import Plan, Step
from edge_agent.model.finding import SEVERITIES, Anomaly
from edge_agent.model.reading import Anchor, Event, Instant
from edge_agent.model.world import replace_entity, replace_world
from edge_agent.twin.baseline import baseline, empty_world

PUMP = """
[drift]
false_alarm_every = "{budget}"
[[sources]]
name = "pump"
kind = "modbus"
url = "tcp://127.0.0.1"
points = [ {{ name = "bearing_temp", function = 4, address = 0, type = "float32", unit = "degC", alarm_above = 85 }} ]
"""
UNRULED = Bounds(policy=None, writable={}, boot=b"", synced=True, mono_ms=0, at_ms=0, locked="", heard=())
"""No policy."""
START_MS = 1_700_000_000_000


class Bench:
    """One watched variable, read once a second."""

    def __init__(self, folder, budget="8640s"):
        text = PUMP.replace("{budget}", budget).replace("{{", "{").replace("}}", "}")
        self.site = site(folder, text.replace("{", "{{").replace("}", "}}"))
        self.world = baseline(self.site, empty_world("w"))
        self.watch = Watch(self.site.settings.drift, self.world, self.site)
        self.second = 0
        self.told = []

    def feed(self, values, step_s=1):
        """Take readings one a turn; return at which of them a finding was first open, or None."""
        first = None
        for count, value in enumerate(values):
            self.second += step_s
            at = Instant(START_MS + self.second * 1000, self.second * 1_000_000_000, True)
            quality = "good" if value is not None else "bad:timeout"
            events = [Event(1, value, quality, Anchor("pump", "fc4", at))]
            found = detect_anomaly(self.watch, events, self.world, at)
            if found and first is None:
                first = count
            if found != self.world.findings:
                self.told.append(found)
                self.world = replace_world(self.world, findings=found)
        return first

    def wait(self, seconds, turn_s=1):
        """Let time pass in turns in which nothing arrives; return after how many seconds a finding was first open."""
        for passed in range(turn_s, seconds + 1, turn_s):
            self.second += turn_s
            now = Instant(START_MS + self.second * 1000, self.second * 1_000_000_000, True)
            found = detect_anomaly(self.watch, [], self.world, now)
            self.world = replace_world(self.world, findings=found)
            if found:
                return passed
        return None


def normal(seed, count, mean=60.0, sigma=0.5, phi=0.0):
    rng = random.Random(seed)
    error, scale = 0.0, math.sqrt(1 - phi * phi)
    for _ in range(count):
        error = phi * error + scale * rng.gauss(0, 1)
        yield mean + sigma * error


@pytest.mark.parametrize("phi", [0.0, 0.7])
def test_false_alarms_stay_within_the_budget(tmp_path, phi):
    alarms, readings = 0, 0
    for seed in range(12):
        bench = Bench(tmp_path)
        values = list(normal(seed, 4000, phi=phi))
        bench.feed(values)
        alarms += sum(bool(now) and not before for before, now in zip([{}, *bench.told], bench.told, strict=False))
        readings += len(values)
    assert alarms <= 2 * readings / 8640


@pytest.mark.parametrize(("sigmas", "within"), [(1, 60), (2, 20), (4, 8)])
def test_a_shift_is_found_soon(tmp_path, sigmas, within):
    delays = []
    for seed in range(8):
        bench = Bench(tmp_path)
        bench.feed(normal(seed, 600))
        if not bench.world.findings:
            delays.append(bench.feed(normal(seed + 100, 300, mean=60 + 0.5 * sigmas)))
    assert len(delays) >= 6
    assert None not in delays
    assert sum(delays) / len(delays) <= within


def test_a_slow_drift_is_found_and_says_where_it_leads(tmp_path):
    bench = Bench(tmp_path)
    bench.feed(normal(1, 600))
    assert bench.feed(v + i / 400 for i, v in enumerate(normal(2, 1500))) is not None
    sentence = next(iter(bench.world.findings.values())).sentence
    for words in ("pump.bearing_temp", "\u03c3", "degC", "above its baseline", "since", "rising", "85"):
        assert words in sentence, sentence
    assert len(bench.told) < 40, "each change of a finding is a signed delta"
    courses = bench.watch.trends()
    assert courses, "a trend with a limit is a course"
    now = estimate_risk(bench.world.findings.values(), {1: 0.9})
    assert now.level <= forecast_risk(now, courses, 86_400).level <= 1


def test_there_is_no_opinion_while_the_baseline_is_young(tmp_path):
    assert Bench(tmp_path).feed([*normal(3, 60), *normal(4, 50, mean=99)]) in (None, *range(60, 110))
    fresh = Bench(tmp_path)
    assert fresh.feed(normal(5, 100, mean=50, sigma=6)) is None


def test_a_limit_is_told_at_once_and_ends_when_it_ends(tmp_path):
    bench = Bench(tmp_path)
    assert bench.feed([60.0, 60.0, 86.0]) == 2
    assert any(f.kind == "limit" and f.severity in ("high", "critical") for f in bench.world.findings.values())
    bench.feed([60.0] * 30)
    assert not any(f.kind == "limit" for f in bench.world.findings.values())


@pytest.mark.parametrize(
    "values",
    [[0.0] * 300, [5.0] * 300, [0.0, 1.0] * 150, [1e308, -1e308] * 150, [5e-324] * 300, [0] * 200 + [1] * 200,
     [None] * 300, [None, 1.0] * 200, [True, "text", False] * 100, [1.0] * 200 + [1e308] * 10],
)  # fmt: skip
def test_no_signal_is_too_strange(tmp_path, values):
    bench = Bench(tmp_path)
    bench.feed(values)
    for finding in bench.world.findings.values():
        assert 0 <= finding.score <= 1
        assert 0 <= finding.confidence <= 1
        assert "nan" not in finding.sentence
        assert "inf" not in finding.sentence


@settings(max_examples=30)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=200), st.integers(-5, 4000))
def test_any_stream_and_any_clock_give_findings_that_can_be_sealed(tmp_path_factory, values, step_s):
    bench = Bench(tmp_path_factory.mktemp("w"))
    bench.feed(values, step_s)
    for finding in bench.world.findings.values():
        assert math.isfinite(finding.score)
        assert finding.severity in SEVERITIES


def test_a_restart_changes_nothing(tmp_path):
    one, other = Bench(tmp_path), Bench(tmp_path)
    before, after = list(normal(7, 500)), [v + i / 300 for i, v in enumerate(normal(8, 600))]
    one.feed(before)
    other.feed(before)
    kept = json.loads(json.dumps(other.watch.to_state(), allow_nan=False))
    other.watch = Watch(other.site.settings.drift, other.world, other.site, kept)
    assert one.feed(after) == other.feed(after)
    assert one.world.findings == other.world.findings
    assert one.watch.to_state() == other.watch.to_state()


def test_another_number_of_watched_variables_moves_the_bars_and_keeps_what_was_learned(tmp_path):
    """The budget is the site's: a device that is added takes its share of it, and costs nobody the baseline."""
    bench, more = Bench(tmp_path), PUMP.replace("address = 0", "address = 0, drift = true")
    bench.feed(normal(7, 500))
    twice = more + more[more.index("[[sources]]") :].replace('"pump"', '"other"')
    found = site(tmp_path, twice.replace("{budget}", "8640s"))
    world = baseline(found, empty_world("w"))
    before = bench.watch.insights()[0]
    for kept in (
        json.loads(json.dumps(bench.watch.to_state())),
        {m.subject.path: m for m in bench.watch.monitors.values()},
    ):
        after = Watch(found.settings.drift, world, found, kept).insights()[0]
        assert after.baseline == before.baseline
        assert after.heard == before.heard
        assert after.budget == pytest.approx(before.budget + math.log10(2))
    again = Watch(
        bench.site.settings.drift, bench.world, bench.site, Watch(found.settings.drift, world, found, kept).to_state()
    )
    assert again.insights()[0].budget == pytest.approx(before.budget)


@pytest.mark.parametrize(
    "kept", [None, 5, [], {}, {"pump.bearing_temp": 5}, {"pump.bearing_temp": {"fingerprint": "x"}}]
)
def test_a_damaged_state_costs_a_warm_up_and_nothing_else(tmp_path, kept):
    bench = Bench(tmp_path)
    bench.watch = Watch(bench.site.settings.drift, bench.world, bench.site, kept)
    assert bench.feed(normal(9, 300)) is None


def test_a_changed_definition_starts_anew(tmp_path):
    bench, other = Bench(tmp_path), Bench(tmp_path, budget="2d")
    bench.feed(normal(1, 300))
    other.watch = Watch(other.site.settings.drift, other.world, other.site, bench.watch.to_state())
    assert other.watch.to_state() == Watch(other.site.settings.drift, other.world, other.site).to_state()


def says(bench, **attributes):
    """Let the pump say who it is, as twin/identity.py has it."""
    (entity,) = (e for e in bench.world.entities.values() if e.type == "device")
    bench.world = replace_entity(bench.world, entity.id, attributes={**entity.attributes, **attributes})


def test_a_swapped_device_is_learned_anew_and_its_findings_are_gone(tmp_path):
    bench = Bench(tmp_path)
    says(bench, serial="1")
    bench.feed(normal(1, 400))
    assert bench.feed(normal(2, 60, mean=65)) is not None
    says(bench, serial="2")
    bench.feed([60.0])
    assert not bench.world.findings
    assert bench.watch.insights()[0].baseline is None
    assert bench.feed(normal(3, 400, mean=70)) is None, "the new one has a level of its own"
    assert bench.watch.insights()[0].baseline.mean == pytest.approx(70, abs=0.2)


def test_a_device_that_says_more_of_itself_is_the_same(tmp_path):
    bench = Bench(tmp_path)
    for attributes in ({"serial": "1"}, {"model": "P3"}, {"firmware": "7", "serial": "1"}):
        bench.feed(normal(1, 200))
        says(bench, **attributes)
    bench.feed([60.0])
    assert bench.watch.insights()[0].heard == 601


def test_a_device_swapped_while_the_agent_was_down_is_learned_anew(tmp_path):
    bench = Bench(tmp_path)
    says(bench, serial="1")
    bench.feed(normal(1, 400))
    kept = json.loads(json.dumps(bench.watch.to_state()))
    again = Watch(bench.site.settings.drift, bench.world, bench.site, kept)
    assert again.insights()[0].heard == 400, "the same device is known again"
    bench.watch = again
    says(bench, serial="2")
    bench.feed([60.0])
    assert bench.watch.insights()[0].heard == 0
    other = Watch(bench.site.settings.drift, bench.world, bench.site, kept)
    assert other.insights()[0].heard == 0, "also when the swap was known and its baseline not yet kept"


@pytest.mark.parametrize(
    ("was", "now"),
    [("function = 4", "function = 3"), ("address = 0", "address = 2"), ("float32", "int32"), ("degC", "degF"),
     ('"float32"', '"float32", scale = 0.1'), ("alarm_above = 85", "alarm_above = 86")],
)  # fmt: skip
def test_another_definition_of_the_point_starts_anew_over_a_restart(tmp_path, was, now):
    bench = Bench(tmp_path)
    bench.feed(normal(1, 300))
    kept = json.loads(json.dumps(bench.watch.to_state()))
    text = PUMP.replace("{budget}", "8640s").replace(was, now)
    changed = site(tmp_path, text)
    world = baseline(changed, empty_world("w"))
    assert Watch(changed.settings.drift, world, changed, kept).insights()[0].heard == 0
    same = Watch(bench.site.settings.drift, bench.world, bench.site, kept)
    assert same.insights()[0].heard == 300


anomalies = st.builds(
    Anomaly, st.just("pump.x/shift"), st.just(1), st.just("shift"), st.sampled_from(SEVERITIES), st.just("x"),
    st.just(0), st.floats(0, 1), st.floats(0, 1), st.just(("a",)),
)  # fmt: skip


@given(st.lists(anomalies, max_size=5), st.floats(0, 1))
def test_risk_is_a_share_and_more_trouble_is_never_less_risk(found, criticality):
    risk = estimate_risk(found, {1: criticality})
    assert 0 <= risk.level <= 1
    assert estimate_risk(found[:-1], {1: criticality}).level <= risk.level
    assert bool(found) or risk.level == 0


def test_plans_recommend_and_never_write():
    finding = Anomaly("pump.x/shift", 1, "shift", "high", "pump.x is high", 0, 0.9, 0.9, ("a",))
    risk = estimate_risk([finding], {1: 1.0})
    found = plan([finding], risk, risk)
    assert [p.steps for p in found] == [()]
    assert "inspect pump" in found[0].summary
    assert [r.verdict for r in constrain(found, empty_world("w"), UNRULED)] == ["recommend"]


def test_a_plan_that_writes_is_refused_without_policy():
    writes = Plan("p", "open the valve", (Step("pump", "valve", True, False),), ())
    ruling = constrain([writes], empty_world("w"), UNRULED)[0]
    assert ruling.verdict == "refuse"
    assert "no policy" in ruling.reason


def test_what_cannot_be_gone_on_from_is_counted_and_what_was_never_learned_is_not(tmp_path):
    bench, other = Bench(tmp_path), Bench(tmp_path, budget="2d")
    unheard = json.loads(json.dumps(bench.watch.to_state()))
    bench.feed(normal(1, 300))
    kept = json.loads(json.dumps(bench.watch.to_state()))
    for found, state, forgotten in (
        (bench, kept, 0), (bench, unheard, 0), (bench, None, 0), (other, unheard, 0), (other, kept, 1),
        (bench, dict.fromkeys(kept, "of another version"), 1), (bench, {path: {} for path in kept}, 1),
    ):  # fmt: skip
        assert Watch(found.site.settings.drift, found.world, found.site, state).forgotten == forgotten


def test_a_variable_that_falls_silent_is_noticed_by_the_clock(tmp_path):
    bench = Bench(tmp_path)
    bench.feed(list(normal(1, 400)))
    last_ms = START_MS + bench.second * 1000
    assert 4 <= bench.wait(60) <= 10  # three readings any link may lose
    (found,) = bench.world.findings.values()
    assert (found.kind, found.since_ms) == ("missing", last_ms)
    assert "usually each 1 s" in found.sentence
    stands = dict(bench.world.findings)
    bench.wait(1)
    assert bench.world.findings == stands, "silence that goes on is no news"
    bench.feed([60.0] * 5)
    assert not any(each.kind == "missing" for each in bench.world.findings.values())


def test_a_variable_that_talks_seldom_is_not_silent_between_two_readings(tmp_path):
    bench = Bench(tmp_path, budget="30d")
    for value in normal(2, 300):
        bench.feed([value])
        assert bench.wait(59) is None


def test_time_before_the_start_is_no_silence(tmp_path):
    bench = Bench(tmp_path)
    bench.feed(list(normal(3, 400)))
    bench.second += 86_400  # the agent was off
    bench.watch = Watch(bench.site.settings.drift, bench.world, bench.site, bench.watch.to_state())
    assert bench.wait(3) is None
    assert bench.wait(60) is not None


def test_silence_is_looked_for_in_a_share_of_many_variables_each_turn(tmp_path, monkeypatch):
    bench = Bench(tmp_path)
    asked = []
    monkeypatch.setattr(Monitor, "overdue", lambda self, *_: asked.append(self.subject.number))
    bench.watch._monitors = dict.fromkeys(range(200), bench.watch._monitors[1])
    bench.watch._round = itertools.cycle(bench.watch._monitors)
    bench.wait(4)
    assert len(asked) == 4 * 64
