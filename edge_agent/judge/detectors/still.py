"""A value that all but stands still: it moves from reading to reading far less than it usually does.

The size of each step is raised to the power 2/3, which makes it all but normal when steps are (Wilson and Hilferty
1931), and one chart for a large fall runs over it: small steps are what it is about, and they weigh more so. What moves this little is seldom the plant: a sensor that hangs on its last digit, a filter set too strong, a bad contact.
"""

import itertools
import math
from typing import NamedTuple

from edge_agent.judge.cusum import line
from edge_agent.judge.detector import Learned
from edge_agent.judge.figures import figures, parts
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.words import clock
from edge_agent.model.site import DriftSettings

SHARE = 20.0
POWER = 2 / 3
K = 0.9
"""In sigma of the transformed steps: the chart is for steps a third as large as usual, or smaller."""
LARGEST = 2.0
"""In sigma: how much of a large step one reading may bring back."""
LEAST_STEPS = 60
"""Fewer steps say nothing of what is usual."""
CALM = 0.5
"""Share of readings with a step at all below which a variable rests by habit, and says nothing by resting."""
LEAST_SIGMA = 0.05
"""Of the transformed steps: a variable that always moves by the same step has no smaller ones to compare."""
AWAKE = 8
"""Readings in a row that move as usual, after which it is over."""


class Numb(NamedTuple):
    """A value that hardly moves."""

    since_ms: int
    raised_ms: int
    awake: int
    """Readings in a row that moved as usual."""


def begin(subject: Subject, settings: DriftSettings) -> "NearlyStuck | None":  # noqa: ARG001 - one shape for all
    """Return the detector for a variable that should move."""
    return NearlyStuck() if subject.shifts else None


class NearlyStuck:
    """The steps of one variable."""

    __slots__ = ("_before", "_line", "_per", "_since_ms", "_sum", "_usual", "open")

    kind = "still"
    share = SHARE

    def __init__(self) -> None:
        self.open: Numb | None = None
        self._line = line(K, 5.0)
        self._usual = self._per = 0.0
        """A step falls short of the usual one by `_usual` - `_per` · step^(2/3), in sigma; 0 when nothing is usual."""
        self._before = math.nan
        self._sum = 0.0
        self._since_ms = 0

    def learn(self, learned: Learned) -> None:
        """Set out from the steps of the warm-up."""
        values = learned.values
        steps = [abs(b - a) for a, b in itertools.pairwise(values)]
        moved = [step for step in steps if step > 0.0]
        self._line = line(K, learned.bar)
        self._usual = self._per = 0.0
        if len(moved) < LEAST_STEPS or len(moved) < CALM * len(steps):
            return
        unit = 1 / (math.fsum(moved) / len(moved))
        sizes = [min(step * unit, 10.0) ** POWER for step in steps]
        mean = math.fsum(sizes) / len(sizes)
        sigma = math.sqrt(math.fsum((w - mean) ** 2 for w in sizes) / len(sizes))
        # The least that a step can show must lie far enough below, or the chart cannot rise.
        if sigma >= LEAST_SIGMA and mean >= 1.3 * K * sigma:
            self._usual, self._per = mean / sigma, unit**POWER / sigma

    def update(self, step: Step) -> float:
        """Take a reading; return the decades of the chart."""
        before, self._before = self._before, step.value
        usual = self._usual
        if usual == 0.0 or not step.follows or not step.ready:
            return 0.0
        low = usual - self._per * math.pow(abs(step.value - before) * step.quiet, POWER)
        if self.open is not None:
            self._wake(self.open, low)
            return 0.0
        total = self._sum + (max(-LARGEST, low)) - K
        if total <= 0.0:
            self._sum = 0.0
            return 0.0
        if self._sum == 0.0:
            self._since_ms = step.at_ms
        self._sum = total
        base, slope = self._line
        return base + slope * total

    def alarm(self, step: Step) -> None:
        """Open what the chart has seen."""
        self._sum = 0.0
        if self.open is None:
            self.open = Numb(self._since_ms, step.at_ms, 0)

    def reset(self) -> None:
        """Begin the chart anew."""
        self._sum = 0.0

    def conclude(self, subject: Subject) -> Conclusion | None:  # noqa: ARG002 - one shape for all detectors
        """Return how it stands."""
        return None if self.open is None else Conclusion("medium", self.open.since_ms, self.open.raised_ms, 0.0)

    def sentence(self, subject: Subject) -> str:
        """Return it in words."""
        assert self.open is not None
        return (
            f"{subject.path} hardly moves since {clock(self.open.since_ms)}: its steps are a fraction of the usual ones"
        )

    def _wake(self, numb: Numb, low: float) -> None:
        awake = numb.awake + 1 if low < K else 0
        self.open = None if awake >= AWAKE else numb._replace(awake=awake)

    def to_state(self) -> list[object]:
        """Return it as plain JSON values."""
        own = [self._usual, self._per, self._sum, self._since_ms]
        before = None if self._before != self._before else self._before
        return [own, before, None if self.open is None else list(self.open)]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned; `learn` came before. Raises WireError."""
        own, before, numb = parts(state, 3)
        usual, per, self._sum, since_ms = figures(own, 4)
        self._usual, self._per, self._since_ms = max(0.0, usual), max(0.0, per), int(since_ms)
        self._before = math.nan if before is None else figures([before], 1)[0]
        if numb is not None:
            self.open = Numb(*map(int, figures(numb, 3)))
