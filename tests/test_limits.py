"""Each limit of policy by itself: what the configuration's check would have refused already is refused here, too."""

import asyncio

import msgspec
import pytest
from acting import KEY, Bench, config
from sites import written
from test_acting import CRITERIA
from test_gates import second, stages

import edge_agent.sync as loop
from edge_agent.config import examine
from edge_agent.desk import ask
from edge_agent.judge.approve import Desk
from edge_agent.judge.constrain import Bounds, constrain
from edge_agent.judge.rulebook import approvers_needed
from edge_agent.judge.verdict import agrees
from edge_agent.model.action import UNSET, Ruling, Undo, Write
from edge_agent.model.reading import Anchor, Reading
from edge_agent.model.world import replace_world
from edge_agent.service.boot import restore
from edge_agent.store.shelf import Item


@pytest.fixture
def bench(tmp_path):
    found = Bench(tmp_path)
    found.ask()
    return found


def ruled(bench, plan, *, actions=None, **fields):
    """Return the verdict of policy on a new plan, beside some actions, and its reason."""
    now = bench.plant.now()
    bounds = Bounds(
        bench.site.settings.policy, bench.ground.writable, bench.boot, now.mono_ns // 1_000_000, now.at_ms, now.synced,
        "", range(1000),
    )._replace(**fields)  # fmt: skip
    world = replace_world(bench.standing.world, actions=actions or {})
    ruling = constrain([plan], world, bounds)[0]
    return ruling.verdict, ruling.reason


def plan_of(bench, point="relay", value=True, **fields):
    plan = bench.action.plan
    step = msgspec.structs.replace(plan.steps[0], point=point, value=value)
    return msgspec.structs.replace(plan, steps=(step,), **fields)


def test_what_is_within_every_limit_waits(bench):
    assert ruled(bench, plan_of(bench))[0] == "wait"
    assert ruled(bench, plan_of(bench, "level", 300.0))[0] == "wait"
    assert ruled(bench, plan_of(bench, "level", 0))[0] == "wait"


REFUSED = [
    ({"point": "level", "value": 501.0}, "meter.level = 501.0 lies outside 0 to 500"),
    ({"point": "level", "value": -1.0}, "meter.level = -1.0 lies outside 0 to 500"),
    ({"point": "level", "value": float("nan")}, "meter.level = nan lies outside"),
    ({"point": "level", "value": "full"}, "meter.level = full lies outside"),
    ({"point": "level", "value": 301.0}, "meter.level would go from 100 to 301.0, more than 200 at once"),
    ({"point": "next", "value": True}, "policy does not name meter.next"),
    ({"inverse": (Undo("meter", "next", False),)}, "policy does not name meter.next"),
    ({"inverse": (Undo("meter", "level", 600.0),)}, "meter.level = 600.0 lies outside 0 to 500"),
    ({"inverse": (Undo("meter", "level", 400.0),)}, "meter.level would go from 100 to 400.0"),
]


@pytest.mark.parametrize(("fields", "why"), REFUSED)
def test_what_is_outside_a_limit_is_refused(bench, fields, why):
    verdict, reason = ruled(bench, plan_of(bench, **fields))
    assert verdict == "refuse"
    assert why in reason


def test_a_step_down_is_a_step_as_one_up(bench):
    bench.plant.points["level"] = 400
    bench.turn()
    assert "more than 200 at once" in ruled(bench, plan_of(bench, "level", 199.0))[1]
    assert ruled(bench, plan_of(bench, "level", 200.0))[0] == "wait"


def test_a_doubtful_cause_is_refused_and_one_at_the_bar_is_not(bench):
    policy = msgspec.structs.replace(bench.site.settings.policy, min_confidence=0.6)
    assert "0.59, below 0.6" in ruled(bench, plan_of(bench, confidence=0.59), policy=policy)[1]
    assert ruled(bench, plan_of(bench, confidence=0.6), policy=policy)[0] == "wait"


def with_writes(bench, stage, *ages_s):
    """Return the bench's action at another stage, having written the relay so long ago."""
    mono_ms = bench.plant.now().mono_ns // 1_000_000
    writes = [Write("meter", "relay", UNSET, bench.boot, mono_ms - round(age * 1000)) for age in ages_s]
    return {"x": msgspec.structs.replace(bench.action, stage=stage, writes=tuple(writes))}


