"""NMEA 0183 sentences to values.

A checksum of eight bits lets one wrong sentence in 256 pass, and receivers have shown it (weeks of good readings, then
a position in another country). So every field is checked too, with the count of fields, and a sentence of which one
field is wrong is refused whole.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from edge_agent.model.errors import WireError
from edge_agent.model.profile import SentencePoint
from edge_agent.model.reading import GOOD, Value, bad
from edge_agent.twin.civil import days_before
from edge_agent.twin.codec import Decoded
from edge_agent.twin.frames import EXCERPT
from edge_agent.twin.scale import scaled

Said = Mapping[str, Value]
"""What a sentence says, by the names of `SentencePoint.says`; None where it has no value."""

_RMC_FIELDS = (11, 12, 13)
"""Of NMEA 2.0; 2.3 added the mode, 4.1 the navigational status."""
_GGA_FIELDS = (14,)
_TALKER = re.compile(r"(?:G[ABILNPQ]|BD|QZ)(RMC|GGA)")
"""Satellite systems; what an echo sounder may call RMC is another matter."""
_TIME = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9])([0-5][0-9]|60)(\.[0-9]{1,6})?")
_DATE = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{2})")
_ANGLE = {
    "NS": (re.compile(r"([0-9]{2})([0-5][0-9](?:\.[0-9]{1,8})?)"), 90),
    "EW": (re.compile(r"([0-9]{3})([0-5][0-9](?:\.[0-9]{1,8})?)"), 180),
}
_NUMBER = re.compile(r"-?[0-9]{1,6}(?:\.[0-9]{1,6})?")


class Sentence(NamedTuple):
    """A sentence in which every field is one."""

    kind: str
    said: Said


def parse_sentence(text: str) -> Sentence | None:
    """Return what a sentence between `$` and `*` says, or None when it is of another kind than those known.

    Raises WireError when a field is not what it must be.
    """
    head, *fields = text.split(",")
    kind = _TALKER.fullmatch(head)
    if kind is None:
        return None
    try:
        return Sentence(kind[1], _READERS[kind[1]](fields))
    except ValueError as error:
        raise WireError(f'{kind[1]}: got "{text[:EXCERPT]}", wanted {error}') from error


def sentence_value(point: SentencePoint, said: Said) -> Decoded:
    """Return (value, quality) of a point in a sentence of its kind."""
    value = said.get(point.says)
    if value is None:
        return None, bad("sentinel")
    if isinstance(value, (bool, str)):
        return value, GOOD
    return scaled(value, point.scale, 0, point.range)


def _rmc(fields: list[str]) -> Said:
    _counted(fields, _RMC_FIELDS)
    time, status, lat, north, lon, east, speed, course, date, *_ = fields
    if status not in ("A", "V"):
        raise ValueError("A or V for its status")
    place = {"latitude": _angle(lat, north, "NS"), "longitude": _angle(lon, east, "EW")}
    motion = {"speed": _number(speed, 0, 2000), "course": _number(course, 0, 360)}
    at = _instant(date, time)
    if status == "V":  # what it still says may be old, or the clock's guess
        return {"valid": False}
    if None in place.values() or at is None:
        raise ValueError("time, date, latitude and longitude in a sentence that says it is valid")
    return {"valid": True, "time": at, **place, **motion}


def _gga(fields: list[str]) -> Said:
    _counted(fields, _GGA_FIELDS)
    time, lat, north, lon, east, quality, satellites, hdop, altitude, metres, *_ = fields
    _time(time)
    fix = _number(quality, 0, 8)
    if fix is None or metres not in ("M", ""):
        raise ValueError("a fix quality from 0 to 8, and an altitude in M")
    place = {"latitude": _angle(lat, north, "NS"), "longitude": _angle(lon, east, "EW")}
    height = {"hdop": _number(hdop, 0, 100), "altitude": _number(altitude, -1000, 100_000)}
    counts = {"quality": fix, "satellites": _number(satellites, 0, 99)}
    if fix == 0:
        return counts
    if None in place.values():
        raise ValueError("latitude and longitude in a sentence that has a fix")
    return {**counts, **place, **height}


_READERS: Final[Mapping[str, Callable[[list[str]], Said]]] = {"RMC": _rmc, "GGA": _gga}


def _counted(fields: list[str], known: tuple[int, ...]) -> None:
    if len(fields) not in known:
        raise ValueError(f"{' or '.join(map(str, known))} fields")


def _angle(text: str, side: str, sides: str) -> float | None:
    """Return degrees, north and east positive; None when both fields are empty."""
    if not text and not side:
        return None
    form, most = _ANGLE[sides]
    match = form.fullmatch(text)
    if match is None or len(side) != 1 or side not in sides:
        raise ValueError(f"degrees and minutes, and one of {sides}")
    degrees = int(match[1]) + float(match[2]) / 60
    if degrees > most:
        raise ValueError(f"at most {most} degrees")
    return -degrees if side in "SW" else degrees


def _number(text: str, lowest: float, highest: float) -> float | None:
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or not lowest <= float(text) <= highest:
        raise ValueError(f"a number from {lowest:g} to {highest:g}")
    return float(text)


def _time(text: str) -> float | None:
    """Return the seconds of the day."""
    if not text:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("a time hhmmss")
    return int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3]) + float(match[4] or 0)


def _instant(date: str, time: str) -> float | None:
    """Return the seconds since 1970."""
    second = _time(time)
    if not date:
        return None
    match = _DATE.fullmatch(date)
    if match is None:
        raise ValueError("a date ddmmyy")
    days = days_before(2000 + int(match[3]), int(match[2]), int(match[1]))
    return None if second is None else days * 86_400 + second
