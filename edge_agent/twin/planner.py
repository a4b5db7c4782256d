"""From points to reads: few blocks, none larger than the device bears, none touching what it must not.

Points are sorted by address and joined greedily. Points of different poll classes are not joined, since a slow
point in a fast block would be read as often as the fast ones, and pull the block apart from where the limits allow
it; only when a slow point already lies inside a faster block, where it costs no register more, does it ride along.
A value and the point that holds its power of ten are never apart: a block that brings the one brings the other.
The same points, limits and findings always give the same blocks.

When a device calls an address of a block illegal, `bisect` says where to cut; whoever asks the parts finds the
point that the device does not have, or the gap that must not be crossed. What was found (`Findings`) is an argument
of the next plan, and worth keeping.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edge_agent.model.errors import Problem
from edge_agent.model.profile import BusLimits, RegisterPoint
from edge_agent.twin.codec import BIT_FUNCTIONS, width
from edge_agent.twin.identification import access_code
from edge_agent.twin.soundness import IDENTIFICATION, point_problems

MAX_BITS = 2000
"""Coils or discrete inputs in one read (Modbus Application Protocol 1.1b3, 6.1 and 6.2)."""
Place = tuple[int, int, int]
"""Model (0 where there is none), function and address: where a point stands."""


class Findings(NamedTuple):
    """What a device taught by its refusals."""

    illegal: frozenset[Place] = frozenset()
    """Points it does not have."""
    cuts: frozenset[Place] = frozenset()
    """Points before which a block must begin."""


@dataclass(frozen=True, slots=True)
class Block:
    """One read: `count` registers (or bits, for functions 1 and 2, or objects, for 43) from address `start`."""

    function: int
    start: int
    count: int
    points: tuple[RegisterPoint, ...]
    """Those it brings, by rising address."""
    every: int
    """It is due at each n-th poll; 0 stands for once a day."""
    model: int | None = None
    """The SunSpec model that `start` counts in."""


def plan(
    points: Sequence[RegisterPoint],
    limits: BusLimits,
    place: str,
    problems: list[Problem],
    found: Findings = Findings(),  # noqa: B008 - a value that nothing can change
) -> list[Block]:
    """Return the blocks that bring each point; only what holds a power of ten may come more than once.

    A point that cannot be read within the limits is left out after a line was added to `problems`; `place` names
    what the points belong to, such as "sources.meter".
    """
    blocks: list[Block] = []
    for part in sorted(_parts(_readable(points, limits, place, problems), limits, found), key=_rank):
        covered = next((i for i, block in enumerate(blocks) if _covers(block, part, found)), None)
        if covered is not None:
            blocks[covered] = _joined(blocks[covered], part, blocks[covered].every)
        elif blocks and _may_join(blocks[-1], part, limits, found):
            blocks[-1] = _joined(blocks[-1], part, part.every)
        else:
            blocks.append(part)
    return blocks


def bisect(block: Block) -> Place | None:
    """Return where to cut a block that a device refused; None when all it is asked for stands at one address.

    The widest gap is the first suspect, for nobody asked for what lies in it; where gaps are alike, the middle.
    """
    ends: dict[Place, int] = {}
    for point in _leaders(block.points):
        ends[place_of(point)] = max(ends.get(place_of(point), 0), point.address + width(point))
    places = sorted(ends)
    last = [max(ends[place] for place in places[:i]) for i in range(1, len(places))]
    cuts = range(1, len(places))
    best = min(cuts, key=lambda i: (-max(0, places[i][2] - last[i - 1]), abs(2 * i - len(places))), default=None)
    return None if best is None else places[best]


def culprit(block: Block) -> Place:
    """Return the address that a block is asked for."""
    return place_of(_leaders(block.points)[0])


def place_of(point: RegisterPoint) -> Place:
    """Return where a point stands."""
    return (point.model or 0, point.function, point.address)


def _readable(
    points: Sequence[RegisterPoint], limits: BusLimits, place: str, problems: list[Problem]
) -> list[RegisterPoint]:
    """Return the points that make sense and can be read."""
    faults = point_problems(points, place)
    named = {(str(point.name), point.function): point for point in reversed(points)}
    for point in points:
        scale = named.get((point.scale_point or "", point.function))
        faults[point.name] += _limit_problems(point, scale, limits, f"{place}.points.{point.name}")
        problems.extend(faults[point.name])
    return [point for point in points if not faults[point.name]]


def _parts(points: Sequence[RegisterPoint], limits: BusLimits, found: Findings) -> Iterator[Block]:
    """Return the smallest reads: a point alone, or points with their common scale point.

    The latter are cut where they must be; then the scale point is in each part. What the device does not have is
    asked for alone, and seldom: a new firmware may have it.
    """
    named = {point.scale_point for point in points}
    scales = {str(p.name): p for p in points if p.name in named and place_of(p) not in found.illegal}
    users: dict[str, list[RegisterPoint]] = {name: [] for name in scales}
    for point in points:
        scale = scales.get(point.scale_point or "")
        if place_of(point) in found.illegal:
            yield _block([point] if scale is None else [point, scale], 0)
        elif scale is not None:
            users[scale.name].append(point)
        elif point.name not in scales:
            yield _block([point])
    for name, scale in scales.items():
        yield from _pieces(users[name], scale, limits, found.cuts) if users[name] else [_block([scale])]


def _pieces(
    points: Sequence[RegisterPoint], scale: RegisterPoint, limits: BusLimits, cuts: frozenset[Place]
) -> Iterator[Block]:
    pieces: list[list[RegisterPoint]] = []
    for point in sorted(points, key=_order):
        longer = _block([*pieces[-1], point, scale]) if pieces else None
        if longer is None or not _fits(longer, limits) or place_of(point) in cuts - {place_of(pieces[-1][0])}:
            pieces.append([point])
        else:
            pieces[-1].append(point)
    return (_block([*piece, scale]) for piece in pieces)


def _rank(part: Block) -> tuple[int, int, int, int, int, str]:
    """Order what is joined: what is read seldom comes last, so that it can ride along in what is read often."""
    return (part.every or 1 << 30, part.function, part.model or 0, part.start, part.count, part.points[0].name)


def _covers(block: Block, part: Block, found: Findings) -> bool:
    """Whether a part lies inside a block already, and costs it nothing."""
    inside = block.start <= part.start and part.start + part.count <= block.start + block.count
    same = (block.function, block.model) == (part.function, part.model)
    return same and inside and not _kept_apart(block, part, found)


def _may_join(block: Block, part: Block, limits: BusLimits, found: Findings) -> bool:
    """Whether the newest block may be stretched to a part."""
    if (block.function, block.model, block.every) != (part.function, part.model, part.every):
        return False
    if _kept_apart(block, part, found):
        return False
    joined = _joined(block, part, part.every)
    end = joined.start + joined.count
    if part.function == IDENTIFICATION:
        return access_code(joined.start) == access_code(end - 1)
    barred = any(joined.start <= at < end for model, function, at in found.illegal if _same(joined, model, function))
    gap = part.start - (block.start + block.count)
    return gap <= limits.max_gap and not barred and _fits(joined, limits)


def _kept_apart(block: Block, part: Block, found: Findings) -> bool:
    """Whether what the device taught forbids to bring both in one read."""
    if not (found.illegal or found.cuts):
        return False
    ours, theirs = culprit(block), culprit(part)
    return ours in found.illegal or theirs in found.illegal or (theirs in found.cuts and theirs != ours)


def _same(block: Block, model: int, function: int) -> bool:
    return (block.model or 0, block.function) == (model, function)


def _block(points: Iterable[RegisterPoint], every: int | None = None) -> Block:
    ordered = tuple(sorted({p.name: p for p in points}.values(), key=_order))
    first, end = ordered[0], max(point.address + width(point) for point in ordered)
    often = min(map(_class, ordered), key=lambda n: n or 1 << 30) if every is None else every
    return Block(first.function, first.address, end - first.address, ordered, often, first.model)


def _joined(block: Block, part: Block, every: int) -> Block:
    """Return the one read that brings both. Nothing is looked at twice: a block may have two thousand points."""
    start, end = min(block.start, part.start), max(block.start + block.count, part.start + part.count)
    points = block.points + part.points
    if _order(block.points[-1]) >= _order(part.points[0]):
        points = tuple(sorted({point.name: point for point in points}.values(), key=_order))
    return Block(block.function, start, end - start, points, every, block.model)


def _order(point: RegisterPoint) -> tuple[int, str]:
    return point.address, point.name


def _class(point: RegisterPoint) -> int:
    """Return the poll class: who a device is changes seldom."""
    return 0 if point.identity is not None and point.every == 1 else point.every


def _leaders(points: Sequence[RegisterPoint]) -> list[RegisterPoint]:
    """Return the points without those that only hold the power of ten of another."""
    named = {point.scale_point for point in points}
    return [point for point in points if point.name not in named] or list(points)


def _longest(function: int, limits: BusLimits) -> int:
    return MAX_BITS if function in BIT_FUNCTIONS else limits.max_registers


def _fits(block: Block, limits: BusLimits) -> bool:
    return block.count <= _longest(block.function, limits) and _forbidden(block, limits) is None


def _forbidden(block: Block, limits: BusLimits) -> tuple[int, int] | None:
    """Return the forbidden range that a block would touch. Where a SunSpec model stands is not known beforehand."""
    if block.model is not None or block.function == IDENTIFICATION:
        return None
    end = block.start + block.count
    return next(((first, last) for first, last in limits.forbidden if first < end and last >= block.start), None)


def _limit_problems(
    point: RegisterPoint, scale: RegisterPoint | None, limits: BusLimits, place: str
) -> Iterable[Problem]:
    block = _block([point] if scale is None else [point, scale])
    if point.function != IDENTIFICATION and block.count > _longest(point.function, limits):
        found = f"{block.count} registers" + (f" up to its scale point {scale.name}" if scale is not None else "")
        yield Problem(place, found, f"at most max_registers = {limits.max_registers}, the longest read of the device")
    touched = _forbidden(block, limits)
    if touched is not None:
        found = f"{block.start} to {block.start + block.count - 1}"
        yield Problem(f"{place}.address", found, f"an address outside the forbidden range {touched[0]} to {touched[1]}")
