"""What a safety engineer tried against the acting half: each test is a way round a gate that once was open."""

import asyncio

import pytest
from acting import Bench, FakePlant, config
from test_acting import CRITERIA

SECOND = """
[[playbooks]]
name = "set-level"
summary = "raise the level"
on = {{ entity = "meter", state = "hot" }}
steps = [{{ point = "meter.{point}", value = {value}, expect = {expect} }}]
risk = 0.2
deadline = "2s"
if_it_fails = "the level stays"
"""


def second(point="level", value="200.0", expect="100.0"):
    return SECOND.replace("{point}", point).replace("{value}", value).replace("{expect}", expect)


def stages(bench):
    return sorted(action.stage for action in bench.actions)


def test_actions_approved_in_one_turn_do_not_pass_the_rate_together(tmp_path):
    bench = Bench(tmp_path, config(policy="actions_per_hour = 1", extra=second()))
    bench.ask()
    assert stages(bench) == ["waiting", "waiting"]
    bench.turn([bench.letter("anna", action=action) for action in bench.actions])
    bench.turn()
    assert stages(bench) == ["refused", "verified"]
    assert len(bench.plant.writes) == 1


def test_what_the_first_action_changed_is_read_before_a_second_begins(tmp_path):
    lock = '[[policy.interlocks]]\nvariable = "meter.relay"\nis = "equal"\nvalue = false\nreason = "the relay is open"'
    bench = Bench(tmp_path, config(policy=lock, extra=second()))
    bench.ask()
    bench.turn([bench.letter("anna", action=action) for action in bench.actions])
    bench.turn()
    assert bench.plant.writes == [("relay", True)]
    assert min(action.reason for action in bench.actions if action.stage == "refused").endswith("the relay is open")


def test_two_playbooks_do_not_ask_for_one_point_in_one_turn(tmp_path):
    bench = Bench(tmp_path, config(extra=second("relay", "true", "false")))
    bench.ask()
    assert stages(bench) == ["waiting"]


def test_a_point_of_an_inverse_is_as_busy_as_one_of_a_step(tmp_path):
    inverse = 'on_failure = "inverse"\ninverse = [{{ point = "meter.level", value = 0.0 }}]\n'
    text = config(book=inverse, extra=second())
    bench = Bench(tmp_path, text)
    bench.ask()
    assert stages(bench) == ["waiting"]


class LevelStuck(FakePlant):
    async def take(self, point, value):
        if point == "relay":
            return  # does not move at all: the inverse is called for
        self.points.setdefault("ignored", value)  # acknowledged, and not done


def test_an_inverse_on_another_point_is_read_back_too(tmp_path):
    inverse = 'on_failure = "inverse"\ninverse = [{{ point = "meter.level", value = 0.0 }}]\n'
    bench = Bench(tmp_path, config(book=inverse), plant=LevelStuck)
    bench.ask()
    bench.approve()
    assert ("level", 0.0) in bench.plant.writes
    assert bench.plant.points["level"] == 100
    assert bench.action.stage == "unknown"
    assert "meter.level holds 100" in bench.action.reason


class RelayStuck(FakePlant):
    async def take(self, point, value):
        if point != "relay":
            self.points[point] = value


def test_an_inverse_on_another_point_that_was_done_is_a_rollback(tmp_path):
    inverse = 'on_failure = "inverse"\ninverse = [{{ point = "meter.level", value = 0.0 }}, {{ point = "meter.relay", value = false }}]\n'
    bench = Bench(tmp_path, config(book=inverse), plant=RelayStuck)
    bench.ask()
    bench.approve()
    assert bench.plant.points["level"] == 0
    assert bench.action.stage == "rolled_back"


def test_criteria_that_come_about_do_not_verify_what_was_taken_back_meanwhile(tmp_path):
    bench = Bench(tmp_path, config(book=CRITERIA))
    bench.ask()
    bench.approve()
    assert bench.action.stage == "verifying"
    bench.plant.points.update(volts=340.0, relay=False)
    report = bench.turn()
    assert bench.action.stage == "rolled_back"
    assert report.verification["result"] == "FAIL"


def held_over_a_restart(tmp_path, change):
    """Return a bench whose action waits for its criteria when the process ends and begins anew."""
    bench = Bench(tmp_path, config(book=CRITERIA))
    bench.ask()
    bench.approve()
    assert bench.plant.writes == [("relay", True)]
    change(bench)
    bench.turn()
    assert bench.action.stage == "verifying"
    bench.turn(seconds=3)
    return bench


def test_a_locked_gateway_rolls_nothing_back_after_a_restart(tmp_path):
    def change(bench):
        bench.restart()
        bench.standing = bench.standing._replace(locked="the mirror has not confirmed this run")

    bench = held_over_a_restart(tmp_path, change)
    assert bench.plant.writes == [("relay", True)]
    assert bench.action.stage == "unknown"
    assert "the mirror has not confirmed this run" in bench.action.reason


def test_another_policy_rolls_nothing_back_that_it_was_not_asked_about(tmp_path):
    bench = held_over_a_restart(tmp_path, lambda b: b.configure(config(book=CRITERIA, policy="actions_per_hour = 3")))
    assert bench.plant.writes == [("relay", True)]
    assert bench.action.stage == "unknown"
    assert "policy" in bench.action.reason


def test_the_same_process_rolls_back_as_ever(tmp_path):
    bench = held_over_a_restart(tmp_path, lambda b: b.restart())
    assert bench.plant.writes == [("relay", True), ("relay", False)]
    assert bench.action.stage == "rolled_back"


def test_another_device_at_the_end_of_the_line_voids_what_waits(tmp_path):
    bench = Bench(tmp_path)
    action = bench.ask()
    bench.configure(config().replace('address = 0, type = "bool"', 'address = 7, type = "bool"'))
    bench.turn()
    assert bench.standing.world.actions[action.id].stage == "expired"


def test_what_was_not_heard_since_the_start_is_not_acted_upon(tmp_path):
    import edge_agent.sync as loop
    from edge_agent.desk import Post
    from edge_agent.model.reading import Anchor, Reading

    lock = '[[policy.interlocks]]\nvariable = "meter.level"\nis = "below"\nvalue = 150.0\nreason = "the tank is full"'
    bench = Bench(tmp_path, config(policy=lock))
    bench.ask()
    letter = bench.letter()
    bench.restart()
    bench.plant.points["level"] = 900  # while nobody looked
    bench.plant.pass_time(1)
    now = bench.plant.now()
    anchor = Anchor("meter", "fc1", now)
    readings = [Reading(anchor, "relay", False), Reading(anchor, "volts", 400.0)]
    turn = loop.sync(bench.standing, readings, bench.ground, bench.ledger, bench.plant, now, (), Post((letter,)))
    bench.standing, _ = asyncio.run(turn)
    assert bench.plant.writes == []
    assert bench.action.stage == "refused"
    assert "meter.level" in bench.action.reason


@pytest.mark.parametrize("verify", [True, False])
def test_a_point_that_shows_itself_elsewhere_is_not_called_astray(tmp_path, verify):
    write = 'write = {{ range = [0, 1], settle = "10ms", daily_budget = 1000'
    text = config().replace(write, f'{write}, verify = "next"' if verify else write)

    class Coupled(FakePlant):
        async def take(self, point, value):
            self.points.update(relay=value, next=value if verify else False)

    bench = Bench(tmp_path, text, plant=Coupled)
    bench.ask()
    bench.approve()
    assert bench.action.stage == "verified"
