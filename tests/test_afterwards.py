"""A device may do a write later than anybody looks: what was undone is watched by its polls, and the record corrected."""

import asyncio

import pytest
from acting import Bench, FakePlant, config
from test_acting import CRITERIA

import edge_agent.sync as loop
from edge_agent.desk import WATCHED_S
from edge_agent.model.errors import LinkError
from edge_agent.model.reading import Anchor, Reading


async def ignored(point, value):
    """Acknowledge a write, and do nothing."""


def undone(tmp_path, text=None):
    """Return a bench whose relay did not move, and whose action was rolled back."""
    bench = Bench(tmp_path, text)
    bench.ask()
    bench.plant.take = ignored
    bench.approve()
    assert bench.action.stage == "rolled_back"
    return bench


def test_what_was_undone_and_comes_back_is_unknown_and_a_person_is_called(tmp_path):
    bench = undone(tmp_path)
    bench.turn()
    assert bench.action.stage == "rolled_back"
    bench.plant.points["relay"] = True
    report = bench.turn(seconds=20)
    assert bench.action.stage == "unknown"
    assert "what was to be put back reads back; it came back at 2023-11-14T22:13:" in bench.action.reason
    assert "meter.relay holds True again, and not False" in bench.action.reason
    assert bench.audited()[-2:] == ["restore", "relapse"]
    assert report.status == "failed"
    assert "it came back" in report.actions["plan_summary"]
    writes = list(bench.plant.writes)
    bench.turn()
    assert bench.action.stage == "unknown"
    assert bench.audited()[-2:] == ["restore", "relapse"]
    assert bench.plant.writes == writes, "nothing is written to correct it: nobody has approved that"


def test_a_reading_from_before_it_was_undone_says_nothing(tmp_path):
    bench = undone(tmp_path)
    held_ms = bench.action.held_mono_ms
    early = bench.plant.now()._replace(mono_ns=held_ms * 1_000_000)
    bench.plant.pass_time(1)
    reading = Reading(Anchor("meter", "fc1", early), "relay", True)
    turn = loop.sync(bench.standing, [reading], bench.ground, bench.ledger, bench.plant, bench.plant.now())
    bench.standing, _ = asyncio.run(turn)
    assert bench.action.stage == "rolled_back"


@pytest.mark.parametrize(("seconds", "stage"), [(WATCHED_S - 1, "unknown"), (WATCHED_S + 1, "rolled_back")])
def test_it_is_watched_for_a_minute(tmp_path, seconds, stage):
    bench = undone(tmp_path)
    bench.plant.points["relay"] = True
    bench.turn(seconds=seconds)
    assert bench.action.stage == stage


def test_a_slow_plan_is_watched_as_long_as_it_was_given(tmp_path):
    bench = undone(tmp_path, config().replace('deadline = "2s"', 'deadline = "10m"'))
    bench.plant.points["relay"] = True
    bench.turn(seconds=500)
    assert bench.action.stage == "unknown"


@pytest.mark.parametrize("boot", [b"b" * 16, b"c" * 16])
def test_it_is_watched_over_a_restart_and_a_boot(tmp_path, boot):
    bench = undone(tmp_path)
    bench.restart(boot=boot)
    if boot != b"b" * 16:
        bench.plant.clock = bench.plant.clock._replace(mono_ns=10**9)
    bench.turn()
    assert bench.action.stage == "rolled_back"
    bench.plant.points["relay"] = True
    bench.turn()
    assert bench.action.stage == "unknown"


def test_what_was_never_done_and_is_done_late_is_corrected_too(tmp_path):
    bench = Bench(tmp_path, config(book='on_failure = "leave"\n' + CRITERIA))
    bench.ask()
    bench.plant.take = ignored
    bench.approve()
    assert bench.action.stage == "failed"
    bench.plant.points["relay"] = True
    bench.turn()
    assert bench.action.stage == "unknown"
    assert bench.audited()[-2:] == ["fail", "relapse"]


