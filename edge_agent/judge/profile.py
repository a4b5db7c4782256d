"""The usual day of a variable: a few harmonics over the season, the scatter by its phase, and what weekdays change.

Readings are gathered in bins of the phase. Once a season has gone by, three harmonics are fitted to the bins by exact
least squares, and used only when they explain enough of what the variable does. The fit is made anew after each
season, with a memory of about a week of them; the mean has no part in it, so that a slow drift is not learned away.

A weekday is told by what it changes against the day before: by how much the level steps at midnight, and by which
factor the season's swing is larger. What one week did is expected of the next, where it was more than noise.

Sums over bins and tables are kept in single precision: a thousand variables have them, and noise is far coarser.
"""

import math
from array import array
from collections.abc import Iterable, Sequence

from edge_agent.judge.days import DayOf, utc_day
from edge_agent.judge.figures import FURTHEST_SINGLE, bounded, figures, parts, shared, single
from edge_agent.judge.step import Step
from edge_agent.model.errors import WireError

BINS = 32
KNOTS = 64
"""Where the curve is tabled; between two it is a straight line, off by at most 1 % of the third harmonic."""
HARMONICS = 3
LEAST_BINS = 8
"""Bins that must have been seen; there is a harmonic for each four."""
WORTH = 6.0
"""How many times the energy that noise lends to a fit a curve must have to be used."""
MEMORY = 6 / 7
"""What stays of a season when the next is over."""
PHASES = 16
"""Bins of the scatter."""
FEW = 32.0
"""Readings of a phase that weigh as much as those of the whole day, in its scatter."""
LOUDEST, STILLEST = 4.0, 0.25
"""How far a phase's scatter may lie from the whole day's."""
WEEK = 7
TODAY = 5
LEAST_DAY = 12.0
"""Readings that a day must have to be remembered."""
MOST_FACTOR = 4.0
SURE = 4.0
"""Standard errors beyond which a weekday is believed to differ."""
EDGE = 3.0
"""Standard errors within which what harmonics leave over in a bin is noise."""
LIKELY = 2.5
"""The same for today, when the level has been found to be off."""
COARSE = 0.2
"""Standard error of a factor beyond which a day has not shown enough of its swing."""
UNKNOWN = -1e300
"""In place of what no weekday has told yet."""
WAVES = 3 * BINS
"""Where number and sum of the innovations' size by phase stand, behind number, sum and sum of places of each bin."""
QUIET = WAVES + 2 * PHASES
"""Where it stands by which factor the variable scatters less in a phase, behind all sums."""


