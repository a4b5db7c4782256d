"""From points to reads: few blocks, none larger than the device bears, none touching what it must not.

Points are sorted by address and joined greedily. Points with different `every` are not joined, since a slow point
in a fast block would be read as often as the fast ones, and pull the block apart from where the limits allow it;
only when a slow point already lies inside a faster block, where it costs no register more, does it ride along.
The same points and limits always give the same blocks.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge_agent.model.checked import shown
from edge_agent.model.errors import Problem
from edge_agent.model.profile import BusLimits, RegisterPoint
from edge_agent.twin.codec import BIT_FUNCTIONS, width

MAX_BITS = 2000
"""Coils or discrete inputs in one read (Modbus Application Protocol 1.1b3, 6.1 and 6.2)."""
_ADDRESSES = 0x10000


@dataclass(frozen=True, slots=True)
class Block:
    """One read: `count` registers (or bits, for functions 1 and 2) of `function` from address `start`."""

    function: int
    start: int
    count: int
    points: tuple[RegisterPoint, ...]
    """Those it brings, by rising address."""
    every: int
    """It is due at each n-th poll."""


def plan(points: Sequence[RegisterPoint], limits: BusLimits, place: str, problems: list[Problem]) -> list[Block]:
    """Return the blocks that bring each point exactly once.

    A point that cannot be read within the limits is left out after a line was added to `problems`; `place` names
    what the points belong to, such as "sources.meter".
    """
    possible: list[RegisterPoint] = []
    for point in points:
        found = list(_problems(point, limits, f"{place}.points.{point.name}"))
        problems.extend(found)
        if not found:
            possible.append(point)
    blocks: list[Block] = []
    for point in sorted(possible, key=lambda p: (p.every, p.function, p.address, p.name)):
        if not _join_free(blocks, point) and not _join_last(blocks, point, limits):
            blocks.append(_block([point]))
    return blocks


def split(block: Block) -> tuple[Block, Block]:
    """Return the two halves of a block of several points, for a device that calls some address in it illegal."""
    middle = len(block.points) // 2
    return _block(block.points[:middle]), _block(block.points[middle:])


def _join_free(blocks: list[Block], point: RegisterPoint) -> bool:
    """Add the point to a block that covers it already; whether there is one."""
    for i, block in enumerate(blocks):
        covered = block.start <= point.address and _end(point) <= block.start + block.count
        if covered and block.function == point.function:
            blocks[i] = _block([*block.points, point], block.every)
            return True
    return False


def _join_last(blocks: list[Block], point: RegisterPoint, limits: BusLimits) -> bool:
    """Stretch the newest block to the point; whether the limits allow it."""
    block = blocks[-1] if blocks else None
    if block is None or (block.function, block.every) != (point.function, point.every):
        return False
    joined, last = _block([*block.points, point]), block.start + block.count
    gap = point.address - last
    allowed = joined.count <= _longest(point.function, limits) and gap <= limits.max_gap
    if allowed and not _forbidden(joined.start, joined.start + joined.count, limits):
        blocks[-1] = joined
        return True
    return False


def _block(points: Iterable[RegisterPoint], every: int | None = None) -> Block:
    ordered = tuple(sorted(points, key=lambda p: (p.address, p.name)))
    start, end = ordered[0].address, max(map(_end, ordered))
    return Block(ordered[0].function, start, end - start, ordered, every or min(p.every for p in ordered))


def _end(point: RegisterPoint) -> int:
    return point.address + width(point)


def _longest(function: int, limits: BusLimits) -> int:
    return MAX_BITS if function in BIT_FUNCTIONS else limits.max_registers


def _forbidden(start: int, end: int, limits: BusLimits) -> tuple[int, int] | None:
    """Return the forbidden range that reading from `start` up to, not including, `end` would touch."""
    return next(((first, last) for first, last in limits.forbidden if first < end and last >= start), None)


def _problems(point: RegisterPoint, limits: BusLimits, place: str) -> Iterable[Problem]:
    bit = point.function in BIT_FUNCTIONS
    if bit and point.type != "bool":
        wanted = f"bool: function {point.function} reads bits"
        yield Problem(f"{place}.type", shown(point.type), wanted)
    elif width(point) > _longest(point.function, limits):
        found = f"{width(point)} registers"
        yield Problem(place, found, f"at most max_registers = {limits.max_registers}, the longest read of the device")
    if _end(point) > _ADDRESSES:
        yield Problem(f"{place}.address", f"{point.address} + {width(point)}", "an end within 65536 addresses")
    touched = _forbidden(point.address, _end(point), limits)
    if touched is not None:
        found = f"{point.address} to {_end(point) - 1}"
        yield Problem(f"{place}.address", found, f"an address outside the forbidden range {touched[0]} to {touched[1]}")
    yield from _value_problems(point, place)


def _value_problems(point: RegisterPoint, place: str) -> Iterable[Problem]:
    if point.type in ("bool", "string"):
        if point.scale != 1 or point.offset != 0:
            yield Problem(f"{place}.scale", f"a scale on {point.type}", "scale and offset on numbers only")
    elif point.scale == 0 or not math.isfinite(point.scale):
        yield Problem(f"{place}.scale", repr(point.scale), "a finite number other than 0")
    if not math.isfinite(point.offset):
        yield Problem(f"{place}.offset", repr(point.offset), "a finite number")
    if point.range is not None and not point.range[0] <= point.range[1]:
        yield Problem(f"{place}.range", str(list(point.range)), "lowest and highest, in this order")
    yield from _sentinel_problems(point, place)


def _sentinel_problems(point: RegisterPoint, place: str) -> Iterable[Problem]:
    if point.type == "string" or point.function in BIT_FUNCTIONS:
        if point.sentinels:
            yield Problem(f"{place}.sentinels", "sentinels on text or bits", "sentinels on numbers only")
        return
    largest = (1 << 16 * width(point)) - 1
    if not all(0 <= sentinel <= largest for sentinel in point.sentinels):
        yield Problem(f"{place}.sentinels", str(list(point.sentinels)), f"raw values from 0 to {largest}")
