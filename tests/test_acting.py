"""Safe hands: from a playbook to a verified write, its gates, and its honest ends."""

import asyncio

import pytest
from acting import KEY, Bench, SilentPlant, config

import edge_agent.sync as loop
from edge_agent.model.errors import StoreError, TrustError
from edge_agent.seal.actions import plan_of
from edge_agent.seal.keys import PrivateKey


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_playbook_asks_waits_acts_when_approved_and_verifies(bench):
    action = bench.ask()
    assert action.stage == "waiting"
    assert bench.plant.writes == []
    report = bench.approve()
    assert bench.action.stage == "verified"
    assert bench.plant.points["relay"] is True
    assert report.status == "action_taken"
    assert report.actions["executed"]
    assert report.verification["result"] == "PASS"
    assert report.rollback["available"]
    assert bench.audited() == ["ask", "approve", "checkpoint", "intend", "read_back", "pass"]


def test_each_move_is_durable_before_it_takes_effect(bench):
    bench.ask()
    bench.ledger.journal.clear()
    bench.approve()
    assert [line for line in bench.ledger.journal if line != "approval"] == [
        "action approve", "snapshot checkpoint", "action checkpoint", "action intend", "write relay=True",
        "action read_back", "action pass",
    ]  # fmt: skip
    mark = bench.action.checkpoint
    assert (bench.ledger.snapshots[-1].world.version, bench.ledger.snapshots[-1].head) == (mark.seq, mark.head)


def test_the_request_carries_the_whole_plan_and_what_was_known(bench):
    before = bench.standing
    action = bench.ask()
    request = action.request
    assert plan_of(request.plan) == action.plan
    assert (request.agent, request.akey) == ("w", KEY.public.keyid)
    assert (request.seq, request.head) == (before.world.version, before.head)
    assert action.plan.why == "meter is hot"
    assert len({request.req, request.nonce}) == 2


def test_a_trouble_is_answered_once_while_the_request_is_open_or_after_it_was_answered(bench):
    bench.ask()
    bench.turn()
    assert len(bench.actions) == 1
    bench.approve()
    bench.turn()
    assert len(bench.actions) == 1


def test_a_request_that_nobody_answers_expires_and_is_asked_anew(bench):
    first = bench.ask()
    bench.turn(seconds=61)
    bench.turn()
    assert bench.standing.world.actions[first.id].stage == "expired"
    assert [action.stage for action in bench.actions if action.id != first.id] == ["waiting"]


def test_a_rejection_ends_it_and_nothing_is_written(bench):
    bench.ask()
    bench.approve("bert", act="reject")
    assert bench.action.stage == "refused"
    assert bench.action.reason == "rejected by bert"
    bench.approve("anna")
    assert bench.plant.writes == []
    assert bench.refused() == {"request": 1}


def test_two_distinct_operators_are_needed_above_the_risk(tmp_path):
    bench = Bench(tmp_path, config(risk=0.7))
    bench.ask()
    bench.approve("anna")
    bench.approve("anna")
    assert bench.action.stage == "waiting"
    bench.approve("bert")
    assert bench.action.stage == "verified"
    assert [name for name, _ in bench.action.approvals] == ["anna", "bert"]
    assert bench.refused() == {"again": 1}


def test_one_person_with_two_keys_is_one_of_two(tmp_path):
    spare = PrivateKey.from_seed(b"\x09" * 32)
    line = spare.public.to_text("anna").decode().strip()
    bench = Bench(tmp_path, config(risk=0.7, extra=f'[[approvers]]\nname = "anna"\nkey = "{line}"\n'))
    bench.ask()
    bench.turn([bench.letter("anna"), bench.letter("anna", key=spare)])
    assert bench.action.stage == "waiting"
    assert bench.refused() == {"again": 1}
    bench.approve("bert")
    assert bench.action.stage == "verified"


