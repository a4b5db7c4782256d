"""What a frame says of the points of a serial device, whatever its framing."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from edge_agent.model.checked import shown
from edge_agent.model.errors import Problem
from edge_agent.model.framing import DsmrFraming, FixedFraming, Framing, LineFraming, NmeaFraming
from edge_agent.model.profile import FieldPoint, FramePoint, ObisPoint, RegisterPoint, SentencePoint, SerialPoint
from edge_agent.model.reading import GOOD, Value, bad, uncertain
from edge_agent.twin.codec import BlockDecoder, Decoded, width
from edge_agent.twin.dsmr import OBIS, find_item, is_undated, obis_value, own_time_ms, parse_telegram
from edge_agent.twin.frames import EXCERPT
from edge_agent.twin.lines import field_value, parse_line
from edge_agent.twin.nmea import parse_sentence, sentence_value
from edge_agent.twin.soundness import point_problems


class Said(NamedTuple):
    """What a frame says of one point."""

    point: SerialPoint
    value: Value
    quality: str
    own_ms: int | None = None
    """When the device says that it read this, in milliseconds since 1970."""


Hearer = Callable[[bytes], list[Said]]
"""From a frame to what it says; nothing when it is of a kind that no point is in. Raises WireError."""


_POINTS_OF: Mapping[type, tuple[type, str]] = {
    LineFraming: (FieldPoint, "field"),
    NmeaFraming: (SentencePoint, "sentence"),
    DsmrFraming: (ObisPoint, "obis"),
}
"""The kind of point that each framing has, and the key by which it is known; of all others it is `FramePoint`."""


def hearer(framing: Framing, points: Sequence[SerialPoint]) -> Hearer:
    """Return what understands the frames of a framing."""
    if isinstance(framing, LineFraming):
        return _line_hearer([p for p in points if isinstance(p, FieldPoint)])
    if isinstance(framing, NmeaFraming):
        return _sentence_hearer([p for p in points if isinstance(p, SentencePoint)])
    if isinstance(framing, DsmrFraming):
        return _telegram_hearer([p for p in points if isinstance(p, ObisPoint)])
    none = framing.no_value
    reads = [(point, _frame_reader(point)) for point in points if isinstance(point, FramePoint)]

    def hear(frame: bytes) -> list[Said]:
        empty = none is not None and frame[none.at : none.at + len(none.bytes)] == none.bytes
        return [
            Said(point, *((None, bad("sentinel")) if empty else read(frame)))
            for point, read in reads
            if frame.startswith(point.begins)
        ]

    return hear


def excerpt(framing: Framing, frame: bytes) -> str:
    """Return how a frame reads to a person."""
    if isinstance(framing, DsmrFraming):
        return frame.split(b"\r", 1)[0].decode("ascii")[:EXCERPT]
    text = isinstance(framing, (LineFraming, NmeaFraming))
    return frame[:EXCERPT].decode("ascii") if text else frame[: EXCERPT // 3].hex(" ")


def wrong_point(framing: Framing, point: SerialPoint, place: str) -> list[Problem]:
    """Say what cannot work in a point of a framing."""
    kind, key = _POINTS_OF.get(type(framing), (FramePoint, "at"))
    if not isinstance(point, kind):
        frames = framing.__struct_config__.tag
        return [Problem(place, f"a point without `{key}`", f"`{key}`, in frames of the kind {frames}")]
    if isinstance(point, ObisPoint) and not OBIS.fullmatch(point.obis):
        return [Problem(f"{place}.obis", shown(point.obis), "an OBIS code such as 1.8.1 or 0-1:24.2.1")]
    if isinstance(point, FramePoint):
        return _wrong_in_frame(framing, point, place)
    return []


def _wrong_in_frame(framing: Framing, point: FramePoint, place: str) -> list[Problem]:
    belongs_to = place.removesuffix(f".points.{point.name}")
    problems = point_problems((as_register(point),), belongs_to)[point.name]
    if isinstance(framing, FixedFraming) and _end(point) > framing.length:
        problems.append(
            Problem(f"{place}.at", shown(point.at), f"a place within the {framing.length} bytes of a frame")
        )
    if point.type in ("int8", "uint8") and point.bits is not None and point.bits[1] >= 8:  # noqa: PLR2004 - of a byte
        problems.append(Problem(f"{place}.bits", shown(list(point.bits)), "bits 0 to 7 of a byte"))
    return problems


def _line_hearer(points: Sequence[FieldPoint]) -> Hearer:
    named: dict[str, list[FieldPoint]] = {}
    for point in points:
        named.setdefault(point.field, []).append(point)

    def hear(frame: bytes) -> list[Said]:
        line = parse_line(frame.decode("ascii"))
        return [Said(point, *field_value(point, line)) for point in named.get(line.name, ())]

    return hear


def _sentence_hearer(points: Sequence[SentencePoint]) -> Hearer:
    def hear(frame: bytes) -> list[Said]:
        sentence = parse_sentence(frame.decode("ascii"))
        if sentence is None:
            return []
        return [Said(p, *sentence_value(p, sentence.said)) for p in points if p.sentence == sentence.kind]

    return hear


def _telegram_hearer(points: Sequence[ObisPoint]) -> Hearer:
    def hear(frame: bytes) -> list[Said]:
        telegram = parse_telegram(frame.decode("ascii"))
        said = []
        for point in points:
            item = find_item(point, telegram)
            if item is None:
                said.append(Said(point, None, bad("missing")))
            else:
                own = None if point.type == "time" else own_time_ms(item)
                value, quality = obis_value(point, item)
                if quality == GOOD and is_undated(item):
                    quality = uncertain("stale")
                said.append(Said(point, value, quality, own))
        return said

    return hear


def _frame_reader(point: FramePoint) -> Callable[[bytes], Decoded]:
    """Read a point of a frame through the codec of registers: a byte is the low half of one."""
    register = as_register(point)
    size = _end(point) - point.at
    decoder = BlockDecoder((register,), register.function, 0, width(register))

    def read(frame: bytes) -> Decoded:
        raw = frame[point.at : point.at + size]
        if len(raw) < size:
            return None, bad("missing")
        if size == 1:
            raw = raw + b"\0" if point.order in ("DCBA", "BADC") else b"\0" + raw
        elif size % 2:
            raw += b"\0"  # of a text
        return decoder.decode_bytes(raw)[0]

    return read


def as_register(point: FramePoint) -> RegisterPoint:
    """Return a point in registers that holds the same bytes."""
    shared = {
        field: getattr(point, field)
        for field in FramePoint.__struct_fields__
        if field in RegisterPoint.__struct_fields__
    }
    if point.type == "uint8":
        shared["type"] = "uint16"
    elif point.type == "int8":
        shared |= {"type": "int16", "bits": point.bits or (0, 7)}
    shared["length"] = (point.length + 1) // 2
    return RegisterPoint(function=3, address=0, **shared)


def _end(point: FramePoint) -> int:
    """Return the place behind the last byte of a point."""
    if point.type == "string":
        return point.at + point.length
    return point.at + (1 if point.type in ("int8", "uint8") else 2 * width(as_register(point)))


def understood(framing: Framing, points: Sequence[SerialPoint], frame: bytes) -> dict[str, Decoded]:
    """Return (value, quality) of each point that a frame tells of, by name. Raises WireError."""
    return {said.point.name: (said.value, said.quality) for said in hearer(framing, points)(frame)}
