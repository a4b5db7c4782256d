"""DSMR P1 telegrams to values (Netbeheer Nederland, P1 companion standard 5.0.2; IEC 62056-21 data blocks).

A telegram is read whole or not at all. Times in it are those of the meter's clock on the wall, with S (UTC+2) or W
(UTC+1) behind them, so that the hour that comes twice in autumn is told apart.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.model.errors import WireError
from edge_agent.model.profile import ObisPoint
from edge_agent.model.reading import GOOD, bad
from edge_agent.twin.civil import days_before
from edge_agent.twin.codec import Decoded, in_range
from edge_agent.twin.frames import EXCERPT
from edge_agent.twin.scale import scaled

_HEADER = re.compile(r"/[A-Za-z]{3}[0-9][ -.0-~]{0,64}")
_OBJECT = re.compile(r"([0-9]{1,3}-[0-9]{1,3}):([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})(?:\.[0-9]{1,3})?((?:\([^()]*\))+)")
_GROUP = re.compile(r"\(([^()]*)\)")
_TIME = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{2})([01][0-9]|2[0-3])([0-5][0-9])([0-5][0-9])([SW])")
_ZONELESS = re.compile(r"[0-9]{12}")
_NUMBER = re.compile(r"(-?[0-9]{1,12}(?:\.[0-9]{1,6})?)(?:\*([A-Za-z0-9%/]{1,8}))?")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*")
_SUMMER_S = {"S": 7200, "W": 3600}
OBIS = re.compile(r"(?:[0-9]{1,3}-[0-9]{1,3}:)?[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}")
"""How a point names its object."""


class Item(NamedTuple):
    """One object of a telegram."""

    channel: str
    """Medium and channel: "1-0"."""
    code: str
    groups: tuple[str, ...]
    """What stands in its parentheses."""


def parse_telegram(text: str) -> tuple[Item, ...]:
    """Return the objects of a telegram, from `/` to before `!`. Raises WireError when a line is none."""
    header, *lines = text.replace("\r\n", "\n").split("\n")
    if not _HEADER.fullmatch(header):
        raise WireError(f'telegram: got "{header[:EXCERPT]}", wanted the name of a meter')
    joined: list[str] = []
    for line in filter(None, lines):
        if line.startswith("(") and joined:  # DSMR 2 breaks the line of its gas meter
            joined[-1] += line
        else:
            joined.append(line)
    return tuple(map(_item, joined))


def _item(line: str) -> Item:
    match = _OBJECT.fullmatch(line)
    if match is None:
        raise WireError(f'telegram: got "{line[:EXCERPT]}", wanted an object such as 1-0:1.8.1(000123.456*kWh)')
    return Item(match[1], match[2], tuple(_GROUP.findall(match[3])))


def find_item(point: ObisPoint, telegram: Sequence[Item]) -> Item | None:
    """Return the first object that a point names."""
    channel, _, code = point.obis.rpartition(":")
    return next((i for i in telegram if i.code == code and (not channel or i.channel == channel)), None)


def own_time_ms(item: Item) -> int | None:
    """Return when the meter says that an object's value was read; None when it does not say."""
    seconds = _seconds(item.groups[0]) if len(item.groups) > 1 else None
    return None if seconds is None else seconds * 1000


def is_undated(item: Item) -> bool:
    """Whether a value has a time of its own that does not tell summer from winter (DSMR 2 and 3)."""
    return len(item.groups) > 1 and _ZONELESS.fullmatch(item.groups[0]) is not None


def obis_value(point: ObisPoint, item: Item) -> Decoded:
    """Return (value, quality) of a point in its object."""
    text = item.groups[-1]
    if not text:
        return None, bad("sentinel")
    if point.type == "time":
        seconds = _seconds(text)
        return (None, bad("type")) if seconds is None else in_range(float(seconds), point.range)
    if point.type == "number":
        return _number(point, text)
    if point.type == "hex":
        if not _HEX.fullmatch(text):
            return None, bad("type")
        text = bytes.fromhex(text).decode("latin-1")
    return (text, GOOD) if text.isprintable() else (None, bad("garbage"))


def _number(point: ObisPoint, text: str) -> Decoded:
    match = _NUMBER.fullmatch(text)
    wanted = point.unit if point.sent_in is None else point.sent_in
    if match is None or (match[2] or "") != (wanted or ""):
        return None, bad("type")
    return scaled(float(match[1]), point.scale, 0, point.range)


def _seconds(text: str) -> int | None:
    """Return the seconds since 1970 of `YYMMDDhhmmss` with S or W."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    try:
        days = days_before(2000 + int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None
    return days * 86_400 + int(match[4]) * 3600 + int(match[5]) * 60 + int(match[6]) - _SUMMER_S[match[7]]
