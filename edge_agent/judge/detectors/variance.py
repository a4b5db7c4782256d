"""A variable that scatters more than it did, or less: a two-sided CUSUM chart over the size of its innovations.

Their size about the level where they are now: a level that has left, or wanders, is no scatter. Its mean, sigma and shape
are learned, for no real variable is normal; a block of readings whose mean varies more than independence would have
it widens sigma, for there are variables whose scatter itself wanders.
"""

import math
from array import array
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.judge import longrun
from edge_agent.judge.baseline import CLIP
from edge_agent.judge.charts import Charts, at_zero, charts_of, sides_of, standard_error
from edge_agent.judge.cusum import shape_of
from edge_agent.judge.detector import Learned
from edge_agent.judge.figures import figures, parts
from edge_agent.judge.learning import ENOUGH
from edge_agent.judge.longrun import BLOCK, SUM
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.words import clock
from edge_agent.model.site import DriftSettings

if TYPE_CHECKING:
    from edge_agent.judge.expected import Expected

KS = (0.25,)
"""One chart for all: two would have a share of the false alarms each."""
SHARE = 1.9
MEAN, SIGMA = 0.797, 0.598
"""Of |z| when z is standard normal, at most 3."""
PRIOR = 32.0
"""Readings that the normal values weigh as much as."""
LEAST_SIGMA = 0.05
"""Of the sizes: even two values scatter more."""
PACE = 1 / 32
"""Of a reading in the level of the innovations, and in that of their size once a change is open."""
SETTLED = 960
"""Readings after which the new scatter is the usual one."""
HIGH_RATIO = 3.0
MOST_RATIO = 1e6
"""More is said as so much."""
SIDES = sides_of(KS)
READINGS, USUAL, SCATTER, PER, LEVEL = range(SIDES, SIDES + 5)
"""Where, behind the charts' sides, it stands how many readings tell of the sizes, their mean and sigma, one over what
their long run widens it by, and the level of the innovations."""


class Wilder(NamedTuple):
    """A change of scatter that is open."""

    since_ms: int
    raised_ms: int
    ratio: float
    """Scatter now over scatter before, more than 0."""
    readings: int
    level: float
    """Of the size of innovations, as a share of its mean: where it is now."""


def begin(subject: Subject, settings: DriftSettings) -> "Variance | None":  # noqa: ARG001 - one shape for all
    """Return the detector for a variable whose scatter should rest."""
    return Variance() if subject.shifts else None


