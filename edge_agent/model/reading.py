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
    "unlisted": "the device gave a number that its profile does not list",
    "scale": "its scale point could not be used, so that it might be wrong by a power of ten",
    "jump": "it moved farther than is believable, and no second reading has agreed yet",
    "unconfirmed": "it was read once only, and a second reading must agree",
    "firmware": "the device is not known to be the one, with the firmware, that its profile was written for",
    "stale": "nothing was heard for too long",
    "clock": "the device's own time of it cannot be true",
    "offline": "the broker says that the device has gone",
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
    """The boot's monotonic clock, nanoseconds, time asleep included."""
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


def iso_utc(at_ms: int) -> str:
    """Return a wall time as ISO 8601 with milliseconds and Z. By arithmetic: the lower storeys have no clock."""
    days, ms = divmod(at_ms, 86_400_000)
    seconds, ms = divmod(ms, 1000)
    # Days to a civil date, counting years from March, so that the leap day is the last of its year.
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9  # noqa: PLR2004 - months counted from March
    year = year_of_era + era * 400 + (month <= 2)  # noqa: PLR2004 - January and February are of the next year
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}"
    return f"{year:04d}-{month:02d}-{day:02d}T{clock}Z"
