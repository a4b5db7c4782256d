"""A shift that was noticed and has not ended: how large it is, where it heads, and when it is over.

It is over when the level has come half the way back to the baseline. The level is averaged over so many readings
that its own scatter is a third of that way: a small shift takes longer to end, as it took longer to be seen.
"""

import math
from typing import NamedTuple

from edge_agent.judge.baseline import CLIP, Baseline
from edge_agent.judge.days import DayOf
from edge_agent.judge.figures import figures, parts
from edge_agent.judge.trend import SURE, Trend

FASTEST = 1 / 16
"""The most of a reading that goes into the level."""
SCATTER = 18.0
"""An average with weight a scatters by sqrt(a / 2) sigma; for a third of half of d sigma, a = d^2 / 18."""
AT_MIDNIGHT_MS = 3_600_000
"""What is seen to have shifted so soon after midnight is a step that came with the day."""
PATIENCE = 4
"""A new level is the usual one after so many warm-ups, or so many times the delay until it was noticed."""


class Alarm(NamedTuple):
    """The moment a chart crossed its threshold."""

    since_ms: int
    """Wall time of the reading with which the chart last left zero."""
    at_ms: int
    mono_ns: int
    readings: int
    """Since then, at least 1."""
    level: float
    """Mean deviation from the baseline since then, in the variable's unit; not 0."""

    def with_the_day(self, day_of: DayOf) -> bool:
        """Whether the level stepped as a day began, as on a first weekend: then the day may swing otherwise as well.

        Later in the day a slope would be taken for a swing, which it looks like for hours, and a plant that runs away
        would be told to rest.
        """
        return self.at_ms - day_of(self.at_ms).begins_ms <= AT_MIDNIGHT_MS


class Departure:
    """An open shift. `level` is its mean deviation from the baseline now, in the variable's unit."""

    __slots__ = ("alarm", "level", "pace", "patience", "readings", "settling", "spread", "trend", "warmup")

    def __init__(self, alarm: Alarm, baseline: Baseline, warmup: int) -> None:
        self.alarm = alarm
        self.warmup = warmup
        self.level = alarm.level
        self.spread = baseline.spread
        sustained = min(CLIP, abs(alarm.level) * (1 - baseline.phi) / baseline.sigma)
        self.pace = min(FASTEST, sustained**2 / SCATTER)
        self.readings = 0
        self.patience = PATIENCE * max(warmup, alarm.readings) - warmup  # readings before it is said to be learned
        self.settling = False  # whether it has been said that the level is being learned as the usual one
        self.trend = Trend(PATIENCE / 2 * max(warmup, alarm.readings))

    def follow(self, deviation: float, mono_ns: int) -> None:
        """Take a reading, as its deviation from the mean.

        What lies far from the level moves it at most as if it were twice as large: an outlier teaches little, a
        plant that runs away is still followed.
        """
        level = self.level
        bound = CLIP * self.spread + abs(level)
        step = deviation - level
        if not -bound <= step <= bound:
            step = math.copysign(bound, step)
        self.trend.add((mono_ns - self.alarm.mono_ns) * 1e-9, level + step)
        self.level = level + self.pace * step
        self.readings += 1

    def jump(self, deviation: float) -> None:
        """Take the level to where an alarm has found it, as its deviation from the mean."""
        self.level = deviation
        self.settling = False
        self.patience = max(self.patience, self.readings + PATIENCE * self.warmup)

    def heading(self, baseline: Baseline) -> tuple[float, float, float]:
        """Return the deviation now, its slope per second, and the slope's standard error.

        The slope is 0 while it is not sure. When it is, the line says where the value stands: the level lags.
        """
        slope, error = self.trend.slope(baseline.phi, baseline.floor)
        if abs(slope) < SURE * error:
            return self.level, 0.0, error
        return self.trend.now(), slope, error

    @property
    def over(self) -> bool:
        """Whether the level has come back."""
        opening = self.alarm.level
        return self.level < opening / 2 if opening > 0.0 else self.level > opening / 2

    def to_state(self) -> list[object]:
        """Return it as plain numbers."""
        own = [*self.alarm, self.level, self.pace, self.readings, self.patience, float(self.settling), self.warmup]
        return [own, self.trend.to_state()]

    @classmethod
    def from_state(cls, state: object, baseline: Baseline) -> "Departure":
        """Return what `to_state` was taken of. Raises WireError."""
        own, trend = parts(state, 2)
        since_ms, at_ms, mono_ns, readings, opening, level, pace, heard, patience, settling, warmup = figures(own, 11)
        departure = cls(Alarm(int(since_ms), int(at_ms), int(mono_ns), int(readings), opening), baseline, int(warmup))
        departure.level, departure.pace = level, pace
        departure.readings, departure.patience = int(heard), int(patience)
        departure.settling = bool(settling)
        departure.trend.resume(trend)
        return departure