class Profile:
    """The season of one variable, of `period_ms`. `curve` is None while there is none in use."""

    __slots__ = (
        "_day",
        "_days",
        "_gathered",
        "_season",
        "curve",
        "day_of",
        "factor",
        "midnight_ms",
        "period_ms",
        "seasons",
    )

    def __init__(self, period_ms: int, day_of: DayOf = utc_day) -> None:
        self.period_ms = period_ms
        self.day_of = day_of
        self.curve: array[float] | None = None
        self.factor = 1.0
        self.seasons = 0
        """How many were learned."""
        self.midnight_ms = 0
        """Wall time at which the day is over."""
        self._season = -1
        self._gathered = array("f", [0.0]) * QUIET + array("f", [1.0]) * PHASES
        self._day = -1  # since 1970
        self._days: array[float] | None = None  # of today and the weekdays: see `_begin_days`

    def take_off(self, step: Step) -> None:
        """Fill in what a reading is without its season, how far into it, and how quiet the variable is then."""
        period_ms = self.period_ms
        into_ms = step.into_ms = step.at_ms % period_ms
        step.quiet = self._gathered[QUIET + into_ms * PHASES // period_ms]
        step.level = step.value - self.offset(into_ms)

    def offset(self, at_ms: int) -> float:
        """Return what the season adds to the mean at a wall time, or so far into the season; 0 without a curve."""
        curve = self.curve
        if curve is None:
            return 0.0
        place = at_ms % self.period_ms * KNOTS / self.period_ms
        knot = int(place)
        low = curve[knot]
        return (low + (curve[knot + 1 - KNOTS] - low) * (place - knot)) * self.factor

    def add(self, at_ms: int, deviation: float) -> bool:
        """Take the deviation of a reading from the mean, season and all; return whether a new season has begun."""
        if not -FURTHEST_SINGLE < deviation < FURTHEST_SINGLE:
            deviation = bounded(deviation)
        period_ms = self.period_ms
        season = at_ms // period_ms
        factor = self.factor
        weight = factor * factor
        place = at_ms % period_ms * BINS / period_ms
        bins, low = self._gathered, 3 * int(place)
        bins[low] += weight
        bins[low + 1] += factor * deviation
        bins[low + 2] += weight * place
        if season != self._season:
            first, self._season = self._season < 0, shared(season)
            return not first
        return False

    def add_scatter(self, at_ms: int, size: float) -> None:
        """Take the size of a reading's innovation."""
        waves, low = self._gathered, WAVES + at_ms % self.period_ms * PHASES // self.period_ms * 2
        waves[low] += 1.0
        waves[low + 1] += size

    def add_day(self, at_ms: int, value: float) -> None:
        """Take a reading for its weekday; only with a curve."""
        curve, days = self.curve, self._days or self._begin_days()
        assert curve is not None
        usual = curve[at_ms % self.period_ms * KNOTS // self.period_ms]
        days[0] += 1.0
        days[1] += value
        days[2] += usual
        days[3] += value * usual
        days[4] += usual * usual

    def teach_days(self, values: Iterable[float], times_ms: Iterable[int], noise: float) -> None:
        """Begin with the weekdays that a warm-up has seen; `noise` as for `turn_day`."""
        self._day, self.midnight_ms, self._days = -1, 0, None
        for value, at_ms in zip(values, times_ms, strict=True):
            if at_ms >= self.midnight_ms:
                self.turn_day(at_ms, noise)
            self.add_day(at_ms, value)

    def turn_day(self, at_ms: int, noise: float, *, followed: bool = False) -> float:
        """Close the day before that of a reading, and set the factor of this one; return the step of the level.

        `noise` is the sigma of a sum of readings, for one reading: only what is far beyond it is believed. Whether the
        level was `followed` to where the day before had it matters when that is the first of its weekday: from there it
        goes to where this weekday was.
        """
        was, (day, _, ends_ms) = self._day, self.day_of(at_ms)
        self._day, self.midnight_ms = shared(day), shared(ends_ms)
        if self.curve is None and self._days is None:
            return 0.0
        days = self._days or self._begin_days()
        number, total, curve = days[:3]
        found = _level_and_factor(days)
        days[:TODAY] = array("d", [0.0]) * TODAY
        if self.curve is None:
            return 0.0
        now_at, was_at = TODAY + day % WEEK, TODAY + was % WEEK
        old = days[was_at]
        if was >= 0 and found is not None:
            _, factor, spread = found
            if abs(factor - 1) < SURE * noise / math.sqrt(spread):
                factor = 1.0
            days[was_at + WEEK] = min(MOST_FACTOR, max(0.0, factor))
            days[was_at] = (total - factor * curve) / number
            old = days[was_at] if old == UNKNOWN and followed else old
        now, factor = days[now_at], days[now_at + WEEK]
        if factor == UNKNOWN:  # a day of which nobody knows is expected to be as the day before
            factor = days[was_at + WEEK] if day == was + 1 else UNKNOWN
        self.factor = 1.0 if factor == UNKNOWN else factor
        step = now - old if day == was + 1 and UNKNOWN not in (old, now) else 0.0
        return step if number and abs(step) > SURE * noise * math.sqrt(2 / number) else 0.0

    def swing(self, noise: float) -> tuple[float, float] | None:
        """Return the level of today and by which factor its swing is larger; None when it is as expected, or not sure.

        `noise` is as for `turn_day`.
        """
        if self.curve is None or self._days is None:
            return None
        found = _level_and_factor(self._days)
        if found is None:
            return None
        level, factor, spread = found
        factor = min(MOST_FACTOR, max(0.0, factor))
        error = noise / math.sqrt(spread)
        if error > COARSE or abs(factor - self.factor) < LIKELY * error:
            return None
        return level, factor

    def fit(self, mean: float, noise: float = math.inf) -> bool:
        """Fit the curve to what was gathered, as deviations from a level `mean` too high; return whether it is new.

        `noise` is as for `turn_day`. Then what was gathered is forgotten in part.
        """
        gathered, had = self._gathered, self.curve is not None
        self.curve = _curve(gathered, mean, noise)
        self.seasons += 1
        self._fit_scatter()
        if self.seasons > 1:
            for at in range(QUIET):
                gathered[at] *= MEMORY
        return had != (self.curve is not None)

    def is_worth_it(self, phi: float, sigma: float, interval_ms: float) -> bool:
        """Whether the curve is more than what noise of this autocorrelation and innovations' sigma lends to a fit.

        Noise with spectrum S gives each harmonic a mean square of 2 S / n from n readings.
        """
        if self.curve is None:
            return False
        number = math.fsum(self._gathered[0:WAVES:3])
        turns = [2 * math.pi * n * interval_ms / self.period_ms for n in range(1, HARMONICS + 1)]
        noise = math.fsum(2 * sigma**2 / (1 - 2 * phi * math.cos(turn) + phi * phi) / number for turn in turns)
        return math.fsum(each * each for each in self.curve) / KNOTS > WORTH * noise

    def recentre(self, by: float) -> None:
        """Take note that the level the deviations are from has moved up by `by`."""
        bins = self._gathered
        for low in range(0, 3 * BINS, 3):
            bins[low + 1] = bounded(bins[low + 1] - by * bins[low])

    def centre(self) -> float:
        """Return the mean over the season of the deviations gathered: of the bins, however often each was seen."""
        bins = self._gathered
        means = [bins[low + 1] / bins[low] for low in range(0, 3 * BINS, 3) if bins[low] > 0.0]
        return math.fsum(means) / len(means) if means else 0.0

    def _begin_days(self) -> "array[float]":
        """Make room for today and the weekdays.

        Of today the number of readings, and the sums of their values, of the curve, of both multiplied and of the
        curve's square; then of each weekday the level when it was last seen; then of each its factor.
        """
        self._days = array("d", [0.0] * TODAY + [UNKNOWN] * (2 * WEEK))
        return self._days

    def _fit_scatter(self) -> None:
        waves = self._gathered[WAVES:QUIET]
        number = math.fsum(waves[0::2])
        if number < FEW * PHASES / 2:
            return
        usual = math.fsum(waves[1::2]) / number
        if usual <= 0.0:
            return
        shrunk = [(waves[low + 1] + FEW * usual) / (waves[low] + FEW) / usual for low in range(0, 2 * PHASES, 2)]
        self._gathered[QUIET:] = array("f", [1 / min(LOUDEST, max(STILLEST, share)) for share in shrunk])

    def to_state(self) -> list[object]:
        """Return it as plain numbers."""
        return [
            self.seasons, self._season, self._day, self.factor, self.midnight_ms, list(self._gathered),
            *(None if each is None else list(each) for each in (self._days, self.curve)),
        ]  # fmt: skip

    def resume(self, raw: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        state = parts(raw, 8)
        seasons, season, day, self.factor, midnight_ms = figures(state[:5], 5)
        self.seasons, self._season, self._day, self.midnight_ms = map(int, (seasons, season, day, midnight_ms))
        self._gathered = single(figures(state[5], QUIET + PHASES))
        if not min(self._gathered[QUIET:]) > 0.0:
            raise WireError("baselines: got figures that no season can have, wanted those that were saved")
        self._days = None if state[6] is None else array("d", figures(state[6], TODAY + 2 * WEEK))
        self.curve = None if state[7] is None else single(figures(state[7], KNOTS))


def _level_and_factor(today: Sequence[float]) -> tuple[float, float, float] | None:
    """Return what a day's level is, its factor, and the energy of the curve that told it; None when it is too short."""
    number, total, curve, cross, square = today[:TODAY]
    if number < LEAST_DAY or (spread := square - curve * curve / number) <= 0.0:
        return None
    factor = (cross - curve * total / number) / spread
    return (total - factor * curve) / number, factor, spread


def _curve(bins: Sequence[float], mean: float, noise: float) -> "array[float] | None":
    """Return the tabled curve with mean 0 of the harmonics that fit the bins best, or None when none is worth it.

    A day that has edges is no sum of harmonics: what they leave over in a bin, beyond noise, is added where it is.
    """
    seen = [low for low in range(0, 3 * BINS, 3) if bins[low] > 0.0]
    if len(seen) < LEAST_BINS or _widest_hole([low // 3 for low in seen]) > BINS // (2 * HARMONICS):
        return None
    harmonics = min(HARMONICS, len(seen) // 4)
    size = 2 * harmonics + 1
    rows = [
        (bins[low], _terms(bins[low + 2] / bins[low] / BINS, harmonics), bins[low + 1] / bins[low] - mean)
        for low in seen
    ]
    matrix = [[math.fsum(w * f[i] * f[j] for w, f, _ in rows) for j in range(size)] for i in range(size)]
    found = solve(matrix, [math.fsum(w * f[i] * y for w, f, y in rows) for i in range(size)])
    if found is None:
        return None
    curve = [_sum(found[1:], _terms(knot / KNOTS, harmonics)[1:]) for knot in range(KNOTS)]
    for low, (number, terms, y) in zip(seen, rows, strict=True):
        left = y - _sum(found, terms)
        edge = left * max(0.0, 1 - (EDGE * noise / left) ** 2 / number) if left else 0.0
        for knot in range(low // 3 * KNOTS // BINS, (low // 3 + 1) * KNOTS // BINS):
            curve[knot] += edge
    level = math.fsum(curve) / KNOTS
    return single([each - level for each in curve])


def _sum(factors: Sequence[float], terms: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(factors, terms, strict=True))


def _terms(phase: float, harmonics: int) -> tuple[float, ...]:
    turn = 2 * math.pi * phase
    both = ((math.cos(n * turn), math.sin(n * turn)) for n in range(1, harmonics + 1))
    return (1.0, *(each for pair in both for each in pair))


def _widest_hole(seen: Sequence[int]) -> int:
    return max((after - before) % BINS or BINS for before, after in zip(seen, [*seen[1:], seen[0]], strict=True))


def solve(matrix: Sequence[Sequence[float]], goal: Sequence[float]) -> list[float] | None:
    """Return x of matrix · x = goal, by Gauss with pivots; None when its rows are hardly independent."""
    size = len(goal)
    rows = [[*row, g] for row, g in zip(matrix, goal, strict=True)]
    least = 1e-9 * abs(matrix[0][0])
    for i in range(size):
        pivot = max(range(i, size), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        if not abs(rows[i][i]) > least:
            return None
        for r in range(i + 1, size):
            factor = rows[r][i] / rows[i][i]
            rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i], strict=True)]
    found = [0.0] * size
    for i in reversed(range(size)):
        rest = math.fsum(a * b for a, b in zip(rows[i][i + 1 : size], found[i + 1 :], strict=True))
        found[i] = (rows[i][size] - rest) / rows[i][i]
    return found
