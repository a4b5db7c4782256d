"""What a device that speaks by itself says of its values, made from its profile.

Lines are written anew. Frames of bytes and telegrams are those of the profile's examples, with the present values put
in their places and the checksum made right. NMEA sentences are played as they are: a receiver that does not move.
"""

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from edge_agent.model.framing import Checksum, DsmrFraming, LineFraming
from edge_agent.model.profile import (
    FieldPoint,
    FrameExample,
    FramePoint,
    HttpProfile,
    MqttProfile,
    ObisPoint,
    PathPoint,
    Profile,
    SerialProfile,
    TextExample,
)
from edge_agent.model.reading import Value
from edge_agent.twin.checksum import checksum, width
from edge_agent.twin.codec import encode
from edge_agent.twin.paths import compile_path
from edge_agent.twin.spoken import as_register

Said = Mapping[str, Value]


def at_first(profile: Profile) -> dict[str, Value]:
    """Return what the examples of a profile say, the first that tells of a point counting most."""
    found: dict[str, Value] = {}
    for example in reversed(profile.examples):
        found |= example.values
    return found


def frames(profile: SerialProfile, values: Said) -> list[bytes]:
    """Return what the device puts on the line for its values."""
    framing = profile.framing
    if isinstance(framing, LineFraming):
        return [_line(framing, text) for text in _lines(profile, values)]
    made = []
    for example in _templates(profile.examples):
        if isinstance(example, FrameExample):
            made.append(_frame(profile, example, values))
        elif isinstance(framing, DsmrFraming):
            made.append(_telegram(profile, framing, example, values))
        else:
            made.append(example.text.encode() + b"\r\n")
    return made


def messages(profile: MqttProfile | HttpProfile, values: Said) -> dict[str | None, dict[str, Any]]:
    """Return the JSON that tells of the values, by the topic of its points; None stands for the main one."""
    found: dict[str | None, dict[str, Any]] = {}
    for point in profile.points:
        if point.name in values:
            _put(found.setdefault(point.topic, {}), point, values[point.name])
    return found


def _templates(examples: Iterable[TextExample | FrameExample]) -> list[TextExample | FrameExample]:
    """Return the first example of each kind of frame: what tells of the same points, or is of one sentence, is one."""
    kinds: dict[object, TextExample | FrameExample] = {}
    for example in examples:
        text = example.text if isinstance(example, TextExample) else ""
        kinds.setdefault(text[:6] if text.startswith("$") else frozenset(example.values), example)
    return list(kinds.values())


def _lines(profile: SerialProfile, values: Said) -> Iterable[str]:
    fields: dict[str, dict[int, str]] = {}
    for point in profile.points:
        if isinstance(point, FieldPoint) and point.name in values:
            fields.setdefault(point.field, {})[point.index] = _written(values[point.name])
    # Who it is comes first.
    for field in sorted(fields, key=lambda name: not name.startswith("#")):
        texts = fields[field]
        yield ",".join([field, *(texts.get(i, "") for i in range(max(texts) + 1))])


def _written(value: Value) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _line(framing: LineFraming, text: str) -> bytes:
    body = text.encode("ascii")
    if framing.checksum == "none":
        return body + b"\n"
    digits = 2 * width(framing.checksum)
    return body + framing.mark.encode() + b"%0*X" % (digits, checksum(framing.checksum, body)) + b"\n"


def _frame(profile: SerialProfile, example: FrameExample, values: Said) -> bytes:
    frame = bytearray(example.bytes)
    for point in profile.points:
        value = values.get(point.name)
        if not isinstance(point, FramePoint) or point.name not in example.values or value is None or point.bits:
            continue
        register = as_register(point)
        raw = b"".join(word.to_bytes(2, "big") for word in encode(register, _in_steps(point, value)))
        size = 1 if point.type in ("int8", "uint8") else len(raw)
        frame[point.at : point.at + size] = raw[-size:]
    rule = getattr(profile.framing, "checksum", None)
    return _sealed(frame, rule) if isinstance(rule, Checksum) else bytes(frame)


def _sealed(frame: bytearray, rule: Checksum) -> bytes:
    first, last, at = (each % len(frame) for each in (*rule.over, rule.at))
    size, value = width(rule.kind), checksum(rule.kind, bytes(frame[first : last + 1]))
    if rule.form == "hex":
        frame[at : at + 2 * size] = b"%0*X" % (2 * size, value)
    else:
        frame[at : at + size] = value.to_bytes(size, "big" if rule.order == "high_first" else "little")
    return bytes(frame)


def _in_steps(point: FramePoint, value: Value) -> Value:
    """Return what the device's number can hold: whole steps of its scale."""
    if isinstance(value, (bool, str)) or value is None or point.type in ("float32", "float64"):
        return value
    scale, offset = Fraction(str(point.scale)), Fraction(str(point.offset))
    lowest, highest = point.range or (value, value)
    held = Fraction(min(max(value, lowest), highest))
    return float(round((held - offset) / scale) * scale + offset)


def _telegram(profile: SerialProfile, framing: DsmrFraming, example: TextExample, values: Said) -> bytes:
    text = example.text
    for point in profile.points:
        value = values.get(point.name)
        if isinstance(point, ObisPoint) and point.type == "number" and isinstance(value, (int, float)):
            text = _put_number(text, point, value)
    body = text.replace("\r\n", "\n").replace("\n", "\r\n").rpartition("!")[0].encode() + b"!"
    ends = b"%04X" % checksum(framing.checksum, body) if framing.checksum != "none" else b""
    return body + ends + b"\r\n"


def _put_number(text: str, point: ObisPoint, value: float) -> str:
    """Write a number where the telegram has one, with as many digits as there."""
    form = re.compile(
        rf"({re.escape(point.obis)}(?:\([^()]*\))*?\()([0-9]+)\.?([0-9]*)(?=[*)][^()]*\)?$)", re.MULTILINE
    )

    def put(match: "re.Match[str]") -> str:
        whole, decimals = len(match[2]), len(match[3])
        size = whole + decimals + (1 if decimals else 0)
        return f"{match[1]}{max(value, 0) / point.scale:0{size}.{decimals}f}"

    return form.sub(put, text, count=1)


def _put(message: dict[str, Any], point: PathPoint, value: Value) -> None:
    """Put a value at its path. Lists in the path are left out: a place in a list has no value of its own."""
    steps = compile_path(point.path)
    if not steps or any(isinstance(step, int) for step in steps):
        return
    inner: Any = message
    for step in steps[:-1]:
        inner = inner.setdefault(step, {})
    inner[steps[-1]] = _json(point, value)


def _json(point: PathPoint, value: Value) -> Value:
    for text, meaning in point.values.items():
        if meaning == value and type(meaning) is type(value):
            return text
    if isinstance(value, (bool, str)) or value is None:
        return value
    return float(round((Fraction(value) - Fraction(str(point.offset))) / Fraction(str(point.scale)), 6))
