"""What the raw number in a point's registers means, and back: sentinels, parts, BCD, scale, names, text.

The way of a raw value: it is compared with the sentinels; the part that is meant is picked (bits, BCD digits, a
sign); that number gets a scale and a range, or a name. `to_raw` goes the same way backwards. Scale and offset are
the decimals that a person wrote, and the result is the float nearest to the exact product.
"""

import functools
import struct
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

from edge_agent.model.profile import RegisterPoint, RegisterType
from edge_agent.model.reading import GOOD, Value, bad

Decoded = tuple[Value, str]
"""A value and its quality; the value is None unless the quality is good."""
Finish = Callable[[Any], Decoded]
"""From a raw value, as it stands in the registers, to what it means."""

HUGE: Final = sys.float_info.max
"""Comparing with it tells finite numbers from NaN and the infinities, so that range and sanity are one comparison."""
LARGEST_EXPONENT = 10
"""Of a scale point: -10 to 10 (SunSpec Device Information Model Specification, type sunssf)."""
FLOATS = ("float32", "float64")
_CODES: dict[RegisterType, str] = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float32": "f", "float64": "d", "bool": "H", "bcd16": "H", "bcd32": "I", "bcd64": "Q",
}  # fmt: skip
_UNSIGNED = {2: "H", 4: "I", 8: "Q"}


def code(point: RegisterPoint) -> str:
    """Return the letter by which `struct` reads the raw value of a point that is not text."""
    known = _CODES[point.type]
    return _UNSIGNED[struct.calcsize(">" + known)] if _is_picked(point) else known


def is_plain(point: RegisterPoint) -> bool:
    """Whether the raw value is the value, if it is finite and in range."""
    named = point.enum or point.flags or point.scale_point is not None
    return not (point.type in ("bool", "string") or named or _is_picked(point) or _is_scaled(point))


def in_range(value: float, allowed: tuple[float, float] | None) -> Decoded:
    """Return a number with its quality: good, not finite, or outside `allowed` (lowest and highest)."""
    if not -HUGE <= value <= HUGE:
        return None, bad("nan")
    if allowed is not None and not allowed[0] <= value <= allowed[1]:
        return None, bad("range")
    return value, GOOD


def finisher(point: RegisterPoint, exponent: int | None = None) -> Finish:
    """Return what turns the raw value of a point into its value.

    `exponent` is what its scale point holds; a point that has one and does not know it means nothing.
    """
    if point.type == "string":
        return _text_finisher(point)
    if point.scale_point is not None and (exponent is None or abs(exponent) > LARGEST_EXPONENT):
        return lambda _: (None, bad("scale"))
    picked, named = _picker(point), _namer(point, exponent or 0)
    sentinels = frozenset(point.sentinels)
    if picked is None:
        return named

    def finish(raw: int) -> Decoded:
        if raw in sentinels:
            return None, bad("sentinel")
        number = picked(raw)
        return (None, bad("garbage")) if number is None else named(number)

    return finish


def text(raw: bytes) -> Decoded:
    """Return what bytes say: printable ASCII without its padding, or garbage."""
    said = raw.strip(b"\0 ").decode("ascii", "replace")
    # Control characters are refused too: identity ends in log lines.
    return (said, GOOD) if said.isascii() and said.isprintable() else (None, bad("garbage"))


def to_raw(point: RegisterPoint, value: Value, exponent: int | None = None) -> bytes:
    """Return the bytes of a value, most significant first. Raises ValueError when the point cannot hold it."""
    if point.bits is not None:
        raise ValueError(f"{point.name}: got a write to a part of a register, wanted one to whole registers")
    if point.type == "string":
        return _text_bytes(point, value)
    if point.type == "bool":
        if not isinstance(value, bool):
            raise ValueError(f"{point.name}: got {value!r}, wanted true or false")
        return bytes((0, value))
    number = _number(point, value, exponent)
    try:
        if point.type.startswith("bcd"):
            return struct.pack(">" + _CODES[point.type], int(str(round(number)), 16))
        return struct.pack(">" + _CODES[point.type], float(number) if point.type in FLOATS else round(number))
    except (struct.error, ValueError, OverflowError) as error:
        raise ValueError(f"{point.name}: got {value!r}, which does not fit {point.type}") from error


def _is_picked(point: RegisterPoint) -> bool:
    """Whether the raw value is read unsigned, to be compared or cut first.

    The sentinel of a float is a pattern of bits, often a NaN: it must be compared before it is a number.
    """
    return bool(point.sentinels or point.bits or point.flags or point.type.startswith("bcd"))


def _is_scaled(point: RegisterPoint) -> bool:
    return point.scale != 1 or point.offset != 0


