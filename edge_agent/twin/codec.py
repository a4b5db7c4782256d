"""Registers to values and back: one codec for what is read, what is written and what examples say.

`BlockDecoder` is compiled once for a block and decodes each answer to it with one `struct.unpack` for every byte
order in use; `decode` and `encode` are for single points. A value that cannot be used is no error: it is None
with a quality that says why. What a raw number means stands in meaning.py.

The four byte orders need only two views of the bytes, as they came and with the bytes of each register swapped,
each read as big- or little-endian: swapping the bytes within the words of CDAB gives DCBA, which is little-endian.
A register of text is two characters, or one; bits (functions 1 and 2) are given as one number 0 or 1 each.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from edge_agent.model.errors import WireError
from edge_agent.model.profile import RegisterPoint, WordOrder
from edge_agent.model.reading import GOOD, Value
from edge_agent.twin.meaning import (
    FLOATS,
    HUGE,
    LARGEST_EXPONENT,
    Decoded,
    Finish,
    code,
    finisher,
    in_range,
    is_plain,
    to_raw,
)

__all__ = ["BIT_FUNCTIONS", "BlockDecoder", "Decoded", "decode", "encode", "in_range", "width"]

BIT_FUNCTIONS: Final = (1, 2)
"""Read coils, read discrete inputs: their points are bits."""

_VIEWS = {"ABCD": (False, ">"), "DCBA": (False, "<"), "BADC": (True, ">"), "CDAB": (True, "<")}
"""Byte order to (whether the bytes of each register are swapped, and how the result is read)."""


def width(point: RegisterPoint) -> int:
    """Return how many registers (or bits, for functions 1 and 2; or objects, for 43) the point takes."""
    if point.type == "string":
        return 1 if point.function == 43 else point.length  # noqa: PLR2004 - the number of a function
    return 1 if point.function in BIT_FUNCTIONS else struct.calcsize(">" + code(point)) // 2


def decode(point: RegisterPoint, registers: Sequence[int], exponent: int | None = None) -> Decoded:
    """Return what the registers of one point mean; `exponent` is what its scale point holds, if it has one.

    Raises WireError (mismatch) when they are too many or too few.
    """
    return BlockDecoder((point,), point.function, point.address, width(point), exponent).decode(registers)[0]


def encode(point: RegisterPoint, value: Value, exponent: int | None = None) -> list[int]:
    """Return the registers (or the one bit) that read back as `value`.

    A float is rounded to what the type holds; anything else must read back exactly. Raises ValueError when the
    value is of the wrong type, does not fit, lies between two steps of the scale or outside the point's range,
    or is what the device says for "no value".
    """
    raw = to_raw(point, value, exponent)
    registers = [raw[-1]] if point.function in BIT_FUNCTIONS else _words(_viewed(raw, point))
    found, quality = decode(point, registers, exponent)
    if quality != GOOD or (found != value and point.type not in FLOATS):
        raise ValueError(f"{point.name}: got {value!r}, which would read back as {found!r} ({quality})")
    return registers


_Row = tuple[int, bool, float, float, Finish]
"""Where the raw value stands, whether it is the value if it lies between the next two, and what to do otherwise."""

_WIDEST = (-HUGE, HUGE)


class BlockDecoder:
    """Decodes the answers to one block: `count` registers or bits of `function` from address `start`.

    The decoded values come in the order of `points`, all of which must lie in the block. `exponent` serves points
    whose scale point is not among them.
    """

    def __init__(
        self, points: Sequence[RegisterPoint], function: int, start: int, count: int, exponent: int | None = None
    ) -> None:
        self._count = count
        self._bits = function in BIT_FUNCTIONS
        self._lanes: list[tuple[bool, struct.Struct]] = []
        self._exponent = exponent
        self._scaled = _scaled(points)
        if self._bits:
            self._rows = [self._row(point, point.address - start) for point in points]
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
            raws: Sequence[Any] = self._lanes[0][1].unpack(answer)
        else:
            views = (answer, _swapped(answer))
            raws = [raw for swap, lane in self._lanes for raw in lane.unpack(views[swap])]
        found = _judged(self._rows, raws)
        for index, scale_index, by_exponent in self._scaled:
            found[index] = by_exponent(found[scale_index])(raws[self._rows[index][0]])
        return found

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
        return [self._row(point, place[index]) for index, point in enumerate(points)]

    def _row(self, point: RegisterPoint, at: int) -> _Row:
        lowest, highest = point.range or _WIDEST
        return at, is_plain(point), max(lowest, _WIDEST[0]), min(highest, _WIDEST[1]), finisher(point, self._exponent)


def _scaled(points: Sequence[RegisterPoint]) -> list[tuple[int, int, Callable[[Decoded], Finish]]]:
    """Return the points whose scale point is among them: both places, and what finishes by what the latter says."""
    places = {point.name: index for index, point in enumerate(points)}
    return [
        (index, places[point.scale_point], _ByExponent(point))
        for index, point in enumerate(points)
        if point.scale_point in places
    ]


class _ByExponent:
    """The finishers of a point by the power of ten in its scale point; there are but 21 that count."""

    def __init__(self, point: RegisterPoint) -> None:
        self._point = point
        self._known: dict[int | None, Finish] = {}

    def __call__(self, scale: Decoded) -> Finish:
        exponent = scale[0] if type(scale[0]) is int and scale[1] == GOOD else None
        if exponent is not None and abs(exponent) > LARGEST_EXPONENT:
            exponent = None
        if exponent not in self._known:
            self._known[exponent] = finisher(self._point, exponent)
        return self._known[exponent]


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
        self._format += f"{at - self.end}x{f'{size}s' if point.type == 'string' else code(point)}"
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
