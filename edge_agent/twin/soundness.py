"""Whether the points of a profile make sense: each alone, and with the points they name."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from edge_agent.model.checked import close_match, shown
from edge_agent.model.errors import Problem
from edge_agent.model.profile import RegisterPoint
from edge_agent.twin.codec import BIT_FUNCTIONS, width

IDENTIFICATION = 43
"""The function that reads device identification (2B/0E): its points are objects and not registers."""
_ADDRESSES = 0x10000
_OBJECTS = 0x100
_WHOLE = ("int16", "uint16", "int32", "uint32", "int64", "uint64")


def point_problems(points: Sequence[RegisterPoint], place: str) -> dict[str, list[Problem]]:
    """Return what is wrong with each point, by its name. `place` names what the points belong to."""
    known = {str(point.name): point for point in points}
    return {point.name: list(_problems(point, known, f"{place}.points.{point.name}")) for point in points}


def _problems(point: RegisterPoint, known: Mapping[str, RegisterPoint], place: str) -> Iterable[Problem]:
    if point.function in BIT_FUNCTIONS and point.type != "bool":
        yield Problem(f"{place}.type", shown(point.type), f"bool: function {point.function} reads bits")
    if point.function == IDENTIFICATION and point.type != "string":
        yield Problem(f"{place}.type", shown(point.type), "string: function 43 reads text")
    last = _OBJECTS if point.function == IDENTIFICATION else _ADDRESSES
    if point.address + width(point) > last:
        yield Problem(f"{place}.address", f"{point.address} + {width(point)}", f"an end within {last} addresses")
    yield from _scale_problems(point, place)
    yield from _scale_point_problems(point, known, place)
    yield from _name_problems(point, place)
    yield from _bit_problems(point, place)
    yield from _sentinel_problems(point, place)
    yield from _write_problems(point, known, place)
    if point.range is not None and not point.range[0] <= point.range[1]:
        yield Problem(f"{place}.range", str(list(point.range)), "lowest and highest, in this order")


def _scale_problems(point: RegisterPoint, place: str) -> Iterable[Problem]:
    if point.type in ("bool", "string") or point.enum or point.flags:
        if point.scale != 1 or point.offset != 0 or point.scale_point is not None:
            what = "names" if point.enum or point.flags else point.type
            yield Problem(f"{place}.scale", f"a scale on {what}", "scale and offset on numbers only")
    elif point.scale == 0 or not math.isfinite(point.scale):
        yield Problem(f"{place}.scale", repr(point.scale), "a finite number other than 0")
    if not math.isfinite(point.offset):
        yield Problem(f"{place}.offset", repr(point.offset), "a finite number")


def _scale_point_problems(point: RegisterPoint, known: Mapping[str, RegisterPoint], place: str) -> Iterable[Problem]:
    if point.scale_point is None:
        return
    place += ".scale_point"
    scale = known.get(point.scale_point)
    if scale is None:
        yield Problem(place, shown(point.scale_point), "a point of this device", close_match(point.scale_point, known))
    elif (scale.function, scale.model) != (point.function, point.model):
        found = f"{scale.name}, which another function or model reads"
        yield Problem(place, found, "a point that one request can bring together with this one")
    elif scale.type != "int16" or scale.scale != 1 or scale.offset != 0 or scale.scale_point is not None:
        yield Problem(place, f"{scale.name}, which is no plain int16", "a plain int16: the power of ten")


def _name_problems(point: RegisterPoint, place: str) -> Iterable[Problem]:
    for field, names in (("enum", point.enum), ("flags", point.flags)):
        if not names:
            continue
        where = f"{place}.{field}"
        if point.type not in _WHOLE or (field == "flags" and point.bits is not None):
            yield Problem(where, f"names on {point.type}", "names on a whole number, and flags on all of it")
        wrong = [key for key in names if not _is_key(key, field)]
        if wrong:
            yield Problem(where, shown(wrong[0]), "whole numbers as keys" if field == "enum" else "bits from 0 to 63")
        twice = [name for name, count in Counter(names.values()).items() if count > 1 or not name.isprintable()]
        if twice or any("+" in name or not name for name in names.values() if field == "flags"):
            yield Problem(where, shown((twice or list(names.values()))[0]), "a name of its own for each, without +")
    if point.enum and point.flags:
        yield Problem(f"{place}.flags", "flags beside an enum", "one of the two")


def _is_key(key: str, field: str) -> bool:
    try:
        number = int(key)
    except ValueError:
        return False
    return str(number) == key and (field == "enum" or 0 <= number < 64)  # noqa: PLR2004 - bits of the longest type


def _bit_problems(point: RegisterPoint, place: str) -> Iterable[Problem]:
    if point.bits is None:
        return
    low, high = point.bits
    if point.type not in (*_WHOLE, "bool") or point.function in BIT_FUNCTIONS:
        yield Problem(f"{place}.bits", f"bits of {point.type}", "bits of a whole number in registers, or bool")
    elif not low <= high < 16 * width(point):
        yield Problem(f"{place}.bits", str([low, high]), f"lowest and highest bit, from 0 to {16 * width(point) - 1}")
    elif point.type == "bool" and low != high:
        yield Problem(f"{place}.bits", str([low, high]), "one bit for a bool, such as [3, 3]")


def _sentinel_problems(point: RegisterPoint, place: str) -> Iterable[Problem]:
    if point.type == "string" or point.function in BIT_FUNCTIONS:
        if point.sentinels:
            yield Problem(f"{place}.sentinels", "sentinels on text or bits", "sentinels on numbers only")
        return
    largest = (1 << 16 * width(point)) - 1
    if not all(0 <= sentinel <= largest for sentinel in point.sentinels):
        yield Problem(f"{place}.sentinels", str(list(point.sentinels)), f"raw values from 0 to {largest}")


def _write_problems(point: RegisterPoint, known: Mapping[str, RegisterPoint], place: str) -> Iterable[Problem]:
    rule = point.write
    if rule is None:
        return
    place += ".write"
    if not rule.range[0] <= rule.range[1]:
        yield Problem(f"{place}.range", str(list(rule.range)), "lowest and highest, in this order")
    if rule.verify is not None and rule.verify not in known:
        yield Problem(f"{place}.verify", shown(rule.verify), "a point of this device", close_match(rule.verify, known))
    if rule.function is not None and (rule.function in (5, 15)) != (point.function == 1):
        yield Problem(f"{place}.function", str(rule.function), "5 or 15 for a coil, 6 or 16 for registers")
    reverts = rule.reverts
    if reverts is None:
        return
    if reverts.by == "message" or (reverts.by == "pulse") != (reverts.address is not None):
        yield Problem(f"{place}.reverts", shown(reverts.by), 'by = "pulse" with an address, or by = "timer"')
    if (reverts.by == "timer") != (reverts.point is not None) or (reverts.point or point.name) not in known:
        found = shown(reverts.point or "no point")
        yield Problem(f"{place}.reverts.point", found, "for a timer, the point of this device that holds the time")
    if reverts.tick <= 0 or reverts.longest < reverts.tick:
        yield Problem(f"{place}.reverts.longest", f"{reverts.longest:g} s", f"at least one tick of {reverts.tick:g} s")
