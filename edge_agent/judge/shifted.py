"""What is known of a shifted level at one moment (`Shifted`), and the sentence that says it to a person."""

import math
from typing import NamedTuple

from edge_agent.judge.severity import gravity
from edge_agent.judge.subject import Subject
from edge_agent.judge.trend import Course
from edge_agent.judge.words import SIGMA, Ruler, clock, span

TELLING_SIZE = 100.0
"""Beyond so many sigma the figure only says how quiet the variable was."""


class Shifted(NamedTuple):
    """A level that has left its baseline. Amounts are in the variable's unit, slopes per second."""

    mean: float
    """Of the baseline."""
    sigma: float
    deviation: float
    """Of the level now, from the mean."""
    slope: float
    """0 when there is no sure trend."""
    slope_error: float
    since_ms: int
    above: float | None
    below: float | None
    """The variable's limits."""

    @property
    def size(self) -> float:
        """The deviation in sigma, without sign."""
        return abs(self.deviation) / self.sigma

    @property
    def way(self) -> float:
        """The share of the way to the limit on the side of the deviation; 0 without one."""
        limit = self.above if self.deviation > 0 else self.below
        if limit is None:
            return 0.0
        distance = (limit - self.mean) * math.copysign(1.0, self.deviation)
        return 1.0 if distance <= 0 else abs(self.deviation) / distance

    @property
    def ahead(self) -> float | None:
        """The limit that the trend heads for; None without a trend, without a limit, or when it is passed."""
        limit = self.above if self.slope > 0 else self.below if self.slope < 0 else None
        return limit if limit is not None and (limit - self._value) * self.slope > 0 else None

    @property
    def seconds(self) -> float:
        """Until the limit ahead is reached; infinity without one."""
        return math.inf if self.ahead is None else (self.ahead - self._value) / self.slope

    @property
    def severity(self) -> str:
        """How grave it is."""
        return gravity(self.size, self.way, self.seconds)

    def course(self, subject: Subject, limit: float, confidence: float) -> Course:
        """Return what a forecast is made of, where `limit` is the one ahead."""
        slope, error = self.slope, self.slope_error
        return Course(subject.number, subject.path, self._value, slope, error, limit, confidence, subject.criticality)

    @property
    def _value(self) -> float:
        return self.mean + self.deviation


def shift_sentence(subject: Subject, found: Shifted, *, settling: bool) -> str:
    """Return what was found, in one sentence; tests/judge/test_sentences.py shows how it reads."""
    say = Ruler(subject.unit, found.sigma)
    size = f"{found.size:.1f} {SIGMA}" if found.size < TELLING_SIZE else f"over {TELLING_SIZE:g} {SIGMA}"
    side = "above" if found.deviation > 0 else "below"
    sentence = (
        f"{subject.path} is {size} ({say.amount(abs(found.deviation))}) {side} its baseline of {say.amount(found.mean)}"
        f" since {clock(found.since_ms)}"
    )
    if found.slope:
        sentence += f", {'rising' if found.slope > 0 else 'falling'} {say.rate(found.slope)}"
    if found.ahead is not None:
        sentence += f"; reaches {say.exactly(found.ahead)} in about {span(found.seconds)}"
    return sentence + ("; the new level is being learned as the usual one" if settling else "")