def _picker(point: RegisterPoint) -> Callable[[int], Any] | None:
    """Return what takes the part that is meant out of an unsigned raw value; None when that is all of it."""
    if point.type.startswith("bcd"):
        return _decimal_digits
    if point.bits is not None:
        low, high = point.bits
        mask, sign = (1 << high - low + 1) - 1, (1 << high - low) if point.type.startswith("int") else 0
        # Adding and taking away the sign bit carries it upwards: two's complement of any width.
        return lambda raw: ((raw >> low & mask) ^ sign) - sign
    if not _is_picked(point):
        return None
    typed = struct.Struct(">" + _CODES[point.type])
    unsigned = struct.Struct(">" + _UNSIGNED[typed.size])
    return lambda raw: typed.unpack(unsigned.pack(raw))[0]


def _decimal_digits(raw: int) -> int | None:
    digits = f"{raw:x}"
    return int(digits) if digits.isdecimal() else None


def _namer(point: RegisterPoint, exponent: int) -> Finish:
    """Return what makes a value of the number that was picked."""
    if point.type == "bool":
        return lambda number: (number != 0, GOOD)
    if point.enum:
        names = {int(number): name for number, name in point.enum.items()}
        return lambda number: (names[number], GOOD) if number in names else (None, bad("unlisted"))
    if point.flags:
        flags = {int(bit): name for bit, name in point.flags.items()}
        return lambda number: (_flag_names(number, flags), GOOD)
    if exponent or _is_scaled(point):
        return _scaler(point, exponent)
    return _ranger(point.range)


@functools.cache
def _ranger(allowed: tuple[float, float] | None) -> Finish:
    """Return what holds a number against a range: one for all points that have it."""
    return lambda number: in_range(number, allowed)


def _flag_names(number: int, flags: dict[int, str]) -> str:
    return "+".join(flags.get(bit, f"bit{bit}") for bit in range(number.bit_length()) if number >> bit & 1)


def _scaler(point: RegisterPoint, exponent: int) -> Finish:
    """Scale exactly: the quotient of two whole numbers is the float nearest to the decimal that was meant."""
    scale, offset = _decimal(point.scale) * Fraction(10) ** exponent, _decimal(point.offset)
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


def _decimal(written: float) -> Fraction:
    """Return the decimal that a person wrote, which `repr` gives back, and not the binary float it became."""
    return Fraction(repr(written))


def _text_finisher(point: RegisterPoint) -> Finish:
    backwards = point.order in ("CDAB", "DCBA")  # struct turns numbers round, not text
    first, step = {"both": (0, 1), "high": (0, 2), "low": (1, 2)}[point.characters]
    return lambda raw: text((raw[::-1] if backwards else raw)[first::step])


def _text_bytes(point: RegisterPoint, value: Value) -> bytes:
    room = point.length * (2 if point.characters == "both" else 1)
    if not isinstance(value, str) or not value.isascii() or len(value) > room:
        raise ValueError(f"{point.name}: got {value!r}, wanted ASCII text of at most {room} characters")
    said = value.encode().ljust(room, b"\0")
    if point.characters == "both":
        return said
    return b"".join(bytes((0, each) if point.characters == "low" else (each, 0)) for each in said)


def _number(point: RegisterPoint, value: Value, exponent: int | None) -> Fraction:
    """Return the number that stands for a value in the registers."""
    if point.enum or point.flags:
        return Fraction(_named_number(point, value))
    if isinstance(value, (bool, str)) or value is None or not -HUGE <= value <= HUGE:
        raise ValueError(f"{point.name}: got {value!r}, wanted a finite number")
    if point.scale_point is not None and exponent is None:
        raise ValueError(f"{point.name}: got {value!r} without its scale, which stands in {point.scale_point}")
    return (_decimal(value) - _decimal(point.offset)) / _decimal(point.scale) / Fraction(10) ** (exponent or 0)


def _named_number(point: RegisterPoint, value: Value) -> int:
    names = {name: int(number) for number, name in (point.enum or point.flags).items()}
    said = value if isinstance(value, str) else repr(value)
    if point.enum:
        if said not in names:
            raise ValueError(f"{point.name}: got {said!r}, wanted one of {', '.join(names)}")
        return names[said]
    names |= {f"bit{bit}": bit for bit in range(64) if str(bit) not in point.flags}
    bits = {each for each in said.split("+") if each}
    if not isinstance(value, str) or not bits <= names.keys():
        raise ValueError(
            f"{point.name}: got {said!r}, wanted names of bits joined by +: {', '.join(point.flags.values())}"
        )
    return sum(1 << names[each] for each in bits)