def test_the_newest_write_counts_for_the_interval_and_all_of_a_day_for_the_budget(bench):
    bench.plant.pass_time(100_000)
    assert "written 0 s ago" in ruled(bench, plan_of(bench), actions=with_writes(bench, "verified", 5000, 0.4))[1]
    assert ruled(bench, plan_of(bench), actions=with_writes(bench, "verified", 5000, 4000))[0] == "wait"
    nine = with_writes(bench, "verified", *range(4000, 13_000, 1000))
    assert "more than 10 writes in a day" in ruled(bench, plan_of(bench), actions=nine)[1]
    old = with_writes(bench, "verified", *range(4000, 12_000, 1000), 86_401)
    assert ruled(bench, plan_of(bench), actions=old)[0] == "wait"


def test_a_budget_lasts_a_day_and_not_as_long_as_the_action_is_remembered(bench):
    """What wrote an hour ago is still counted: it must not be forgotten."""
    bench.approve()
    bench.plant.points.update(volts=50.0)
    bench.turn(seconds=80_000)
    assert [len(action.writes) for action in bench.actions] == [1]


@pytest.mark.parametrize("stage", ["waiting", "approved", "writing", "verifying", "rolling_back"])
def test_a_point_is_busy_at_every_stage_that_is_not_an_end(bench, stage):
    open_ = {"x": msgspec.structs.replace(bench.action, stage=stage)}
    assert "has to do with the same point" in ruled(bench, plan_of(bench), actions=open_)[1]


def test_a_second_playbook_does_not_ask_for_a_point_whose_criteria_are_waited_for(tmp_path):
    bench = Bench(tmp_path, config(book=CRITERIA, extra=second("relay", "true", "false")))
    bench.ask()
    bench.approve()
    bench.turn(seconds=1.5)
    assert stages(bench) == ["verifying"]


def test_a_criterion_that_cannot_be_judged_is_not_acted_for(tmp_path):
    bench = Bench(tmp_path, config(book=CRITERIA))
    plan = bench.ask().plan
    numbers = {v.name: number for number, v in bench.standing.world.variables.items()}
    assert ruled(bench, plan, heard=[numbers["relay"], numbers["volts"]])[0] == "wait"
    assert "meter.volts is not heard" in ruled(bench, plan, heard=[numbers["relay"]])[1]
    assert "meter.relay is not heard" in ruled(bench, plan, heard=[numbers["volts"]])[1]


def test_of_two_targets_neither_is_written_when_one_cannot_be_read(tmp_path):
    two = 'steps = [{{ point = "meter.relay", value = true, expect = false }}, {{ point = "meter.level", value = 200.0, expect = 100.0 }}]'
    one = 'steps = [{{ point = "meter.relay", value = true, expect = false }}]'
    bench = Bench(tmp_path, config().replace(one, two))
    bench.ask()
    bench.plant.points["level"] = None
    bench.turn([bench.letter()], level=100)
    assert (bench.action.stage, bench.plant.writes) == ("failed", [])
    assert bench.action.reason == "nothing was written: what stands there is not good"


def test_a_locked_gateway_does_not_even_ask(tmp_path):
    bench = Bench(tmp_path)
    bench.standing = bench.standing._replace(locked="the disk is an older copy")
    bench.plant.points["volts"] = 400.0
    assert "the disk is an older copy" in bench.turn().actions["plan_summary"]
    assert bench.actions == []


def test_what_was_approved_before_it_was_locked_is_refused_and_not_written(bench):
    bench.plant.pass_time(1)
    post = loop.Post((bench.letter(),))
    turn = loop.sync(bench.standing, (), bench.ground, bench.ledger, None, bench.plant.now(), (), post)
    bench.standing, _ = asyncio.run(turn)
    assert bench.action.stage == "approved"
    bench.standing = bench.standing._replace(locked="the disk is an older copy")
    bench.turn()
    assert (bench.action.stage, bench.action.reason) == ("refused", "the disk is an older copy")
    assert bench.plant.writes == []


def test_an_interlock_whose_variable_is_bad_is_not_taken_for_one_that_holds(tmp_path):
    """The value from before it turned bad stands in the twin still, and would do."""
    lock = '[[policy.interlocks]]\nvariable = "meter.level"\nis = "below"\nvalue = 150.0\nreason = "the tank is full"'
    bench = Bench(tmp_path, config(policy=lock))
    bench.turn()
    bench.plant.pass_time(1)
    anchor = Anchor("meter", "fc3", bench.plant.now())
    readings = [Reading(anchor, "level", None, "bad:timeout"), Reading(anchor, "volts", 400.0)]
    turn = loop.sync(bench.standing, readings, bench.ground, bench.ledger, bench.plant, bench.plant.now())
    bench.standing, report = asyncio.run(turn)
    assert bench.actions == []
    assert "meter.level is bad:timeout" in report.actions["plan_summary"]


