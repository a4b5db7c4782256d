"""What every firmware profile must be: a new file in firmware_profiles/ is tested by being there."""

import tomllib
from pathlib import Path

import pytest

from edge_agent.model.checked import check
from edge_agent.model.profile import FrameExample, HttpProfile, ModbusProfile, MqttProfile, Profile, SerialProfile
from edge_agent.model.reading import GOOD
from edge_agent.twin.codec import BlockDecoder, width
from edge_agent.twin.frames import Frame
from edge_agent.twin.framing import framer, wrong_framing
from edge_agent.twin.paths import MISSING, compile_path, find, parse_message, path_value
from edge_agent.twin.planner import plan
from edge_agent.twin.soundness import IDENTIFICATION
from edge_agent.twin.spoken import understood, wrong_point

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
    assert len(FILES) >= 4
    assert [p for p in FOLDER.iterdir() if p.suffix != ".toml"] == []


def test_it_parses_and_is_named_after_its_file(path):
    profile = load(path)
    assert profile.name == path.stem
    assert profile.title


def test_it_says_where_its_facts_come_from(path):
    provenance = load(path).provenance
    assert len(provenance.source) > 20
    assert len(provenance.date) == len("2026-11-24")


def test_point_names_are_unique_and_text_is_not_watched_for_drift(path):
    points = load(path).points
    assert points
    assert len({point.name for point in points}) == len(points)
    text = [
        p for p in points if getattr(p, "type", "") == "string" or getattr(p, "enum", {}) or getattr(p, "flags", {})
    ]
    assert not [p.name for p in points if p.drift and (p.identity is not None or p in text)]


def test_what_its_identity_names_is_read(path):
    profile = load(path)
    firmware = profile.identity.firmware
    named = {each.point for each in profile.identity.expect} | ({firmware.point} if firmware is not None else set())
    assert named <= {point.name for point in profile.points}


def test_alarms_lie_within_the_range_of_the_point(path):
    for point in load(path).points:
        for alarm in (point.alarm_above, point.alarm_below):
            assert alarm is None or point.range is None or point.range[0] <= alarm <= point.range[1], point.name


def test_an_unverified_profile_makes_nothing_writable(path):
    profile = load(path)
    writable = [point for point in profile.points if getattr(point, "write", None) is not None]
    assert profile.provenance.verified or not writable
    for point in writable:
        low, high = point.write.range
        assert low <= high
        assert point.range is None or (point.range[0] <= low and high <= point.range[1]), point.name


def test_what_it_makes_writable_is_tied_to_an_identity_and_touches_nothing_forbidden(path):
    profile = load(path)
    writable = [point for point in profile.points if getattr(point, "write", None) is not None]
    assert not writable or profile.identity.expect or profile.identity.firmware is not None
    for point in writable:
        own = range(point.address, point.address + width(point))
        reverts = point.write.reverts
        touched = {*own, *([] if reverts is None or reverts.address is None else [reverts.address])}
        assert not [at for at in touched for low, high in profile.limits.forbidden if low <= at <= high], point.name


def test_its_points_can_be_read_within_its_limits(path):
    profile = load(path)
    if isinstance(profile, ModbusProfile):
        problems = []
        blocks = plan(profile.points, profile.limits, profile.name, problems)
        assert not problems, "\n".join(map(str, problems))
        assert sorted(p.name for b in blocks for p in b.points) == sorted(p.name for p in profile.points)


def test_its_framing_can_work_and_its_points_fit_it(path):
    profile = load(path)
    if isinstance(profile, SerialProfile):
        problems = list(wrong_framing(profile.framing, "framing"))
        problems += [p for point in profile.points for p in wrong_point(profile.framing, point, point.name)]
        assert not problems, "\n".join(map(str, problems))


def test_its_examples_give_exactly_their_values_and_cover_every_point(path):
    profile = load(path)
    assert profile.examples
    shown = set()
    for example in profile.examples:
        found = {
            ModbusProfile: register_values,
            SerialProfile: frame_values,
            MqttProfile: message_values,
            HttpProfile: message_values,
        }[type(profile)](profile, example)
        assert found == example.values
        assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in example.values.items()}
        shown |= example.values.keys()
    objects = {point.name for point in profile.points if getattr(point, "function", 0) == IDENTIFICATION}
    assert shown | objects == {point.name for point in profile.points}


def test_its_examples_have_a_zero_where_zero_can_be(path):
    values = [value for example in load(path).examples for value in example.values.values()]
    numbers = [value for value in values if not isinstance(value, (bool, str))]
    assert 0 in (numbers or values)


def register_values(profile, example):
    """Return what the example says of each point that lies in its registers; nothing of one that has no value."""
    end = example.address + len(example.registers)
    points = [
        point
        for point in profile.points
        if (point.function, point.model) == (example.function, example.model)
        and example.address <= point.address
        and point.address + width(point) <= end
    ]
    decoder = BlockDecoder(points, example.function, example.address, len(example.registers))
    decoded = decoder.decode(example.registers)
    assert all((value is None) == (quality != GOOD) for value, quality in decoded)
    return {point.name: value for point, (value, _) in zip(points, decoded, strict=True) if value is not None}


def frame_values(profile, example):
    """Return what the example says, found by the profile's own framing in what the port would have said."""
    each = framer(profile.framing)
    each.quiet()
    each.feed(b"\n")  # with no checksum, the first line is never believed
    if isinstance(example, FrameExample):
        said = example.bytes
    else:
        text = example.text.replace("\r\n", "\n").replace("\n", "\r\n")
        said = text.encode() + b"\r\n" * (not text.endswith("\n"))
    (frame,) = each.feed(said)
    assert isinstance(frame, Frame), frame
    found = understood(profile.framing, profile.points, frame.data)
    return {name: value for name, (value, _) in found.items() if value is not None}


def message_values(profile, example):
    message = parse_message(example.text.encode())
    found = [
        (point, find(compile_path(point.path), message)) for point in profile.points if point.topic == example.topic
    ]
    return {point.name: path_value(point, value)[0] for point, value in found if value is not MISSING}
