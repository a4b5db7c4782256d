"""A day that is not as days are: what is left of the readings when the season is taken off has a season itself.

The innovations of a season are gathered by phase. When it is over, the energy of their first two harmonics is that of
four independent normal figures, if nothing has changed: a chi-square, whose tail says how rare it is.
"""

import math
from array import array
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.judge.detector import Learned
from edge_agent.judge.figures import figures, parts, shared
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.words import SIGMA, clock
from edge_agent.model.site import DriftSettings

if TYPE_CHECKING:
    from edge_agent.judge.expected import Expected

SHARE = 20.0
BINS = 16
LEAST_READINGS = 64
"""A season of fewer tells nothing."""
WIDENING = 1.5
"""By how much the energy is taken to be smaller, for what a fitted season does not know of itself."""


NOTHING = array("d", [0.0]) * BINS
"""Shared by all, and never changed in place: most have gathered nothing."""


class Odd(NamedTuple):
    """A season that was not as usual."""

    since_ms: int
    raised_ms: int
    swing: float
    """Half the distance between the highest and the lowest of what was left, in sigma."""


def begin(subject: Subject, settings: DriftSettings) -> "Season | None":
    """Return the detector for a variable whose level should rest but for its season."""
    return Season(shared(int(settings.season * 1000))) if subject.shifts and settings.season else None


class Season:
    """What the season of one variable leaves over, by phase."""

    __slots__ = ("_began_ms", "_count", "_expected", "_period_ms", "_season", "_sums", "_swing", "open")

    kind = "season"
    share = SHARE

    def __init__(self, period_ms: int) -> None:
        self.open: Odd | None = None
        self._expected: Expected | None = None
        self._period_ms = period_ms
        self._season = -1
        self._began_ms = 0
        self._count = 0
        self._swing = 0.0
        self._sums = NOTHING

    def learn(self, learned: Learned) -> None:
        """Set out from a baseline."""
        self._expected = learned.expected

    def update(self, step: Step) -> float:
        """Take a reading; return the decades of the season that is over with it."""
        expected = self._expected
        if not step.ready or expected is None or expected.profile is None or expected.profile.curve is None:
            return 0.0
        season = step.at_ms // self._period_ms
        decades = 0.0
        if season != self._season:
            decades = self._weigh(step.at_ms, season)
        if self._sums is NOTHING:
            self._sums = array("d", NOTHING)
        self._sums[step.into_ms * BINS // self._period_ms] += step.z
        self._count += 1
        return decades

    def alarm(self, step: Step) -> None:
        """Open the season that is over."""
        since_ms = step.at_ms - self._period_ms if self.open is None else self.open.since_ms
        self.open = Odd(since_ms, step.at_ms, self._swing)

    def reset(self) -> None:
        """Forget the season under way: its phases are not comparable any more."""
        self._sums = NOTHING
        self._count = 0
        self._season = -1

    def conclude(self, subject: Subject) -> Conclusion | None:  # noqa: ARG002 - one shape for all detectors
        """Return how the odd season stands."""
        return (
            None
            if self.open is None
            else Conclusion("medium", self.open.since_ms, self.open.raised_ms, self.open.swing)
        )

    def sentence(self, subject: Subject) -> str:
        """Return the odd season in words."""
        assert self.open is not None
        return (
            f"{subject.path} goes through its season otherwise than usual since {clock(self.open.since_ms)}, "
            f"by a swing of {self.open.swing:.1f} {SIGMA} of its innovations"
        )

    def _weigh(self, at_ms: int, season: int) -> float:
        whole = self._season >= 0 and season == self._season + 1 and self._count >= LEAST_READINGS
        decades = self._rarity() if whole and at_ms - self._began_ms > 0.9 * self._period_ms else 0.0
        if whole and decades < 1.0:
            self.open = None
        self._season, self._began_ms, self._count = season, at_ms, 0
        self._sums = NOTHING
        return decades

    def _rarity(self) -> float:
        """Return the decades of the season's energy, in readings: it is weighed once a season."""
        mean = math.fsum(self._sums) / BINS
        energy = largest = 0.0
        for harmonic in (1, 2):
            turns = [2 * math.pi * harmonic * (at + 0.5) / BINS for at in range(BINS)]
            cosine = math.fsum((s - mean) * math.cos(turn) for s, turn in zip(self._sums, turns, strict=True))
            sine = math.fsum((s - mean) * math.sin(turn) for s, turn in zip(self._sums, turns, strict=True))
            energy += (cosine**2 + sine**2) * 2 / self._count
            largest = max(largest, math.hypot(cosine, sine) * 2 / self._count)
        self._swing = largest
        half = energy / WIDENING / 2
        # Of a chi-square with four degrees of freedom, beyond 2 x lies e^-x (1 + x).
        return (half - math.log1p(half)) / math.log(10) + math.log10(self._count)

    def to_state(self) -> list[object]:
        """Return it as plain JSON values."""
        own = [self._season, self._began_ms, self._count, self._swing]
        return [
            own,
            None if self._sums is NOTHING else list(self._sums),
            None if self.open is None else list(self.open),
        ]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        own, sums, odd = parts(state, 3)
        season, began_ms, count, self._swing = figures(own, 4)
        self._season, self._began_ms, self._count = int(season), int(began_ms), int(count)
        self._sums = NOTHING if sums is None else array("d", figures(sums, BINS))
        if odd is not None:
            since_ms, raised_ms, swing = figures(odd, 3)
            self.open = Odd(int(since_ms), int(raised_ms), swing)
