"""A value beyond the point's `alarm_above` or `alarm_below`: no statistics, one reading is enough.

It is over after `QUIET` good readings within the limits in a row, so that a value which rests on its limit does
not flap. It is said once: how far beyond the value stands is in the value itself.
"""

import math
from typing import NamedTuple, TypedDict

from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.words import Ruler, clock

SEVERITY = "high"
QUIET = 12
"""A value on the edge, beyond it every other time, comes to such a run once in 8 000 readings."""


class Crossing(NamedTuple):
    """The reading that went beyond."""

    above: bool
    value: float
    at_ms: int


class LimitState(TypedDict):
    """A `Limit` in plain JSON values."""

    open: tuple[bool, float, int] | None
    quiet: int


class Limit:
    """The limits of one variable; a missing one is never passed."""

    __slots__ = ("_above", "_below", "_quiet", "open")

    kind = "limit"

    def __init__(self, above: float | None, below: float | None) -> None:
        self._above = math.inf if above is None else above
        self._below = -math.inf if below is None else below
        self._quiet = 0
        self.open: Crossing | None = None

    def update(self, value: float, at_ms: int) -> None:
        """Take a finite reading."""
        if self._below <= value <= self._above:
            if self.open is not None:
                self._quiet += 1
                if self._quiet >= QUIET:
                    self.open = None
            return
        self._quiet = 0
        above = value > self._above
        if self.open is None or self.open.above != above:
            self.open = Crossing(above, value, at_ms)

    def conclude(self, subject: Subject) -> Conclusion | None:  # noqa: ARG002 - one shape for all detectors
        """Return how the open crossing stands."""
        return None if self.open is None else Conclusion(SEVERITY, self.open.at_ms, self.open.at_ms, size=0.0)

    def sentence(self, subject: Subject) -> str:
        """Return the open crossing in words."""
        assert self.open is not None
        above, value, at_ms = self.open
        say = Ruler(subject.unit, 1.0).exactly
        side, limit = ("above", self._above) if above else ("below", self._below)
        return f"{subject.path} went {side} its limit of {say(limit)} at {clock(at_ms)}: {say(value)}"

    def evidence(self) -> float:
        """Return the score: one good reading beyond a limit is proof."""
        return 1.0

    def confidence(self) -> float:
        """Return how far the baseline can be relied upon: there is none to doubt."""
        return 1.0

    def to_state(self) -> LimitState:
        """Return it as plain JSON values, without the limits: they are the configuration's."""
        return {"open": self.open, "quiet": self._quiet}

    def resume(self, state: LimitState) -> None:
        """Go on from what `to_state` returned."""
        self.open = None if state["open"] is None else Crossing(*state["open"])
        self._quiet = state["quiet"]
