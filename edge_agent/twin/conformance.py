"""What every firmware profile must be: sourced, readable within its limits, and true to its own examples.

`edge-agent profiles check` and the tests of the folder ask the same.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from edge_agent.model.checked import close_match, shown
from edge_agent.model.errors import Problem, WireError
from edge_agent.model.profile import (
    FrameExample,
    HttpProfile,
    ModbusProfile,
    MqttProfile,
    Profile,
    RegisterExample,
    SerialProfile,
    TextExample,
)
from edge_agent.model.reading import GOOD, Value
from edge_agent.twin.codec import BlockDecoder, width
from edge_agent.twin.frames import Frame
from edge_agent.twin.framing import framer, wrong_framing
from edge_agent.twin.paths import MISSING, compile_path, find, parse_message, path_value
from edge_agent.twin.planner import plan
from edge_agent.twin.soundness import IDENTIFICATION
from edge_agent.twin.spoken import understood, wrong_point

_LEAST_SOURCE = 20
"""Characters of a source that says where to look: a document and its page, a file of a driver."""


def flaws(profile: Profile) -> list[Problem]:
    """Return all that is wrong with a profile that parsed."""
    return [*_provenance(profile), *_points(profile), *_writes(profile), *_means(profile), *_examples(profile)]


def _provenance(profile: Profile) -> Iterator[Problem]:
    if len(profile.provenance.source) < _LEAST_SOURCE:
        yield Problem(
            "provenance.source", shown(profile.provenance.source), "a document and page, or a file, to look at"
        )
    year, _, rest = profile.provenance.date.partition("-")
    if not (len(year) == 4 and year.isdigit() and len(rest) == 5):  # noqa: PLR2004 - 2026-11-24
        yield Problem("provenance.date", shown(profile.provenance.date), "the day it was read, such as 2026-11-24")


def _points(profile: Profile) -> Iterator[Problem]:
    known = [str(point.name) for point in profile.points]
    if not known:
        yield Problem("points", "none", "at least one")
    for name, count in Counter(known).items():
        if count > 1:
            yield Problem(f"points.{name}", f"{count} points of this name", "one name for each point")
    for point in profile.points:
        named = getattr(point, "enum", {}) or getattr(point, "flags", {}) or getattr(point, "type", "") == "string"
        text = point.identity is not None or bool(named)
        if point.drift and text:
            yield Problem(f"points.{point.name}.drift", "true", "false: text and identity have no statistics")
        for alarm in (point.alarm_above, point.alarm_below):
            if alarm is not None and point.range is not None and not point.range[0] <= alarm <= point.range[1]:
                yield Problem(f"points.{point.name}", f"an alarm at {alarm:g}", "one within the range of the point")
    firmware = profile.identity.firmware
    for name in [e.point for e in profile.identity.expect] + ([] if firmware is None else [firmware.point]):
        if name not in known:
            yield Problem("identity", shown(name), "a point of the profile", close_match(name, known))


def _writes(profile: Profile) -> Iterator[Problem]:
    if not isinstance(profile, ModbusProfile):
        return
    identified = profile.identity.expect or profile.identity.firmware is not None
    for point in profile.points:
        rule, place = point.write, f"points.{point.name}.write"
        if rule is None:
            continue
        if not profile.provenance.verified:
            yield Problem(place, "a writable point of unverified facts", "verified facts behind what is written")
        if not identified:
            yield Problem(
                place, "a writable point of a device that shows no identity", "[identity] that is checked first"
            )
        if point.range is not None and not (point.range[0] <= rule.range[0] and rule.range[1] <= point.range[1]):
            yield Problem(f"{place}.range", str(list(rule.range)), "a part of the range of the point")
        reverts = rule.reverts
        touched = {*range(point.address, point.address + width(point))}
        touched |= set() if reverts is None or reverts.address is None else {reverts.address}
        for low, high in profile.limits.forbidden:
            if any(low <= at <= high for at in touched):
                yield Problem(place, f"an address of the forbidden range {low} to {high}", "one outside it")


def _means(profile: Profile) -> Iterator[Problem]:
    """Find what cannot be read: points beyond the limits, framings that do not work, paths that are none."""
    problems: list[Problem] = []
    if isinstance(profile, ModbusProfile):
        plan(profile.points, profile.limits, "profile", problems)
    elif isinstance(profile, SerialProfile):
        problems += wrong_framing(profile.framing, "framing")
        for point in profile.points:
            problems += wrong_point(profile.framing, point, f"points.{point.name}")
    else:
        for path_point in profile.points:
            try:
                compile_path(path_point.path)
            except ValueError as error:
                wanted = str(error).removeprefix("wanted ")
                problems.append(Problem(f"points.{path_point.name}.path", shown(path_point.path), wanted))
    yield from problems


def _examples(profile: Profile) -> Iterator[Problem]:
    """Compare each example with what it is decoded to; a point that has no value in it is not named there."""
    told: set[str] = set()
    for number, example in enumerate(profile.examples, 1):
        place = f"examples.{number}"
        told |= example.values.keys()
        try:
            found = _MEANING[type(profile)](profile, example)
        except (WireError, ValueError) as error:
            yield Problem(place, str(error), "what the device said, whole")
            continue
        for name in sorted(found.keys() | example.values.keys()):
            got, wanted = found.get(name), example.values.get(name)
            if got != wanted or type(got) is not type(wanted):
                yield Problem(f"{place}.values.{name}", f"{shown(wanted)} where it decodes to {shown(got)}", "the same")
    for point in profile.points:
        # What a device says of itself under 2B/0E stands in no registers that an example could show.
        if point.name not in told and getattr(point, "function", 0) != IDENTIFICATION:
            yield Problem("examples", f"none that shows {point.name}", "an example for each point")


def _register_values(profile: ModbusProfile, example: RegisterExample) -> dict[str, Value]:
    end = example.address + len(example.registers)
    points = [
        point
        for point in profile.points
        if (point.function, point.model) == (example.function, example.model)
        and example.address <= point.address
        and point.address + width(point) <= end
    ]
    decoder = BlockDecoder(points, example.function, example.address, len(example.registers))
    return _good(zip((p.name for p in points), decoder.decode(example.registers), strict=True))


def _frame_values(profile: SerialProfile, example: TextExample | FrameExample) -> dict[str, Value]:
    """Return what the profile's own framing finds in what the port would have said."""
    each = framer(profile.framing)
    each.quiet()
    each.feed(b"\n")  # without a checksum, the first line is never believed
    if isinstance(example, FrameExample):
        said = bytes(example.bytes)
    else:
        text = example.text.replace("\r\n", "\n").replace("\n", "\r\n")
        said = text.encode() + b"\r\n" * (not text.endswith("\n"))
    frames = each.feed(said)
    if len(frames) != 1 or not isinstance(frames[0], Frame):
        raise WireError(f"{frames or 'no frame'}")
    return _good(understood(profile.framing, profile.points, frames[0].data).items())


def _message_values(profile: MqttProfile | HttpProfile, example: TextExample) -> dict[str, Value]:
    message = parse_message(example.text.encode())
    here = [p for p in profile.points if p.topic == example.topic]
    found = [(point.name, find(compile_path(point.path), message), point) for point in here]
    return _good((name, path_value(point, value)) for name, value, point in found if value is not MISSING)


def _good(decoded: Iterable[tuple[str, tuple[Value, str]]]) -> dict[str, Value]:
    return {name: value for name, (value, quality) in decoded if quality == GOOD}


_MEANING: Mapping[type, Callable[..., dict[str, Value]]] = {
    ModbusProfile: _register_values,
    SerialProfile: _frame_values,
    MqttProfile: _message_values,
    HttpProfile: _message_values,
}
