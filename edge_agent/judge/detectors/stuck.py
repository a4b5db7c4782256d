"""A value that does not move any more: the length of its runs of equal readings, against its own habit.

A quantised variable repeats honestly, so its rate of repeats is learned, from runs that are over only: a run under way
must not excuse itself. A variable that has once rested long may do so again: a run is no news before it is twice as
long as the longest that came to an end. A run that was an alarm is no habit; but a variable that moved on, and came to
rest at that very value again, is at rest there, as what is switched off is at 0: from then on such runs are learned.
"""

import math
from typing import NamedTuple

from edge_agent.judge.detector import Learned
from edge_agent.judge.figures import figures, parts
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.words import Ruler, clock
from edge_agent.model.site import DriftSettings

SHARE = 20.0
PRIOR_REPEATS, PRIOR_CHANGES = 0.5, 1.0
LONGER = 2
"""How many times the longest run that ended a run must be to be news."""
LEAST_CHANGES = 12.0
"""A variable that changed less often says nothing by not changing."""
LEAST_RUN = 4
"""Repeats that may happen to any variable."""


class Still(NamedTuple):
    """A run that is open."""

    since_ms: int
    raised_ms: int
    value: float
    usual: float
    """The longest run before, in readings."""


def begin(subject: Subject, settings: DriftSettings) -> "Stuck | None":  # noqa: ARG001 - one shape for all
    """Return the detector for a variable that should move."""
    return Stuck() if subject.shifts else None


class Stuck:
    """The runs of one variable."""

    __slots__ = ("_changes", "_longest", "_repeats", "_rest", "_run", "_since_ms", "_value", "open")

    kind = "stuck"
    share = SHARE

    def __init__(self) -> None:
        self.open: Still | None = None
        self._repeats = 0.0
        self._changes = 0.0
        self._longest = 0
        self._run = 0
        self._since_ms = 0
        self._value = math.nan
        self._rest = math.nan  # where the last run that was an alarm was

    def learn(self, learned: Learned) -> None:
        """Do nothing: the rate of repeats was learned with each reading."""

    def update(self, step: Step) -> float:
        """Take a reading; return the decades of the run under way."""
        value = step.value
        if value != self._value:
            if self._run or self._changes < LEAST_CHANGES:
                self._end_run()
            else:
                self._changes += 1.0
            self._value = value
            self._since_ms = step.at_ms
            return 0.0
        run = self._run = self._run + 1
        if self.open is not None or run < LEAST_RUN or run <= LONGER * self._longest or not step.ready:
            return 0.0
        if self._changes < LEAST_CHANGES:
            return 0.0
        repeats, changes = self._repeats + PRIOR_REPEATS, self._changes + PRIOR_CHANGES
        return -run * math.log10(repeats / (repeats + changes))

    def alarm(self, step: Step) -> None:
        """Open the run under way."""
        if self.open is None:
            self.open = Still(self._since_ms, step.at_ms, step.value, self._longest + 1.0)

    def reset(self) -> None:
        """Do nothing: a run is what it is, whatever others found."""

    def conclude(self, subject: Subject) -> Conclusion | None:  # noqa: ARG002 - one shape for all detectors
        """Return how the open run stands."""
        return None if self.open is None else Conclusion("medium", self.open.since_ms, self.open.raised_ms, 0.0)

    def sentence(self, subject: Subject) -> str:
        """Return the open run in words."""
        assert self.open is not None
        value = Ruler(subject.unit, 1.0).exactly(self.open.value)
        usual = f"{self.open.usual:.0f} equal readings" if self.open.usual > 1 else "no two equal readings"
        return f"{subject.path} is stuck at {value} since {clock(self.open.since_ms)}; it had shown {usual} in a row at most"

    def _end_run(self) -> None:
        if self.open is not None and self._value != self._rest:
            self._rest = self._value
        elif self._value == self._value:
            self._repeats += self._run
            self._changes += 1.0
            self._longest = max(self._longest, self._run)
        self.open = None
        self._run = 0

    def to_state(self) -> list[object]:
        """Return it as plain JSON values."""
        value, rest = (None if math.isnan(each) else each for each in (self._value, self._rest))
        own = [self._repeats, self._changes, self._longest, self._run, self._since_ms]
        return [own, value, rest, None if self.open is None else list(self.open)]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        own, value, rest, still = parts(state, 4)
        repeats, changes, longest, run, since_ms = figures(own, 5)
        self._repeats, self._changes = max(0.0, repeats), max(0.0, changes)
        self._longest, self._run, self._since_ms = int(longest), int(run), int(since_ms)
        self._value, self._rest = (math.nan if each is None else figures([each], 1)[0] for each in (value, rest))
        if still is not None:
            since_ms, raised_ms, at, usual = figures(still, 4)
            self.open = Still(int(since_ms), int(raised_ms), at, usual)
