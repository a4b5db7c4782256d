"""A value beyond the point's `alarm_above` or `alarm_below`: no statistics, one reading is enough.

It is over after `QUIET` good readings within the limits in a row, so that a value which rests on its limit does
not flap. It is said once: how far beyond the value stands is in the value itself.
"""

import math
from typing import NamedTuple

from edge_agent.judge.detector import Learned
from edge_agent.judge.figures import figures, parts
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.words import Ruler, clock
from edge_agent.model.site import DriftSettings

SEVERITY = "high"
PROOF = 300.0
"""Decades of what needs no statistics."""
NEVER = -math.inf
QUIET = 12
"""A value on the edge, beyond it every other time, comes to such a run once in 8 000 readings."""


class Crossing(NamedTuple):
    """The reading that went beyond."""

    above: bool
    value: float
    at_ms: int


def begin(subject: Subject, settings: DriftSettings) -> "Limit | None":  # noqa: ARG001 - one shape for all
    """Return the detector for a point with a limit."""
    limits = subject.above is not None or subject.below is not None
    return Limit(subject.above, subject.below) if limits else None


class Limit:
    """The limits of one variable; a missing one is never passed."""

    __slots__ = ("_above", "_below", "_quiet", "open")

    kind = "limit"
    share = 1.0

    def __init__(self, above: float | None, below: float | None) -> None:
        self._above = math.inf if above is None else above
        self._below = NEVER if below is None else below
        self._quiet = 0
        self.open: Crossing | None = None

    def learn(self, learned: Learned) -> None:
        """Do nothing: there is nothing to learn: the limits are the configuration's."""

    def update(self, step: Step) -> float:
        """Take a reading; return `PROOF` for the one that goes beyond a limit."""
        value = step.value
        if self._below <= value <= self._above:
            if self.open is not None:
                self._quiet += 1
                if self._quiet >= QUIET:
                    self.open = None
            return 0.0
        self._quiet = 0
        return PROOF if self.open is None or self.open.above != (value > self._above) else 0.0

    def alarm(self, step: Step) -> None:
        """Open the crossing."""
        self.open = Crossing(step.value > self._above, step.value, step.at_ms)

    def reset(self) -> None:
        """Do nothing: nothing is under way between two readings."""

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

    def to_state(self) -> list[object]:
        """Return it as plain JSON values, without the limits: they are the configuration's."""
        crossing = None if self.open is None else [float(self.open.above), self.open.value, self.open.at_ms]
        return [self._quiet, crossing]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        quiet, crossing = parts(state, 2)
        self._quiet = int(figures([quiet], 1)[0])
        if crossing is not None:
            above, value, at_ms = figures(crossing, 3)
            self.open = Crossing(bool(above), value, int(at_ms))
