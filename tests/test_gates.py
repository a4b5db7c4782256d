"""What a safety engineer tried against the acting half: each test is a way round a gate that once was open."""

import argparse
import asyncio
import contextlib
import json
import time

import msgspec
import pytest
from acting import ANNA, Bench, FakePlant, config
from peers import free_port
from sites import METER, site, written
from test_acting import CRITERIA

import edge_agent.service.agent as service
import edge_agent.sync as loop
from edge_agent.cli import approve
from edge_agent.cli.telling import in_full
from edge_agent.config import examine
from edge_agent.desk import Post
from edge_agent.judge.playbooks import playbook_plans
from edge_agent.model.errors import TrustError
from edge_agent.model.finding import Risk
from edge_agent.model.reading import Anchor, Instant, Reading
from edge_agent.mqtt import Message
from edge_agent.seal.actions import MAX_PLAN_BYTES, digest_of, plan_bytes, plan_of
from edge_agent.seal.canonical import pack, unpack
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.receipts import Receipt, seal_receipt
from edge_agent.service.clock import Clock
from edge_agent.service.mailbox import AT_ONCE, Mailbox
from edge_agent.service.wiring import BusHands

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


def test_criteria_that_held_before_the_write_say_nothing_of_what_came_of_it(tmp_path):
    bench = Bench(tmp_path, config(book=CRITERIA))
    bench.ask()
    bench.turn([bench.letter()], volts=340.0)
    assert bench.action.stage == "verifying"
    assert "meter.volts was not read since" in bench.action.reason
    bench.turn(volts=340.0)
    assert bench.action.stage == "verified"


def test_a_criterion_whose_variable_fell_silent_is_not_met_by_what_stands_of_it(tmp_path):
    bench = Bench(tmp_path, config(book=CRITERIA))
    bench.ask()
    bench.turn([bench.letter()], volts=340.0)
    bench.plant.pass_time(0.5)
    now = bench.plant.now()
    silent = [Reading(Anchor("meter", "fc4", now), "volts", None, "bad:timeout")]
    turn = loop.sync(bench.standing, silent, bench.ground, bench.ledger, bench.plant, now)
    bench.standing, _ = asyncio.run(turn)
    assert bench.action.stage == "verifying"
    bench.turn(seconds=3, volts=340.0)
    assert bench.action.stage == "verified"


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


def test_a_stop_begins_nothing_and_the_next_start_goes_on(tmp_path):

    bench = Bench(tmp_path)
    bench.ask()
    bench.plant.pass_time(1)
    turn = loop.sync(
        bench.standing, (), bench.ground, bench.ledger, None, bench.plant.now(), (), Post((bench.letter(),))
    )
    bench.standing, report = asyncio.run(turn)
    assert bench.action.stage == "approved"
    assert bench.plant.writes == []
    assert not report.actions["executed"]
    bench.restart()
    bench.turn()
    assert bench.action.stage == "verified"


def test_the_last_turn_of_an_agent_has_no_hands(tmp_path, monkeypatch):

    given, real = [], service.sync

    async def seen(standing, readings, ground, ledger, hands, *more):
        given.append(hands)
        return await real(standing, readings, ground, ledger, hands, *more)

    monkeypatch.setattr(service, "sync", seen)
    agent = service.Agent(site(tmp_path, METER, free_port()))

    async def day():
        stop = asyncio.Event()
        await agent.run(stop, stop.set)

    try:
        asyncio.run(day())
    finally:
        agent.close()
    assert given[-1] is None


def test_a_device_lost_while_a_write_waited_for_its_bus_is_not_written_to(tmp_path):

    class Link:
        polls = ()
        written = ()

        async def write(self, *what):
            self.written = what

    class Door:
        unknown = ""

        def refusal(self, _source):
            return self.unknown

    class Runner:
        link, door = Link(), Door()

        async def ask(self, what):
            self.door.unknown = "the device has not said yet who it is"  # the link was lost and opened meanwhile
            return await what()

    hands = BusHands(site(tmp_path, config()), [], Clock())
    hands._runners = {"meter": Runner()}
    with pytest.raises(TrustError, match="has not said yet who it is"):
        asyncio.run(hands.write("meter", "relay", True, None))
    assert Runner.link.written == ()


