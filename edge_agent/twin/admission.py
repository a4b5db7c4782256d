"""Whether a device is the one its profile was written for, by what it says of itself.

Until it has said so its values are uncertain and nothing may be written to it: an unknown firmware may keep its
registers elsewhere, and the value that is read, or the address that is written, may be another one.
"""

import re
from collections.abc import Sequence
from typing import Final

from edge_agent.model.checked import shown
from edge_agent.model.profile import Expected, FirmwareRange, Identity
from edge_agent.model.reading import GOOD, Reading, Value, uncertain

UNREAD: Final = "the device has not said yet who it is"


class Admission:
    """Of one source: what it was heard to say of itself, and what follows."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        firmware = () if identity.firmware is None else (identity.firmware.point,)
        self._asked = frozenset(str(name) for name in (*(each.point for each in identity.expect), *firmware))
        self._heard: dict[str, Value] = {}
        self.refusal = UNREAD if self._asked else ""
        """Why nothing may be written; empty when the device is known."""

    def take(self, readings: Sequence[Reading]) -> Sequence[Reading]:
        """Learn from readings, and return them: marked uncertain while the device is not known."""
        if not self._asked:
            return readings
        said = {r.point: r.value for r in readings if r.point in self._asked and r.quality == GOOD}
        if said:
            self._heard |= said
            self.refusal = mismatch(self._identity, self._heard)
        if not self.refusal:
            return readings
        doubt = uncertain("firmware")
        return [Reading(r.anchor, r.point, r.value, doubt) if self._is_doubtful(r) else r for r in readings]

    def lost(self) -> None:
        """Forget: the device was silent or out of reach, and another may stand in its place."""
        self._heard.clear()
        self.refusal = UNREAD if self._asked else ""

    def _is_doubtful(self, reading: Reading) -> bool:
        return reading.quality == GOOD and reading.point not in self._asked


def mismatch(identity: Identity, heard: dict[str, Value]) -> str:
    """Return in words why what a device said of itself is not what was expected; empty when it is."""
    for expected in identity.expect:
        fault = _unexpected(expected, heard.get(expected.point))
        if fault:
            return fault
    if identity.firmware is None:
        return ""
    return _out_of_range(identity.firmware, heard.get(identity.firmware.point))


def _unexpected(expected: Expected, value: Value) -> str:
    if value is None:
        return f"{expected.point} has not been read"
    if expected.any_of and not any(value == each and type(value) is type(each) for each in expected.any_of):
        return f"{expected.point} is {shown(value)}, wanted {' or '.join(map(shown, expected.any_of))}"
    if expected.begins_with is not None and not str(value).startswith(expected.begins_with):
        return f"{expected.point} is {shown(value)}, wanted a text that begins with {shown(expected.begins_with)}"
    return ""


def _out_of_range(firmware: FirmwareRange, value: Value) -> str:
    if value is None:
        return f"{firmware.point} has not been read"
    found, first, last = (_version(each) for each in (value, firmware.first, firmware.last))
    # 1.9 stands for all of 1.9.x when it is the last one.
    if found and first <= found and found[: len(last)] <= last:
        return ""
    return f"{firmware.point} is {shown(value)}, wanted {shown(firmware.first)} to {shown(firmware.last)}"


def _version(value: Value) -> tuple[float, ...]:
    """Return a version as numbers that can be compared; nothing when there is no number in it."""
    if isinstance(value, (int, float)):
        return (float(value),)
    return tuple(float(part) for part in re.findall(r"\d{1,9}", value or ""))
