"""Registers to values and back: one codec for what is read, what is written and what examples say.

`BlockDecoder` is compiled once for a block and decodes each answer to it with one `struct.unpack` for every byte
order in use; `decode` and `encode` are for single points. A value that cannot be used is no error: it is None
with a quality that says why.

The four byte orders need only two views of the bytes, as they came and with the bytes of each register swapped,
each read as big- or little-endian: swapping the bytes within the words of CDAB gives DCBA, which is little-endian.
A register of text is two characters; bits (functions 1 and 2) are given as one number 0 or 1 each.
"""

import struct
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, Final

from edge_agent.model.errors import WireError
from edge_agent.model.profile import RegisterPoint, WordOrder
from edge_agent.model.reading import GOOD, Value, bad

Decoded = tuple[Value, str]
"""A value and its quality; the value is None unless the quality is good."""

BIT_FUNCTIONS: Final = (1, 2)
"""Read coils, read discrete inputs: their points are bits."""

_CODES = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float32": "f", "float64": "d", "bool": "H",
}  # fmt: skip
_UNSIGNED = {2: "H", 4: "I", 8: "Q"}
_FLOATS = ("float32", "float64")
_VIEWS = {"ABCD": (False, ">"), "DCBA": (False, "<"), "BADC": (True, ">"), "CDAB": (True, "<")}
"""Byte order to (whether the bytes of each register are swapped, and how the result is read)."""
_HUGE = sys.float_info.max
"""Comparing with it tells finite numbers from NaN and the infinities, so that range and sanity are one comparison."""


def width(point: RegisterPoint) -> int:
    """Return how many registers (or bits, for functions 1 and 2) the point takes."""
    if point.type == "string":
        return point.length
    return 1 if point.function in BIT_FUNCTIONS else struct.calcsize(">" + _CODES[point.type]) // 2


def in_range(value: float, allowed: tuple[float, float] | None) -> Decoded:
    """Return a number with its quality: good, not finite, or outside `allowed` (lowest and highest)."""
    if not -_HUGE <= value <= _HUGE:
        return None, bad("nan")
    if allowed is not None and not allowed[0] <= value <= allowed[1]:
        return None, bad("range")
    return value, GOOD


def decode(point: RegisterPoint, registers: Sequence[int]) -> Decoded:
    """Return what the registers of one point mean. Raises WireError (mismatch) when they are too many or too few."""
    return BlockDecoder((point,), point.function, point.address, width(point)).decode(registers)[0]


def encode(point: RegisterPoint, value: Value) -> list[int]:
    """Return the registers (or the one bit) that read back as `value`.

    A float is rounded to what the type holds; anything else must read back exactly. Raises ValueError when the
    value is of the wrong type, does not fit, lies between two steps of the scale or outside the point's range,
    or is what the device says for "no value".
    """
    raw = _raw_bytes(point, value)
    registers = [raw[-1]] if point.function in BIT_FUNCTIONS else _words(_viewed(raw, point))
    found, quality = decode(point, registers)
    if quality != GOOD or (found != value and point.type not in _FLOATS):
        raise ValueError(f"{point.name}: got {value!r}, which would read back as {found!r} ({quality})")
    return registers


_Finish = Callable[[Any], Decoded]
_Row = tuple[int, bool, float, float, _Finish]
"""Where the raw value stands, whether it is the value if it lies between the next two, and what to do otherwise."""