def test_without_a_policy_nothing_may_act(tmp_path):
    text = config()
    head, _, rest = text.partition("[policy]")
    bench = Bench(tmp_path, head + "[[approvers]]" + rest.partition("[[approvers]]")[2])
    bench.plant.points["volts"] = 400.0
    report = bench.turn()
    assert bench.actions == []
    assert "no policy is configured" in report.actions["plan_summary"]
    assert not report.actions["safety_gates_passed"]


@pytest.mark.parametrize(
    ("policy", "book", "values", "why"),
    [
        ('[[policy.interlocks]]\nvariable = "meter.level"\nis = "below"\nvalue = 50.0\nreason = "the tank is full"', "", {}, "the tank is full"),
        ("", "", {"relay": None}, "relay is bad"),
        ("min_confidence = 1.0", "", {}, None),
        ("", 'steps = [{{ point = "meter.level", value = 400.0, expect = 100.0 }}]', {}, "more than 200 at once"),
    ],
)  # fmt: skip
def test_policy_refuses_with_its_reason(tmp_path, policy, book, values, why):
    text = config(policy=policy)
    if book:
        text = text.replace('steps = [{{ point = "meter.relay", value = true, expect = false }}]', book)
    bench = Bench(tmp_path, text)
    if values:
        from edge_agent.model.reading import Anchor, Reading

        anchor = Anchor("meter", "fc1", bench.plant.now())
        readings = [Reading(anchor, "volts", 400.0), Reading(anchor, "relay", None, "bad:timeout")]
        bench.standing, report = asyncio.run(
            loop.sync(bench.standing, readings, bench.ground, bench.ledger, bench.plant, bench.plant.now())
        )
    else:
        bench.plant.points["volts"] = 400.0
        report = bench.turn()
    if why is None:
        assert [action.stage for action in bench.actions] == ["waiting"]
        return
    assert bench.actions == []
    assert why in report.actions["plan_summary"]


def test_policy_is_asked_again_when_the_approval_is_in(tmp_path):
    lock = '[[policy.interlocks]]\nvariable = "meter.level"\nis = "below"\nvalue = 150.0\nreason = "the tank is full"'
    bench = Bench(tmp_path, config(policy=lock))
    bench.ask()
    bench.plant.points["level"] = 200
    bench.approve()
    assert bench.action.stage == "refused"
    assert "the tank is full" in bench.action.reason
    assert bench.plant.writes == []


def test_intervals_and_budgets_are_kept_across_restarts_and_boots(tmp_path):
    bench = Bench(tmp_path, config().replace("daily_writes = 10", "daily_writes = 2"))

    def again():
        bench.plant.points.update(volts=50.0, relay=False)
        bench.turn()
        bench.plant.points["volts"] = 400.0
        return bench.turn()

    bench.ask()
    bench.approve()
    assert bench.action.stage == "verified"
    bench.restart()
    assert "would be more than 2 writes in a day" in again().actions["plan_summary"]
    bench.restart(boot=b"c" * 16)
    assert "would be more than 2 writes in a day" in again().actions["plan_summary"]
    bench.turn(seconds=86_400)
    again()
    assert bench.action.stage == "waiting"


def test_actions_an_hour_are_limited(tmp_path):
    bench = Bench(tmp_path, config(policy="actions_per_hour = 1"))
    bench.ask()
    bench.approve()
    bench.plant.points.update(volts=50.0, relay=False)
    bench.turn()
    bench.plant.points["volts"] = 400.0
    assert "actions in the last hour" in bench.turn().actions["plan_summary"]


def test_another_value_than_expected_stops_the_action_before_the_write(bench):
    bench.ask()
    bench.plant.points["relay"] = True
    bench.turn([bench.letter()], relay=False)
    assert bench.action.stage == "failed"
    assert "expected False" in bench.action.reason
    assert bench.plant.writes == []


def test_what_cannot_be_read_is_not_written(tmp_path):
    bench = Bench(tmp_path, plant=SilentPlant)
    bench.ask()
    bench.plant.silent = True
    bench.approve()
    assert bench.action.stage == "failed"
    assert bench.action.checkpoint is None
    assert bench.plant.writes == []