class Variance:
    """The charts of one variable's scatter."""

    __slots__ = (
        "_charts",
        "_expected",
        "_least",
        "_long_run",
        "_own",
        "_taken",
        "open",
    )

    kind = "variance"
    share = SHARE

    def __init__(self) -> None:
        self.open: Wilder | None = None
        self._charts: Charts | None = None
        self._own = at_zero(KS) + array("d", (0.0, MEAN, SIGMA, 1.0, 0.0))
        self._expected: Expected | None = None
        self._least = math.inf  # the smallest of this block's sizes that were clipped, as it was
        self._long_run = longrun.begin()
        self._taken = 0  # readings of the block under way

    def learn(self, learned: Learned) -> None:
        """Set out from the innovations of the warm-up."""
        self._expected = learned.expected
        sizes = [min(abs(error), CLIP) for error in learned.errors]
        self._charts = charts_of(KS, learned.bar, shape_of(sizes))
        size = PRIOR + len(sizes)
        mean = (PRIOR * MEAN + math.fsum(sizes)) / size
        squares = PRIOR * (MEAN**2 + SIGMA**2) + math.fsum(each * each for each in sizes)
        sigma = math.sqrt(max(LEAST_SIGMA**2, squares / size - mean**2))
        self._own[:LEVEL] = at_zero(KS) + array("d", (size, mean, sigma, 1.0))
        longrun.prime(self._long_run, [(each - mean) / sigma for each in sizes])
        self._stand_on()

    def update(self, step: Step) -> float:
        """Take a reading; return the decades of the highest chart."""
        if not step.ready:
            return 0.0
        own = self._own
        level = own[LEVEL]
        away = step.error - level
        size = abs(away)
        if size > CLIP:
            self._least = min(self._least, size)
            size = CLIP
            away = CLIP if away > 0.0 else -CLIP
        own[LEVEL] = level + PACE * away
        charts = self._charts
        assert charts is not None
        if self.open is not None:
            self._follow(self.open, size)
        plain = (size - own[USUAL]) / own[SCATTER]
        self._long_run[SUM] += plain
        self._taken += 1
        decades = charts.update(own, plain * own[PER], step.heard, step.at_ms)
        if self._taken >= BLOCK:
            self._learn(charts, decades)
        return decades

    def alarm(self, step: Step) -> None:
        """Open a change of scatter from what the highest chart has seen, and go on from the new one."""
        charts, expected, own = self._charts, self._expected, self._own
        assert charts is not None
        assert expected is not None
        lead = charts.lead(own, step.heard)
        mean = own[USUAL] + lead.sign * lead.mean * own[SCATTER] / own[PER]
        ratio = max(mean / own[USUAL], 0.01)
        if lead.sign > 0 and self._least < math.inf:  # what is clipped hides by how much
            ratio = max(ratio, self._least / CLIP)
        self._least = math.inf
        was = 1.0 if self.open is None else self.open.ratio
        since_ms = lead.since_ms if self.open is None else self.open.since_ms
        both = min(max(was * ratio, 1 / MOST_RATIO), MOST_RATIO)
        expected.rescale(ratio, lead.readings)
        own[READINGS] = min(own[READINGS], PRIOR + lead.readings)  # no more is known of the new one
        own[:SIDES] = at_zero(KS)
        longrun.alarm(self._long_run, step.again)
        self._taken = 0
        self._stand_on()
        if self.open is not None and abs(math.log(both)) < abs(math.log(was)) / 2:
            self.open = None
        else:
            self.open = Wilder(since_ms, step.at_ms, both, 0, 1.0)

    def reset(self) -> None:
        """Begin the charts anew."""
        self._own[:SIDES] = at_zero(KS)
        longrun.drop_block(self._long_run)
        self._taken = 0

    def conclude(self, subject: Subject) -> Conclusion | None:  # noqa: ARG002 - one shape for all detectors
        """Return how the open change stands."""
        if self.open is None:
            return None
        ratio = self.open.ratio
        severity = "high" if ratio >= HIGH_RATIO else "medium" if ratio > 1 else "low"
        return Conclusion(severity, self.open.since_ms, self.open.raised_ms, max(ratio, 1 / ratio))

    def sentence(self, subject: Subject) -> str:
        """Return the open change in words."""
        assert self.open is not None
        ratio = self.open.ratio
        how = f"{ratio:.1f} times as much as" if ratio > 1 else f"only {ratio:.2g} times as much as"
        return f"{subject.path} scatters {how} in its baseline since {clock(self.open.since_ms)}"

    def _follow(self, change: Wilder, size: float) -> None:
        level = change.level + PACE * (size / self._own[USUAL] - change.level)
        if change.readings >= SETTLED:
            self.open = None
            return
        self.open = change._replace(readings=change.readings + 1, level=level)

    def _learn(self, charts: Charts, decades: float) -> None:
        """Learn the block that is full, unless it is under suspicion."""
        trusted = decades < charts.suspicion
        if trusted:
            self._least = math.inf
        own = self._own
        if trusted and own[READINGS] < ENOUGH:
            own[READINGS] += BLOCK
            by = self._long_run[SUM] * own[SCATTER] / own[READINGS]
            own[USUAL] += by
            own[SCATTER] = math.sqrt(max(LEAST_SIGMA**2, own[SCATTER] ** 2 - by**2))
        longrun.end_block(self._long_run, trusted=trusted)
        self._taken = 0
        self._stand_on()

    def _stand_on(self) -> None:
        assert self._charts is not None
        self._own[PER] = 1 / longrun.factor(self._long_run)
        self._charts = self._charts.widened(standard_error(self._own[READINGS]))

    def to_state(self) -> list[object]:
        """Return it as plain JSON values."""
        least = 0.0 if self._least == math.inf else self._least
        own = [*self._own[SIDES:], self._taken, least]
        charts = None if self._charts is None else self._charts.to_state(self._own)
        return [own, list(self._long_run), charts, None if self.open is None else list(self.open)]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned; `learn` came before. Raises WireError."""
        own, long_run, charts, change = parts(state, 4)
        size, mean, sigma, _, level, taken, least = figures(own, 7)
        self._long_run, self._taken = longrun.resumed(long_run), int(taken)
        if self._charts is None:
            return
        level = max(-CLIP, min(CLIP, level))
        self._own[SIDES:] = array("d", (max(1.0, size), max(1e-6, mean), max(LEAST_SIGMA, sigma), 1.0, level))
        self._least = least if least > 0.0 else math.inf
        self._stand_on()
        self._charts, self._own[:SIDES] = self._charts.resumed(charts)
        if change is not None:
            since_ms, raised_ms, ratio, readings, level = figures(change, 5)
            self.open = Wilder(
                int(since_ms), int(raised_ms), min(MOST_RATIO, max(1 / MOST_RATIO, ratio)), int(readings), level
            )