class BlockDecoder:
    """Decodes the answers to one block: `count` registers or bits of `function` from address `start`.

    The decoded values come in the order of `points`, all of which must lie in the block.
    """

    def __init__(self, points: Sequence[RegisterPoint], function: int, start: int, count: int) -> None:
        self._count = count
        self._bits = function in BIT_FUNCTIONS
        self._lanes: list[tuple[bool, struct.Struct]] = []
        if self._bits:
            self._rows = [_row(point, point.address - start) for point in points]
        else:
            self._rows = self._compile(points, start)

    def decode(self, registers: Sequence[int]) -> list[Decoded]:
        """Return (value, quality) of each point. Raises WireError (mismatch) unless there are `count` registers."""
        if len(registers) != self._count:
            raise WireError(f"block: got {len(registers)} registers or bits, wanted {self._count}", "mismatch")
        if self._bits:
            return _judged(self._rows, registers)
        return self.decode_bytes(struct.pack(f">{self._count}H", *registers))

    def decode_bytes(self, answer: bytes) -> list[Decoded]:
        """Do the same for the bytes of an answer as they came: registers big-endian, bits lowest first."""
        wanted = (self._count + 7) // 8 if self._bits else 2 * self._count
        if len(answer) != wanted:
            raise WireError(f"block: got {len(answer)} bytes, wanted {wanted}", "mismatch")
        if self._bits:
            return _judged(self._rows, [answer[i >> 3] >> (i & 7) & 1 for i in range(self._count)])
        if len(self._lanes) == 1 and not self._lanes[0][0]:
            return _judged(self._rows, self._lanes[0][1].unpack(answer))
        views = (answer, _swapped(answer))
        return _judged(self._rows, [raw for swap, lane in self._lanes for raw in lane.unpack(views[swap])])

    def _compile(self, points: Sequence[RegisterPoint], start: int) -> list[_Row]:
        """Share the points out to lanes: one for each byte order, and more where points overlap."""
        lanes: list[_Lane] = []
        for index in sorted(range(len(points)), key=lambda i: points[i].address):
            point, at = points[index], 2 * (points[index].address - start)
            lane = next((lane for lane in lanes if lane.order == point.order and lane.end <= at), None)
            if lane is None:
                lane = _Lane(point.order)
                lanes.append(lane)
            lane.take(index, point, at)
        self._lanes = [(_VIEWS[lane.order][0], lane.compiled(2 * self._count)) for lane in lanes]
        place = {index: at for at, index in enumerate(index for lane in lanes for index in lane.members)}
        return [_row(point, place[index]) for index, point in enumerate(points)]


class _Lane:
    """Points of one byte order that do not overlap: one `struct.unpack`."""

    def __init__(self, order: WordOrder) -> None:
        self.order = order
        self.end = 0
        """Bytes of the block that are spoken for."""
        self.members: list[int] = []
        self._format = _VIEWS[order][1]

    def take(self, index: int, point: RegisterPoint, at: int) -> None:
        size = 2 * width(point)
        self._format += f"{at - self.end}x{_code(point, size)}"
        self.end = at + size
        self.members.append(index)

    def compiled(self, size: int) -> struct.Struct:
        return struct.Struct(f"{self._format}{size - self.end}x")


def _judged(rows: list[_Row], raws: Sequence[Any]) -> list[Decoded]:
    # The hot path: for a plain number, one comparison that NaN and infinity fail too.
    return [
        (raw, GOOD) if plain and lowest <= (raw := raws[at]) <= highest else finish(raws[at])
        for at, plain, lowest, highest, finish in rows
    ]


def _row(point: RegisterPoint, at: int) -> _Row:
    lowest, highest = point.range or (-_HUGE, _HUGE)
    finish = _finish(point)
    if point.sentinels:
        return at, False, 0, 0, _finish_sentinels(point, finish)
    plain = point.type not in ("bool", "string") and not _is_scaled(point)
    return at, plain, max(lowest, -_HUGE), min(highest, _HUGE), finish


def _code(point: RegisterPoint, size: int) -> str:
    if point.type == "string":
        return f"{size}s"
    # The sentinel of a float is a pattern of bits, often a NaN: it must be compared before it is a number.
    return _UNSIGNED[size] if point.sentinels else _CODES[point.type]