def test_where_nothing_was_written_a_hand_at_the_panel_is_not_taken_for_it(tmp_path):
    bench = Bench(tmp_path)
    bench.ask()
    bench.plant.points["relay"] = True
    bench.turn([bench.letter()], relay=False)
    assert bench.action.stage == "failed"
    bench.turn()
    assert bench.action.stage == "failed"


def test_what_a_second_action_writes_is_not_taken_for_what_the_first_did_late(tmp_path):
    bench = undone(tmp_path)
    first = bench.action
    take = type(bench.plant).take
    bench.plant.take = lambda point, value: take(bench.plant, point, value)
    bench.plant.points["volts"] = 50.0
    bench.turn(seconds=5)
    second = bench.ask()
    assert second.id != first.id
    bench.approve()
    assert bench.action.stage == "verified"
    bench.turn()
    assert bench.plant.points["relay"] is True
    assert bench.standing.world.actions[first.id].stage == "rolled_back"


def test_a_value_that_is_neither_the_one_nor_the_other_is_somebody_elses(tmp_path):
    steps = 'steps = [{{ point = "meter.level", value = 200.0, expect = 100.0 }}]'
    text = config().replace('steps = [{{ point = "meter.relay", value = true, expect = false }}]', steps)
    bench = undone(tmp_path, text)
    bench.plant.points["level"] = 150
    bench.turn()
    assert bench.action.stage == "rolled_back"
    bench.plant.points["level"] = 200
    bench.turn()
    assert bench.action.stage == "unknown"


def test_only_what_was_tried_is_undone(tmp_path):
    """A hand at the panel changes the second target between the checkpoint and its write: that is left as it is."""
    two = 'steps = [{{ point = "meter.relay", value = true, expect = false }}, {{ point = "meter.level", value = 200.0, expect = 100.0 }}]'
    one = 'steps = [{{ point = "meter.relay", value = true, expect = false }}]'
    bench = Bench(tmp_path, config().replace(one, two))
    bench.ask()

    async def moved(point, value):
        bench.plant.points.update({point: value, "level": 120})

    bench.plant.take = moved
    bench.approve()
    assert bench.plant.writes == [("relay", True), ("relay", False)]
    assert bench.action.stage == "unknown"
    assert "meter.level holds 120, expected 100.0" in bench.action.reason


class Away(FakePlant):
    """Once it is away each question waits for its bus as long as hands wait."""

    away = False
    asked = 0

    async def look(self, point):
        if not self.away:
            return self.points[point]
        self.asked += 1
        self.pass_time(6)
        raise LinkError("the bus had no time within 6 s", "timeout")

    async def take(self, point, value):
        self.points[point], self.away = value, True


@pytest.mark.parametrize(("settle", "looks"), [("10ms", 2), ("3s", 3)])
def test_a_device_that_is_gone_is_not_looked_for_while_the_plant_waits(tmp_path, settle, looks):
    text = config().replace('settle = "10ms"', f'settle = "{settle}"').replace('deadline = "2s"', 'deadline = "1m"')
    bench = Bench(tmp_path, text, plant=Away)
    bench.ask()
    before = bench.plant.now().mono_ns
    bench.approve()
    assert bench.action.stage == "unknown"
    assert bench.plant.asked == looks
    assert (bench.plant.now().mono_ns - before) / 1e9 < 45


def test_a_silence_after_the_end_says_nothing_however_the_value_before_it_was(tmp_path):
    """What was polled in the middle of the action stands in the twin still when the device falls silent."""
    bench = undone(tmp_path)
    early = bench.plant.now()._replace(mono_ns=bench.action.held_mono_ms * 1_000_000)
    bench.plant.pass_time(1)
    now = bench.plant.now()
    readings = [
        Reading(Anchor("meter", "fc1", early), "relay", True),
        Reading(Anchor("meter", "fc1", now), "relay", None, "bad:timeout"),
    ]
    turn = loop.sync(bench.standing, readings, bench.ground, bench.ledger, bench.plant, now)
    bench.standing, _ = asyncio.run(turn)
    assert next(
        s.value for rows in bench.standing.world.states.values() for s in rows.values() if s.quality == "bad:timeout"
    )
    assert bench.action.stage == "rolled_back"
