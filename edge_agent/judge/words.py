"""Numbers as a person reads them: amounts with units, times of day, spans and rates."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.model.reading import iso_utc

SIGMA = "\u03c3"  # by number: by name, a run without bytecode loads a megabyte of names

_SPANS = ((90.0, 1.0, "s"), (5400.0, 60.0, "min"), (172_800.0, 3600.0, "h"), (math.inf, 86400.0, "d"))
"""Up to how many seconds, in which unit, and its sign."""
_RATES = ((10.0, 1.0, "s"), (600.0, 60.0, "min"), (172_800.0, 3600.0, "h"), (math.inf, 86400.0, "d"))
"""Up to how many seconds a sigma, in which unit of time, and its sign."""
_LONGEST = 1e7
"""Beyond it digits before the point are no longer counted by eye."""


class Ruler(NamedTuple):
    """How a variable's amounts are written: its unit, and the sigma that says which digits mean something."""

    unit: str | None
    sigma: float

    def amount(self, value: float) -> str:
        """Return "61.0 degC": as many decimals as sigma makes meaningful."""
        decimals = max(0, -math.floor(math.log10(self.sigma)))
        plain = abs(value) < _LONGEST and decimals <= 6  # noqa: PLR2004 - a micro is still read by eye
        return self._with_unit(f"{value:.{decimals}f}" if plain else f"{value:.4g}")

    def exactly(self, value: float) -> str:
        """Return "85 degC": a number from a configuration, as it was written there."""
        return self._with_unit(f"{value:g}")

    def rate(self, slope: float) -> str:
        """Return "0.8 degC/h": a change per second as the rate at which a person would put it."""
        seconds_a_sigma = self.sigma / abs(slope) if slope else math.inf
        _, seconds, sign = next(row for row in _RATES if seconds_a_sigma <= row[0])
        return self._with_unit(f"{abs(slope) * seconds:.2g}") + "/" + sign

    def _with_unit(self, number: str) -> str:
        return f"{number} {self.unit}" if self.unit else number


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return "a, b and c", or "a, b, c and 7 more"."""
    shown, rest = list(names[:most]), len(names) - most
    if rest > 0:
        shown = [*shown[: most - 1], f"{rest + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def clock(at_ms: int) -> str:
    """Return the time of day "14:02:11 UTC" of a wall time in milliseconds since 1970."""
    return f"{iso_utc(at_ms)[11:19]} UTC"


_SHORT_S = 2


def span(seconds: float) -> str:
    """Return "5 h": a time from now, in the unit a person would use; below two seconds to two digits."""
    _, unit, sign = next(row for row in _SPANS if seconds < row[0])
    return f"{seconds / unit:.0f} {sign}" if seconds >= _SHORT_S else f"{seconds:.2g} s"


def duration(seconds: float) -> str:
    """Return "5m" or "500ms": a time as it is written in agent.toml."""
    units = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
    for sign, unit in units:
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:.0f}{sign}"
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"