def test_a_write_that_was_rolled_back_counts_twice(tmp_path):
    bench = Bench(tmp_path, config(book=CRITERIA).replace("daily_writes = 10", "daily_writes = 3"))
    bench.ask()
    bench.approve()
    bench.turn(seconds=3)
    assert bench.action.stage == "rolled_back"
    assert len(bench.action.writes) == 2
    bench.plant.points["volts"] = 50.0
    bench.turn()
    bench.plant.points["volts"] = 400.0
    assert "more than 3 writes in a day" in bench.turn(seconds=5).actions["plan_summary"]


def test_budgets_counters_and_what_is_under_way_outlive_the_loss_of_all_snapshots(tmp_path):
    """They do not follow from readings; what was forgotten stays forgotten."""
    bench = Bench(tmp_path, config(extra=second()))
    bench.ask()
    one, other = bench.actions
    bench.turn([bench.letter("anna", action=one), bench.letter("bert", "reject", action=other)])
    assert stages(bench) == ["refused", "verified"]
    for known in (2, 0):
        items = [Item(sealed.seq, sealed.envelope, sealed.seq) for sealed in bench.ledger.sealed]
        end = (bench.standing.world.version, bench.standing.head)
        found = restore("w", end, lambda _, items=items: items, [], KEY.public)
        assert [note.facts["lost"] for note in found.notes] == [True]
        assert found.standing.world.actions == bench.standing.world.actions
        assert found.standing.world.operators == bench.standing.world.operators != {}
        assert len(bench.actions) == known
        bench.plant.points["volts"] = 50.0
        bench.turn(seconds=86_500)


@pytest.mark.parametrize(("risk", "needed"), [(0.0, 1), (0.5, 1), (0.51, 2), (1.0, 2)])
def test_above_a_risk_and_not_at_it_two_must_approve(bench, risk, needed):
    assert approvers_needed(risk, bench.site.settings.policy) == needed
    stern = msgspec.structs.replace(bench.site.settings.policy, two_approvers_above=0.0)
    assert approvers_needed(risk, stern) == (1 if risk == 0 else 2)


LOCK = '[[policy.interlocks]]\nvariable = "meter.level"\nis = "below"\nvalue = 150.0\nreason = "the tank is full"\n'
OTHER = """
[[sources]]
name = "{name}"
{entity}
kind = "modbus"
url = "tcp://127.0.0.1:1502"
points = [ {{{{ name = "level", function = 3, address = 0, type = "uint16", drift = false }}}} ]
"""


@pytest.mark.parametrize(
    ("entity", "level", "quality", "refused"),
    [
        ('entity = "meter"', 900, "good", True),
        ('entity = "meter"', 100, "good", False),
        ('entity = "meter"', None, "bad:timeout", False),
        ("", 900, "good", False),
    ],
)
def test_an_interlock_holds_only_when_no_source_of_the_same_thing_says_no(tmp_path, entity, level, quality, refused):
    """Two sources disagree: whichever is believed, the plant is not written to while one says that it must not."""
    text = config(policy=LOCK, extra=OTHER.format(name="second", entity=entity))
    bench = Bench(tmp_path, text.replace('name = "meter"\n', f'name = "meter"\n{entity}\n', 1))
    bench.plant.points["volts"] = 400.0
    bench.plant.pass_time(1)
    now = bench.plant.now()
    readings = [Reading(Anchor("meter", "fc4", now), point, value) for point, value in bench.plant.points.items()]
    readings.append(Reading(Anchor("second", "fc3", now), "level", level, quality))
    turn = loop.sync(
        bench.standing, readings, bench.ground, bench.ledger, bench.plant, now, (), loop.Post(seed=b"s" * 32)
    )
    bench.standing, report = asyncio.run(turn)
    if refused:
        assert bench.actions == []
        assert "interlock: meter.level@second must be below 150.0: the tank is full" in report.actions["plan_summary"]
    else:
        assert stages(bench) == ["waiting"]


