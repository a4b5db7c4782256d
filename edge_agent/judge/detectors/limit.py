"""A value beyond the point's `alarm_above` or `alarm_below`: no statistics, one reading is enough.

It is over after `QUIET` good readings within the limits in a row, so that a value which rests on its limit does
not flap. It is said once: how far beyond the value stands is in the value itself.
"""

import math
from typing import NamedTuple, TypedDict

from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.words import Ruler, clock

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

    def conclude(self, subject: Subject, trust: float) -> Conclusion | None:
        """Return what there is to say of the open crossing; `trust` is the share of good readings (0..1)."""
        if self.open is None:
            return None
        above, value, at_ms = self.open
        say = Ruler(subject.unit, 1.0).exactly
        limit = say(self._above if above else self._below)
        sentence = (
            f"{subject.path} went {'above' if above else 'below'} its limit of {limit} at {clock(at_ms)}: {say(value)}"
        )
        return Conclusion(self.kind, "high", sentence, at_ms, at_ms, score=1.0, confidence=trust)

    def to_state(self) -> LimitState:
        """Return it as plain JSON values, without the limits: they are the configuration's."""
        return {"open": self.open, "quiet": self._quiet}

    def resume(self, state: LimitState) -> None:
        """Go on from what `to_state` returned."""
        self.open = None if state["open"] is None else Crossing(*state["open"])
        self._quiet = state["quiet"]
