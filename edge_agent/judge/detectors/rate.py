"""A change faster than the point's `max_rate`: no statistics, one pair of readings is enough.

Of a counter only the rise counts: one that falls was reset or has wrapped.
"""

import math
from typing import NamedTuple

from edge_agent.judge.detector import Learned
from edge_agent.judge.figures import figures, parts
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.words import Ruler, clock
from edge_agent.model.site import DriftSettings

PROOF = 300.0
"""Decades of what needs no statistics."""
QUIET = 12
"""Readings in a row within the rate after which it is over."""
LEAST_S = 1e-3
"""Two readings of one moment are taken as so far apart."""


class Leap(NamedTuple):
    """The change that was too fast."""

    since_ms: int
    raised_ms: int
    rate: float
    """Per second, with sign."""
    quiet: int


def begin(subject: Subject, settings: DriftSettings) -> "Rate | None":  # noqa: ARG001 - one shape for all
    """Return the detector for a point that has a largest believable rate."""
    limit = subject.point.max_rate
    return None if limit is None else Rate(limit, falls=subject.variable.kind != "counter")


class Rate:
    """The steps of one variable. `limit` is per second."""

    __slots__ = ("_before", "_falls", "_limit", "_rate", "open")

    kind = "rate"
    share = 1.0

    def __init__(self, limit: float, *, falls: bool) -> None:
        self._limit = limit
        self._falls = falls
        self._before = math.nan
        self._rate = 0.0
        self.open: Leap | None = None

    def learn(self, learned: Learned) -> None:
        """Do nothing: there is nothing to learn: the rate is the profile's."""

    def update(self, step: Step) -> float:
        """Take a reading; return `PROOF` for one that cannot be believed."""
        before, self._before = self._before, step.value
        if before != before or step.elapsed_ns <= 0:  # noqa: PLR0124 - NaN before the first reading
            return 0.0
        rate = self._rate = (step.value - before) / max(step.elapsed_ns * 1e-9, LEAST_S)
        if rate > self._limit or (rate < -self._limit and self._falls):
            return PROOF
        if self.open is not None:
            quiet = self.open.quiet + 1
            self.open = None if quiet >= QUIET else self.open._replace(quiet=quiet)
        return 0.0

    def alarm(self, step: Step) -> None:
        """Open the change, or take note of a further one."""
        if self.open is None:
            self.open = Leap(step.at_ms, step.at_ms, self._rate, 0)
        else:
            self.open = self.open._replace(quiet=0)

    def reset(self) -> None:
        """Do nothing: nothing is under way between two readings."""

    def conclude(self, subject: Subject) -> Conclusion | None:  # noqa: ARG002 - one shape for all detectors
        """Return how the open change stands."""
        return None if self.open is None else Conclusion("medium", self.open.since_ms, self.open.raised_ms, 0.0)

    def sentence(self, subject: Subject) -> str:
        """Return the open change in words."""
        assert self.open is not None
        say = Ruler(subject.unit, 1.0).exactly
        how = "rose" if self.open.rate > 0 else "fell"
        return (
            f"{subject.path} {how} by {say(abs(self.open.rate))} a second at {clock(self.open.since_ms)}, "
            f"faster than the {say(self._limit)} that can be believed"
        )

    def to_state(self) -> list[object]:
        """Return it as plain JSON values, without the rate: it is the profile's."""
        before = None if self._before != self._before else self._before
        return [before, self._rate, None if self.open is None else list(self.open)]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        before, rate, leap = parts(state, 3)
        self._before = math.nan if before is None else figures([before], 1)[0]
        self._rate = figures([rate], 1)[0]
        if leap is not None:
            since_ms, raised_ms, fast, quiet = figures(leap, 4)
            self.open = Leap(int(since_ms), int(raised_ms), fast, int(quiet))
