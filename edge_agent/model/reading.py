"""What a source saw, and when: `Instant`, `Anchor`, `Reading`, and the `Event` the twin makes of one."""

from typing import NamedTuple

import msgspec

Value = float | int | bool | str | None
"""What a point can hold. `None` says that nothing was read; 0, False and "" are values."""

GOOD = "good"

REASONS: dict[str, str] = {
    "timeout": "the device did not answer in time",
    "link": "the connection is down",
    "refused": "the device answered with an exception",
    "mismatch": "the answer was for another request, function, unit or length",
    "garbage": "the bytes were not a valid frame or message",
    "missing": "the message did not hold this point",
    "type": "the value was not of the point's type",
    "nan": "the value was not a finite number",
    "sentinel": "the device says it has no value",
    "range": "the value lies outside the point's range",
    "stale": "nothing was heard for too long",
    "unknown": "never read yet",
}
"""Why a value is not good. A quality is "good", "uncertain:<reason>" or "bad:<reason>"."""


def bad(reason: str) -> str:
    """Return the quality of a value that must not be used."""
    return f"bad:{reason}"


def uncertain(reason: str) -> str:
    """Return the quality of a value to be used with care."""
    return f"uncertain:{reason}"


class Instant(NamedTuple):
    """One moment. Wall time annotates; order and ages come from the monotonic clock."""

    at_ms: int
    """Wall clock, UTC, milliseconds since 1970."""
    mono_ns: int
    """The boot's monotonic clock, nanoseconds."""
    synced: bool
    """Whether the wall clock was synchronised when this was taken."""


class Anchor(msgspec.Struct, frozen=True, gc=False):
    """Where a value came from: one answer, line or message of a source. Shared by all its readings."""

    source: str
    """The source's name in agent.toml."""
    detail: str
    """What was asked or heard, for a person: "fc4 0+72 unit 1", "line 17", a topic."""
    at: Instant


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What a source saw at one point; a failed read is a Reading too, with `value` None and its fault."""

    anchor: Anchor
    point: str
    value: Value
    quality: str = GOOD


class Event(msgspec.Struct, frozen=True, gc=False):
    """A reading that passed the door: bound to a variable of the world, its value checked."""

    number: int
    """The variable's number in the world."""
    value: Value
    quality: str
    anchor: Anchor