def test_letters_that_wait_while_an_action_holds_the_loop_are_bounded():

    seconds = [0.0]
    box = Mailbox(lambda: seconds[0], asyncio.Event())
    for second in range(60):
        seconds[0] = float(second)
        for _ in range(100):
            box.put(b"junk", retained=False)
    post = box.take()
    assert len(post.letters) == AT_ONCE
    assert sum(post.refused.values()) == 6000 - AT_ONCE


def test_an_operator_signs_no_plan_that_holds_more_than_is_shown(tmp_path, monkeypatch, capsys):

    bench = Bench(tmp_path)
    action = bench.ask()
    more = pack({**unpack(action.request.plan), "afterwards": [["meter", "level", 900]]})
    request = msgspec.structs.replace(action.request, plan=more, plan_digest=digest_of(more))
    action = msgspec.structs.replace(action, request=request, plan=plan_of(more))

    class Seen:
        mirror = bench.standing

        def action(self, _prefix):
            return action

    @contextlib.asynccontextmanager
    async def seen(_args):
        yield Seen()

    monkeypatch.setattr(approve.Gateway, "seen", seen)
    key = tmp_path / "anna"

    key.write_bytes(ANNA.to_text())
    args = argparse.Namespace(id=action.id, key=key, yes=True, ttl=60)
    with pytest.raises(TrustError, match="more than this version can show"):
        asyncio.run(approve.answer_request(args, "approve"))


def test_what_is_shown_says_how_far_a_value_may_be_off(tmp_path):

    bench = Bench(tmp_path)
    action = bench.ask()
    step = msgspec.structs.replace(action.plan.steps[0], tolerance=0.5, settle_s=3.0)
    plan = msgspec.structs.replace(action.plan, steps=(step,))
    told = "\n".join(in_full(msgspec.structs.replace(action, plan=plan), bench.standing.world))
    assert "only if False stands there, give or take 0.5; read back after 3 s, give or take 0.5" in told
    assert "meter.relay = what stood there before" in told
    assert "needs     1 distinct operators or supervisors" in told
    bench.approve()
    told = "\n".join(in_full(bench.action, bench.standing.world))
    assert "meter.relay held False before" in told
    assert "meter.relay read True at the last look" in told


def test_a_clock_that_nobody_set_gives_no_budget_back_over_a_boot(tmp_path):
    """A board without a battery begins in 1970, and its clock jumps when it is set."""
    bench = Bench(tmp_path, config().replace("daily_writes = 10", "daily_writes = 2"))
    true_time = bench.plant.clock
    bench.plant.clock = Instant(1000, true_time.mono_ns, False)
    bench.ask()
    bench.approve()
    assert bench.action.stage == "verified"
    bench.plant.clock = Instant(true_time.at_ms, 10**9, True)
    bench.restart(boot=b"c" * 16)
    bench.plant.points.update(volts=50.0, relay=False)
    bench.turn()
    bench.plant.points["volts"] = 400.0
    assert "more than 2 writes in a day" in bench.turn().actions["plan_summary"]
    bench.plant.points["volts"] = 50.0
    bench.turn(seconds=86_400)  # by the clock of the boot it is a day now, whatever the one on the wall says
    bench.plant.points["volts"] = 400.0
    bench.turn()
    assert bench.action.stage == "waiting"


def test_a_clock_that_is_not_set_now_gives_no_budget_back_either(tmp_path):
    bench = Bench(tmp_path, config().replace("daily_writes = 10", "daily_writes = 2"))
    bench.ask()
    bench.approve()
    bench.plant.clock = Instant(bench.plant.clock.at_ms + 2 * 86_400_000, 10**9, False)
    bench.restart(boot=b"c" * 16)
    bench.plant.points.update(volts=50.0, relay=False)
    bench.turn()
    bench.plant.points["volts"] = 400.0
    assert "more than 2 writes in a day" in bench.turn().actions["plan_summary"]


