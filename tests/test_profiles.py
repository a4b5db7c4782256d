"""What every firmware profile must be: a new file in firmware_profiles/ is tested by being there."""

import tomllib
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.model.checked import Name, check
from edge_agent.model.profile import Expected, Identity, ModbusProfile, Profile, Provenance, WriteRule
from edge_agent.twin.conformance import flaws
from edge_agent.twin.planner import plan

FOLDER = Path(__file__).parent.parent / "firmware_profiles"
FILES = sorted(FOLDER.glob("*.toml"))


def load(path):
    problems = []
    profile = check(tomllib.loads(path.read_text()), Profile, f"{path.name}: ", problems)
    assert not problems, "\n".join(map(str, problems))
    return profile


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_the_folder_is_the_registry():
    assert len(FILES) >= 25
    assert [p for p in FOLDER.iterdir() if p.suffix != ".toml"] == []


def test_it_parses_and_is_named_after_its_file(path):
    profile = load(path)
    assert profile.name == path.stem
    assert profile.title


def test_it_is_sourced_sound_and_true_to_its_own_examples(path):
    assert flaws(load(path)) == []


def test_each_of_its_modbus_points_is_read_exactly_once(path):
    profile = load(path)
    if isinstance(profile, ModbusProfile):
        scales = {p.scale_point for p in profile.points}
        read = sorted(p.name for b in plan(profile.points, profile.limits, profile.name, []) for p in b.points)
        assert sorted({*read}) == sorted(p.name for p in profile.points)
        assert len([name for name in read if name not in scales]) == len({*read} - scales)


def test_its_examples_have_a_zero_where_zero_can_be(path):
    values = [value for example in load(path).examples for value in example.values.values()]
    numbers = [value for value in values if not isinstance(value, (bool, str))]
    assert 0 in (numbers or values)


def test_only_what_was_verified_and_knows_its_device_can_be_written():
    writable = {
        profile.name: {p.name for p in profile.points if p.write is not None}
        for profile in map(load, FILES)
        if isinstance(profile, ModbusProfile)
    }
    assert {name: points for name, points in writable.items() if points} == {
        "circulation-pump": {"speed_setpoint", "valve"}
    }


RULE = WriteRule((0, 1))


def pump(**changes):
    return replace(load(FOLDER / "circulation-pump.toml"), **changes)


def changed(profile, name, **changes):
    points = [replace(p, **changes) if p.name == name else p for p in profile.points]
    return replace(profile, points=tuple(points))


def wrong_value():
    profile = pump()
    first = replace(profile.examples[0], values=profile.examples[0].values | {"speed": 1481})
    return replace(profile, examples=(first, *profile.examples[1:]))


@pytest.mark.parametrize(
    ("profile", "place"),
    [
        (pump(provenance=Provenance("a forum", "2026-11-24", verified=True)), "provenance.source"),
        (pump(provenance=Provenance("a document and its page 7", "yesterday", verified=True)), "provenance.date"),
        (pump(provenance=Provenance("a document and its page 7", "2026-11-24", verified=False)), "points.valve.write"),
        (pump(identity=Identity()), "points.valve.write"),
        (pump(identity=Identity((Expected(Name("serail")),))), "identity"),
        (changed(pump(), "serial", drift=True), "points.serial.drift"),
        (changed(pump(), "speed", range=(0.0, 100.0), alarm_above=200.0), "points.speed"),
        (changed(pump(), "speed_setpoint", write=WriteRule((0, 4000))), "points.speed_setpoint.write.range"),
        (pump(limits=replace(pump().limits, forbidden=((0, 0),))), "points.valve.write"),
        (pump(limits=replace(pump().limits, max_registers=1)), "profile.points.vibration"),
        (pump(examples=pump().examples[1:-4]), "examples"),
        (wrong_value(), "examples.1.values.speed"),
    ],
)
def test_what_is_wrong_with_a_profile_is_said_with_its_place(profile, place):
    assert place in [problem.place for problem in flaws(profile)]