def _finish(point: RegisterPoint) -> _Finish:
    """Return what turns the raw value of the point into (value, quality)."""
    if point.type == "string":
        return _finish_text(point)
    if point.type == "bool":
        return _finish_bool
    return _finish_scaled(point) if _is_scaled(point) else partial(in_range, allowed=point.range)


def _is_scaled(point: RegisterPoint) -> bool:
    return point.scale != 1 or point.offset != 0


def _finish_bool(raw: int) -> Decoded:
    return raw != 0, GOOD


def _finish_text(point: RegisterPoint) -> _Finish:
    backwards = _VIEWS[point.order][1] == "<"  # struct turns numbers round, not text

    def finish(raw: bytes) -> Decoded:
        text = (raw[::-1] if backwards else raw).strip(b"\0 ").decode("ascii", "replace")
        # Control characters are refused too: identity ends in log lines.
        return (text, GOOD) if text.isascii() and text.isprintable() else (None, bad("garbage"))

    return finish


def _finish_scaled(point: RegisterPoint) -> _Finish:
    """Scale exactly: the quotient of two whole numbers is the float nearest to the decimal that was meant."""
    scale, offset = _decimal(point.scale), _decimal(point.offset)
    below = scale.denominator * offset.denominator
    factor, addend = scale.numerator * offset.denominator, offset.numerator * scale.denominator
    allowed = point.range

    def finish(raw: float) -> Decoded:
        try:
            top, bottom = raw.as_integer_ratio()
            return in_range((top * factor + addend * bottom) / (bottom * below), allowed)
        except (ValueError, OverflowError):  # NaN, infinity, or too large once scaled
            return None, bad("nan")

    return finish


def _finish_sentinels(point: RegisterPoint, finish_value: _Finish) -> _Finish:
    unsigned, typed = struct.Struct(">" + _UNSIGNED[2 * width(point)]), struct.Struct(">" + _CODES[point.type])
    sentinels = frozenset(point.sentinels)

    def finish(raw: int) -> Decoded:
        if raw in sentinels:
            return None, bad("sentinel")
        return finish_value(typed.unpack(unsigned.pack(raw))[0])

    return finish


def _decimal(written: float) -> Fraction:
    """Return the decimal that a person wrote, which `repr` gives back, and not the binary float it became."""
    return Fraction(repr(written))


def _raw_bytes(point: RegisterPoint, value: Value) -> bytes:
    """Return the bytes of the value in the order ABCD. Raises ValueError."""
    if point.type == "bool":
        if not isinstance(value, bool):
            raise ValueError(f"{point.name}: got {value!r}, wanted true or false")
        return bytes((0, value))
    if point.type == "string":
        if not isinstance(value, str) or not value.isascii() or len(value) > 2 * point.length:
            raise ValueError(f"{point.name}: got {value!r}, wanted ASCII text of at most {2 * point.length} characters")
        return value.encode().ljust(2 * point.length, b"\0")
    if isinstance(value, (bool, str)) or value is None or not -_HUGE <= value <= _HUGE:
        raise ValueError(f"{point.name}: got {value!r}, wanted a finite number")
    raw = (_decimal(value) - _decimal(point.offset)) / _decimal(point.scale)
    code = _CODES[point.type]
    try:
        return struct.pack(">" + code, float(raw) if point.type in _FLOATS else round(raw))
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{point.name}: got {value!r}, which does not fit {point.type}") from error


def _viewed(raw: bytes, point: RegisterPoint) -> bytes:
    """Bring bytes of the order ABCD into the point's order, which is its own inverse."""
    swap, form = _VIEWS[point.order]
    turned = raw[::-1] if form == "<" else raw
    return _swapped(turned) if swap else turned


def _swapped(answer: bytes) -> bytes:
    swapped = bytearray(answer)
    swapped[0::2], swapped[1::2] = answer[1::2], answer[0::2]
    return bytes(swapped)


def _words(raw: bytes) -> list[int]:
    return list(struct.unpack(f">{len(raw) // 2}H", raw))