@pytest.mark.parametrize("durable", [0, 1, 2])
def test_without_a_durable_checkpoint_and_intent_nothing_is_written(bench, durable):
    bench.ask()
    letter = bench.letter()
    done = []

    def broken(what):
        if what.startswith("before") and len(done) >= durable:
            raise StoreError("the disk is full")
        done.extend([what] * what.startswith("after"))

    bench.ledger.fuse = broken
    with pytest.raises(StoreError):
        bench.turn([letter])
    assert bench.plant.writes == []


def test_a_profile_that_forbids_the_write_ends_it_with_nothing_written(bench):
    async def forbidden(source, point, value, hold_s):
        raise TrustError("not writable")

    bench.ask()
    bench.plant.write = forbidden
    bench.approve()
    assert bench.action.stage == "failed"
    assert "not writable" in bench.action.reason


CRITERIA = 'criteria = [{{ variable = "meter.volts", is = "below", value = 350.0 }}]\n'


def test_criteria_that_come_about_in_time_verify_it(tmp_path):
    bench = Bench(tmp_path, config(book=CRITERIA))
    bench.ask()
    report = bench.approve()
    assert bench.action.stage == "verifying"
    assert report.verification["result"] == "SKIPPED"
    bench.plant.points["volts"] = 340.0
    report = bench.turn()
    assert bench.action.stage == "verified"
    assert report.verification["result"] == "PASS"


def test_criteria_that_do_not_come_about_roll_it_back(tmp_path):
    bench = Bench(tmp_path, config(book=CRITERIA))
    bench.ask()
    bench.approve()
    report = bench.turn(seconds=3)
    assert bench.action.stage == "rolled_back"
    assert bench.plant.points["relay"] is False
    assert report.status == "rolled_back"
    assert report.rollback["executed"]
    assert bench.audited()[-3:] == ["hold", "undo", "restore"]


def test_what_is_left_alone_on_failure_is_left_alone(tmp_path):
    bench = Bench(tmp_path, config(book='on_failure = "leave"\n' + CRITERIA))
    bench.ask()
    bench.approve()
    bench.turn(seconds=3)
    assert bench.action.stage == "unknown"
    assert bench.plant.writes == [("relay", True)]


def test_an_explicit_inverse_is_written_and_read_back(tmp_path):
    inverse = 'on_failure = "inverse"\ninverse = [{{ point = "meter.level", value = 0.0 }}]\n' + CRITERIA
    bench = Bench(tmp_path, config(book=inverse))
    bench.ask()
    bench.approve()
    bench.turn(seconds=3)
    assert bench.plant.points["level"] == 0
    assert bench.action.stage == "unknown", "the relay does not stand as before, and the plan did not say it should"


def test_a_reboot_voids_what_waits_and_a_restart_does_not(bench):
    action = bench.ask()
    bench.restart()
    bench.turn()
    assert bench.standing.world.actions[action.id].stage == "waiting"
    bench.restart(boot=b"c" * 16)
    bench.turn()
    assert bench.standing.world.actions[action.id].stage == "expired"


def test_another_policy_or_roster_voids_what_waits(bench):
    action = bench.ask()
    bench.configure(config(policy="actions_per_hour = 3"))
    bench.turn()
    assert bench.standing.world.actions[action.id].stage == "expired"


def test_a_locked_gateway_asks_and_writes_nothing(bench):
    bench.ask()
    bench.standing = bench.standing._replace(locked="the disk is an older copy")
    bench.approve()
    assert bench.action.stage == "waiting"
    assert bench.refused() == {"locked": 1}


def test_ended_actions_are_forgotten_after_a_day_and_operators_never(bench):
    bench.ask()
    bench.approve()
    bench.plant.points["volts"] = 50.0
    bench.turn(seconds=86_500)
    bench.turn()
    assert bench.actions == []
    anna = next(o for o in bench.standing.world.operators.values() if o.name == "anna")
    assert anna.counter == 1
