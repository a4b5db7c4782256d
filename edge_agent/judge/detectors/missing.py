"""Readings that do not come, or come late: the length of the hole, against how often this variable has holes.

A reading that is not good is a hole of one; a good one that comes after n usual intervals is a hole of n - 1, and so is
a silence of n intervals that goes on: nothing has to arrive for it to be noticed. The share of holes is learned, so
that a device which talks when it likes is not a device that is always missing.
"""

import itertools
import math
from typing import NamedTuple

from edge_agent.judge.detector import Learned
from edge_agent.judge.figures import figures, parts
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.words import clock, span
from edge_agent.model.site import DriftSettings

SHARE = 20.0
PRIOR_HOLES, PRIOR_GOOD = 0.5, 20.0
MEMORY = 4096.0
"""Readings over which the share of holes is taken."""
LEAST_HOLE = 3
"""Readings that any link may lose."""
LONGER = 2
"""How many times the longest hole before a hole must be to be news."""
LATE = 2.5e6
"""Usual intervals after which a reading is late, in ns of an interval in ms."""
MOST_LATE = 1_000_000
"""Readings that a hole is counted as at most."""
BACK = 5
"""Good readings in a row after which it is over."""


class Hole(NamedTuple):
    """A hole that is open."""

    since_ms: int
    raised_ms: int
    readings: int
    good: int


def begin(subject: Subject, settings: DriftSettings) -> "Missing | None":  # noqa: ARG001 - one shape for all
    """Return the detector for any variable: all are expected to be heard."""
    return Missing()


class Missing:
    """The holes of one variable."""

    __slots__ = ("_good", "_good_ms", "_holes", "_interval_ms", "_longest", "_run", "open")

    kind = "missing"
    share = SHARE

    def __init__(self) -> None:
        self.open: Hole | None = None
        self._interval_ms = 0.0
        self._good, self._holes = PRIOR_GOOD, PRIOR_HOLES
        self._run = 0
        self._longest = 0.0
        self._good_ms = 0

    def learn(self, learned: Learned) -> None:
        """Set out from the usual interval, and from what the first warm-up had of holes by it."""
        first, self._interval_ms = self._interval_ms == 0.0, learned.expected.interval_ms
        if first and self._holes == PRIOR_HOLES:  # else some readings were not good, and these holes were counted
            for before, now in itertools.pairwise(learned.times_ms):
                if (late := self._late((now - before) * 1_000_000)) > 0:
                    self._count(late)

    def update(self, step: Step) -> float:
        """Take a good reading; return the decades of the hole before it."""
        late = 0
        interval_ms = self._interval_ms
        if interval_ms and step.elapsed_ns > LATE * interval_ms and not self._run:
            late = self._late(step.elapsed_ns)
        if late or self._run:
            decades = self._rarity(late) if step.ready and late and self.open is None else 0.0
            self._count(max(late, self._run))
        else:
            decades = 0.0
            self._good += 1.0
            if self._good > MEMORY:
                self._good *= 0.5
                self._holes = max(PRIOR_HOLES, self._holes * 0.5)
        if self.open is not None:
            self._back(self.open)
        self._good_ms = step.at_ms
        return decades

    def missed(self) -> float:
        """Take note of a reading that is not good; return the decades of the hole under way."""
        self._run += 1
        if self.open is not None:
            self.open = self.open._replace(readings=self.open.readings + 1, good=0)
            return 0.0
        return self._rarity(self._run)

    def overdue(self, silent_ns: int) -> float:
        """Return the decades of a silence that goes on, by its length so far; 0 while a hole is open."""
        return self._rarity(self._late(silent_ns)) if self.open is None else 0.0

    def alarm(self, step: Step) -> None:
        """Open the hole under way, or the one that has just ended: `step.elapsed_ns` is how long it is."""
        if self.open is None:
            began_ms = step.at_ms - max(0, step.elapsed_ns) // 1_000_000
            since_ms = min(self._good_ms, began_ms) if self._good_ms else step.at_ms
            self.open = Hole(since_ms, step.at_ms, max(self._run, self._late(step.elapsed_ns), 1), 0)

    def reset(self) -> None:
        """Do nothing: a hole is what it is, whatever others found."""

    def conclude(self, subject: Subject) -> Conclusion | None:  # noqa: ARG002 - one shape for all detectors
        """Return how the open hole stands."""
        return None if self.open is None else Conclusion("medium", self.open.since_ms, self.open.raised_ms, 0.0)

    def sentence(self, subject: Subject) -> str:
        """Return the open hole in words."""
        assert self.open is not None
        hole = self.open
        usual = f", usually each {span(self._interval_ms / 1e3)}" if self._interval_ms else ""
        return f"{subject.path} gave no good reading after {clock(hole.since_ms)}{usual}; {hole.readings} or more are missing"

    def _late(self, elapsed_ns: int) -> int:
        """Return how many readings should have come in a time without any, the one that ends it left out."""
        if self._interval_ms <= 0.0:
            return 0
        return max(0, min(round(elapsed_ns / (1e6 * self._interval_ms)) - 1, MOST_LATE))

    def _rarity(self, run: int) -> float:
        if run < LEAST_HOLE or run <= LONGER * self._longest:
            return 0.0
        return -run * math.log10(self._holes / (self._holes + self._good))

    def _count(self, run: int) -> None:
        """Learn a hole that is over. A long one was one event, not so many."""
        self._holes += min(run, BACK)
        if self.open is None:
            self._longest = max(self._longest, run)
        self._run = 0

    def _back(self, hole: Hole) -> None:
        self.open = None if hole.good + 1 >= BACK else hole._replace(good=hole.good + 1)

    def to_state(self) -> list[object]:
        """Return it as plain JSON values."""
        own = [self._interval_ms, self._good, self._holes, self._run, self._longest, self._good_ms]
        return [own, None if self.open is None else list(self.open)]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        own, hole = parts(state, 2)
        interval_ms, good, holes, run, self._longest, good_ms = figures(own, 6)
        self._interval_ms, self._good, self._holes = max(0.0, interval_ms), max(1.0, good), max(PRIOR_HOLES, holes)
        self._run, self._good_ms = int(run), int(good_ms)
        if hole is not None:
            self.open = Hole(*map(int, figures(hole, 4)))