@pytest.mark.parametrize(("trust", "named"), [("", "meter"), ('trust = "human_note"', "second")])
def test_a_point_that_two_sources_could_write_is_written_where_it_is_read(tmp_path, trust, named):
    """The one that has the name: its value is held against limits, so that it must not be the other that is written."""
    both = OTHER.format(name="second", entity='entity = "meter"').replace(
        "drift = false", "drift = false, write = {{ range = [0, 1000], daily_budget = 1000 }}"
    )
    bench = Bench(
        tmp_path,
        config(extra=both).replace('name = "meter"\n', f'name = "meter"\nentity = "meter"\n{trust}\n', 1),
    )
    target = bench.ground.writable["meter.level"]
    (number,) = [n for n, v in bench.standing.world.variables.items() if v.name == "level"]
    assert (target.source, bench.standing.world.variables[number].source) == (named, named)


def test_without_a_seed_nothing_is_asked(tmp_path):
    """A request whose nonce can be foretold could be answered before it is made."""
    bench = Bench(tmp_path)
    bench.plant.points["volts"] = 400.0
    bench.plant.pass_time(1)
    now = bench.plant.now()
    readings = [Reading(Anchor("meter", "fc4", now), point, value) for point, value in bench.plant.points.items()]
    turn = loop.sync(bench.standing, readings, bench.ground, bench.ledger, bench.plant, now)
    bench.standing, report = asyncio.run(turn)
    assert "somebody must approve it" in report.actions["plan_summary"]
    assert bench.actions == []


def test_a_plan_that_no_request_can_carry_is_not_asked_for(bench):
    present, bounds = loop._present(bench.standing, bench.ground, bench.plant.now(), {})
    for size, asked in ((100, 1), (20_000, 0)):
        plan = plan_of(bench, why="x" * size, id=f"of-{size}")
        desk = ask(Desk({}, {}), [Ruling(plan, "wait", "")], bounds.policy, (1, b"h" * 32), b"s" * 32, present)
        assert len(desk.actions) == asked


@pytest.mark.parametrize(
    ("found", "wanted", "tolerance", "same"),
    [
        (0, 0, 0.0, True), (0, False, 0.0, True), (0.0, 1e-9, 0.0, False), (1.0, 1.0000005, 0.0, True),
        (100.2, 100, 0.2, True), (100.3, 100, 0.2, False), ("on", "on", 0.0, True), ("on", "off", 9.0, False),
        ("1", 1, 9.0, False), (None, None, 9.0, False), (None, 0, 9.0, False), (0, None, 9.0, False),
        (float("nan"), 0.0, 9.0, False),
    ],
)  # fmt: skip
def test_what_is_not_known_agrees_with_nothing(found, wanted, tolerance, same):
    assert agrees(found, wanted, tolerance) is same


MODE = (
    '{{ name = "mode", function = 3, address = 1, type = "uint16", kind = "state", drift = false, '
    'enum = {{ 0 = "off", 1 = "on", 2 = "boost" }}, write = {{ range = [0, 1], settle = "10ms", daily_budget = 1000 }} }},\n'
)
MODE_POLICY = '[[policy.points]]\npoint = "meter.mode"\nrange = [0, {most}]\nmin_interval = "1s"\n'


def mode(value="on", most=1, expect="off"):
    steps = f'steps = [{{{{ point = "meter.mode", value = {value!r}, expect = {expect!r} }}}}]'.replace("'", '"')
    one = 'steps = [{{ point = "meter.relay", value = true, expect = false }}]'
    text = config(extra=MODE_POLICY.replace("{most}", str(most)))
    return text.replace(one, steps).replace('    {{ name = "next"', f'    {MODE}    {{{{ name = "next"', 1)


def test_a_mode_is_written_by_its_name_and_held_against_the_range_by_its_number(tmp_path):
    bench = Bench(tmp_path, mode())
    bench.plant.points["mode"] = "off"
    bench.ask()
    bench.approve()
    assert (bench.action.stage, bench.plant.points["mode"]) == ("verified", "on")
    bench.turn()
    plan = bench.action.plan
    for value, verdict in (("on", "wait"), ("boost", "refuse"), ("onn", "refuse"), (1, "wait"), (2, "refuse")):
        step = msgspec.structs.replace(plan.steps[0], value=value)
        assert ruled(bench, msgspec.structs.replace(plan, steps=(step,)))[0] == verdict, value


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"value": "onn"}, 'got "onn", wanted one of off, on, boost (did you mean "on"?)'),
        ({"value": "boost"}, "wanted 0 to 1"),
        ({"value": "on", "most": 0}, "0 to 0, as policy says"),
    ],
)
def test_a_mode_that_could_never_be_written_is_found_before_anything_runs(tmp_path, fields, told):
    found = examine(written(tmp_path, mode(**fields)))
    assert told in "\n".join(map(str, found.problems))
