"""Times that devices write, to milliseconds since 1970, by arithmetic: the lower storeys have no clock."""

import re

_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]|60)(?:[.,]([0-9]{1,9}))?)?"
    r"(Z|z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?"
)


def days_before(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a date of the Gregorian calendar. Raises ValueError when there is none."""
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)  # noqa: PLR2004 - February
    if not 1 <= month <= len(_DAYS) or not 1 <= day <= _DAYS[month - 1] + leap:
        raise ValueError("a date that the calendar has")
    # Counting years from March, so that the leap day is the last of its year.
    shifted = year - (month <= 2)  # noqa: PLR2004 - January and February are of the year before
    era, of_era = divmod(shifted, 400)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + day_of_year - 719_468


def iso_ms(text: str, *, zoneless: bool = False) -> int | None:
    """Return the milliseconds since 1970 of an ISO 8601 time; None when it is none, or says no zone.

    With `zoneless` a time without a zone is UTC.
    """
    match = _ISO.fullmatch(text)
    if match is None or (match[8] is None and not zoneless):
        return None
    try:
        days = days_before(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None
    second = days * 86_400 + int(match[4]) * 3600 + int(match[5]) * 60 + int(match[6] or 0) - _zone_s(match[8])
    return second * 1000 + int((match[7] or "0").ljust(3, "0")[:3])


def _zone_s(text: str | None) -> int:
    if text is None or text in "Zz":
        return 0
    digits = text[1:].replace(":", "")
    return (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if text[0] == "-" else 1)