def test_where_nothing_is_weighed_nothing_that_was_approved_is_begun(tmp_path):
    bench = Bench(tmp_path)
    bench.ask()
    letter = bench.letter()
    bench.configure('[sync]\nmode = "delta_only"\n' + config())
    bench.turn([letter])
    assert bench.action.stage == "approved"
    assert bench.plant.writes == []
    bench.turn(seconds=61)
    assert bench.action.stage == "expired"
    assert bench.action.reason == "it was not begun within 60 s"


def test_with_a_mirror_nothing_is_written_before_it_has_signed_for_this_run(tmp_path):
    mirror = PrivateKey.from_seed(b"\x07" * 32)
    (tmp_path / "mirror.pub").write_bytes(mirror.public.to_text("mirror"))
    upstream = f'[upstream]\nurl = "mqtt://127.0.0.1:{free_port()}"\nmirror_key = "{tmp_path / "mirror.pub"}"\n'
    agent = service.Agent(site(tmp_path, upstream + METER, free_port()))

    def receipt(seq):
        signed = seal_receipt(Receipt("w", 1, seq, agent.ledger.digest_of(seq)), mirror)
        agent.upstream.receipts.take(Message("edge/v1/w/ack", signed, retain=False), time.monotonic())
        assert agent.upstream.receipts.last.seq == seq

    async def day():
        await agent.turn_once(0.1)  # an earlier run, as far as this one is concerned
        before = agent.standing.world.version
        await agent.turn_once(0.1)
        assert agent.standing.locked.startswith("upstream's mirror has not confirmed this run")
        receipt(before)
        await agent.turn()
        assert agent.standing.locked.startswith("upstream's mirror has not confirmed this run")
        receipt(before + 1)
        await agent.turn()
        assert agent.standing.locked == ""

    try:
        asyncio.run(day())
    finally:
        agent.close()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a+b", "#", "a\x00", "a\n", "\u202ea", "A", "-a", "ä", "a" * 64])
def test_a_name_that_a_topic_a_path_or_a_terminal_could_mistake_is_refused(tmp_path, name):
    text = METER.replace('name = "meter"', f"name = {json.dumps(name)}")
    assert text != METER
    assert examine(written(tmp_path, text)).site is None


def test_an_interlock_is_read_again_right_before_the_intent(tmp_path):
    """What was polled may be a minute old."""
    lock = '[[policy.interlocks]]\nvariable = "meter.level"\nis = "below"\nvalue = 150.0\nreason = "the tank is full"'
    bench = Bench(tmp_path, config(policy=lock))
    bench.ask()
    bench.plant.points["level"] = 900
    bench.turn([bench.letter()], level=100)
    assert bench.plant.writes == []
    assert bench.action.stage == "failed"
    assert bench.action.reason.startswith("nothing was written: interlock: meter.level is 900 and must be below 150")
    assert bench.action.checkpoint is None


def test_an_interlock_that_cannot_be_read_again_stops_the_action(tmp_path):
    lock = '[[policy.interlocks]]\nvariable = "meter.level"\nis = "below"\nvalue = 150.0\nreason = "the tank is full"'
    bench = Bench(tmp_path, config(policy=lock))
    bench.ask()
    bench.plant.points["level"] = None
    bench.turn([bench.letter()], level=100)
    assert bench.plant.writes == []
    assert bench.action.stage == "failed"


def test_a_great_trouble_with_many_causes_still_fits_into_a_request(tmp_path):
    book = config().replace('on = {{ entity = "meter", state = "hot" }}', "on = {{ risk_above = 0.5 }}")
    bench = Bench(tmp_path, book)
    causes = tuple(
        f"critical: cause number {n} is far above its baseline, since 18:00:00 UTC (0.60)" for n in range(500)
    )
    risk = Risk(0.9, causes, tuple(f"record:{n}" for n in range(500)), 0.0)
    (plan,) = playbook_plans(bench.site, bench.standing.world, risk, risk, bench.ground.writable)
    assert len(plan_bytes(plan)) < MAX_PLAN_BYTES / 4
    assert "cause number 0 " in plan.why
    assert plan.why.endswith("and 492 more")
