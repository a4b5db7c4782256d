"""What the next reading should be, and by how much it is not: the innovation, of which all charts are made.

A reading's deviation from the mean, with its season taken off, is whitened by the order-1 autocorrelation: on raw
autocorrelated readings a CUSUM is useless. Sigma is the innovations' own, by the phase of the day where that is known.
For charts of the mean it is their long-run sigma, so that what order 1 does not whiten is allowed for.

The mean here is where the level is now, not where it should be: after a shift it stands on the new level, from the few
readings known of it and with the error that few readings mean. Where it should be is the detector's to remember.
"""

import itertools
import math
from typing import NamedTuple

from edge_agent.judge import longrun
from edge_agent.judge.baseline import CLIP, Baseline, Warmup, estimate, sound
from edge_agent.judge.charts import ALLOWANCE
from edge_agent.judge.days import DAY_MS
from edge_agent.judge.figures import figures, parts, shared
from edge_agent.judge.learning import ENOUGH, Learning
from edge_agent.judge.longrun import BLOCK, SUM
from edge_agent.judge.profile import HARMONICS, Profile
from edge_agent.judge.step import Step
from edge_agent.model.errors import WireError

SETTLING = 24
"""Readings after an alarm of which the new level is taken before the charts go on."""

PHI_ALLOWANCE = 0.3
"""Standard errors that are granted to an estimated autocorrelation."""


class Settling(NamedTuple):
    """A new level that is being taken, after an alarm that moved the mean."""

    known: float
    """Readings of the new level that the alarm knew."""
    readings: int = 0
    """Since the alarm."""
    total: float = 0.0
    """Of their deviations from the mean."""


def learn_from(warmup: Warmup, profile: Profile | None, quantum: float) -> tuple["Expected", list[float], list[float]]:
    """Return the model that a full warm-up gives, its innovations in sigma and the readings without their season.

    The season is fitted first and taken off; it stays off only when it is more than noise lends to a fit.
    """
    values = list(warmup.values)
    interval_ms = warmup.interval_ns() / 1e6
    if profile is not None:
        profile.fit(profile.centre())
        if profile.curve is not None:
            flat = [value - profile.offset(at_ms) for value, at_ms in zip(values, warmup.times_ms, strict=True)]
            baseline = estimate(flat, quantum)
            if profile.is_worth_it(baseline.phi, baseline.sigma, interval_ms):
                return _primed(baseline, profile, interval_ms, flat)
            profile.curve = None
    return _primed(estimate(values, quantum), profile, interval_ms, values)


def _primed(
    baseline: Baseline, profile: Profile | None, interval_ms: float, values: list[float]
) -> tuple["Expected", list[float], list[float]]:
    mean, phi, per = baseline.mean, baseline.phi, 1 / baseline.sigma
    errors = [(now - mean - phi * (before - mean)) * per for before, now in itertools.pairwise(values)]
    expected = Expected(baseline, profile, interval_ms)
    expected.prime(errors, values[-1] - mean)
    return expected, errors, values


class Expected:
    """The model of one variable. `profile` is None where there is no season to look for."""

    __slots__ = (
        "_learning",
        "_long_run",
        "_mean_size",
        "_phi",
        "_recent",
        "_settling",
        "_sigma",
        "_z_per",
        "baseline",
        "interval_ms",
        "mean",
        "profile",
        "taken",
    )

    def __init__(self, baseline: Baseline, profile: Profile | None, interval_ms: float) -> None:
        self.profile = profile
        self.interval_ms = shared(interval_ms)
        self._long_run = longrun.begin()
        self.taken = 0
        """Readings of the block under way; at `BLOCK` there is one to learn from, or to drop: the charts decide."""
        self._recent = 0.0
        self._mean_size = shared(float(baseline.size))
        self._settling: Settling | None = None
        self._learning: Learning | None = Learning(baseline)
        self._stand_on(baseline)

    @property
    def standard_error(self) -> float:
        """How far the mean is off with its season, in sigma of the innovations."""
        seasonal = self.profile is not None and self.profile.curve is not None
        return math.sqrt(1 / self._mean_size + (2 * HARMONICS / self.baseline.size if seasonal else 0.0))

    @property
    def noise(self) -> float:
        """Sigma of the sum of many readings, for one reading: in the variable's unit."""
        base = self.baseline
        return base.sigma * longrun.factor(self._long_run) / (1 - base.phi)

    def step(self, by: float) -> None:
        """Take the mean up by what the weekday asks for, which is the difference of two days' levels."""
        self._mean_size = shared(min(self._mean_size, max(1.0, DAY_MS / self.interval_ms / 2)))
        self._learning = self._learning or Learning(self.baseline)
        self._stand_on(self.baseline._replace(mean=self.mean + by))

    def swing(self, at_ms: int) -> bool:
        """Follow the swing of the day to where today has taken it, and the level with it; whether it was elsewhere."""
        profile = self.profile
        found = None if profile is None else profile.swing(self.noise)
        if profile is None or found is None:
            return False
        level, factor = found
        before = profile.offset(at_ms)
        profile.factor = factor
        self._recent -= level - self.mean + profile.offset(at_ms) - before
        self._stand_on(self.baseline._replace(mean=level))
        return True

    def innovate(self, step: Step) -> None:
        """Fill in what the reading is beyond what was expected."""
        profile = self.profile
        sigma = self._sigma
        if profile is None:
            step.quiet, step.level = 1.0, step.value
        else:
            profile.take_off(step)
            sigma /= step.quiet
        deviation = step.deviation = step.level - self.mean
        before = self._recent
        if step.follows:
            expected = self._phi * before
            error = (deviation - expected) / sigma
            step.error = error
            if error > CLIP:
                error = CLIP
            elif error < -CLIP:
                error = -CLIP
            recent = expected + error * sigma
        else:
            white = self.baseline.white
            error = deviation * white / sigma
            step.error = error
            if error > CLIP:
                error = CLIP
            elif error < -CLIP:
                error = -CLIP
            recent = error * sigma / white
        self._recent = recent
        step.z = error * self._z_per
        if self._settling is not None:
            self._settle(self._settling, step, deviation)
            return
        step.ready = True
        if step.follows:
            self._long_run[SUM] += error
            self.taken += 1
            learning = self._learning
            if learning is not None:
                learning.add(before, recent, error * sigma)

    def learn(self, *, trusted: bool) -> None:
        """Correct the baseline by the block that is full, or drop it."""
        longrun.end_block(self._long_run, trusted=trusted)
        self.taken = 0
        learning = self._learning
        corrected = self.baseline
        if learning is not None:
            if trusted:
                self._mean_size = shared(self._mean_size + BLOCK)
                corrected = learning.correct(corrected, self._mean_size)
                self._recent += self.mean - corrected.mean
                if min(corrected.size, self._mean_size, learning.error_size) >= ENOUGH:
                    self._learning = None
            else:
                learning.drop_block()
        self._stand_on(corrected)

    def level(self, sign: int, z: float, readings: int, step: Step) -> float:
        """Return by how far the level is off, in the variable's unit, when a chart has seen a mean of `z` so long.

        What whitening took is put back. What was clipped speaks for itself.
        """
        base = self.baseline
        innovation = z / self._z_per * self._sigma
        mean = (innovation - base.phi * sign * self._recent / readings) / (1 - base.phi)
        level = max(mean, innovation)
        if sign * step.deviation > CLIP * base.spread:
            level = max(level, sign * step.deviation)
        return sign * level

    def come_back(self, base: Baseline) -> None:
        """Stand on a baseline again that was left for a while."""
        self._recent += self.mean - base.mean
        self._mean_size = float(base.size)
        self._settling = None
        longrun.drop_block(self._long_run)
        self._drop_block()
        self._stand_on(self.baseline._replace(mean=base.mean))

    def rebase(self, level: float, readings: int, again: int) -> None:
        """Stand on a new level, as a deviation from the mean that the last so many readings showed."""
        self._settling = Settling(float(min(readings, 8 * SETTLING)))
        self._mean_size = self._settling.known + SETTLING
        self._recent -= level
        longrun.alarm(self._long_run, again)
        self._learning = self._learning or Learning(self.baseline)
        self._drop_block()
        self._stand_on(self.baseline._replace(mean=self.mean + level))

    def rescale(self, ratio: float, readings: int) -> None:
        """Take note that the innovations have become larger by a factor, or smaller, as so many readings showed."""
        sigma = max(self.baseline.sigma * ratio, self.baseline.floor)
        longrun.drop_block(self._long_run)
        self._learning = self._learning or Learning(self.baseline)
        self._drop_block()
        self._learning.rescale(sigma, max(SETTLING, readings))
        self._stand_on(self.baseline._replace(sigma=sigma))

    def prime(self, errors: list[float], last: float) -> None:
        """Measure the long-run variance of the innovations of the warm-up; `last` is the deviation it ended with."""
        reach = CLIP * self.baseline.spread
        self._recent = max(-reach, min(reach, last))
        longrun.prime(self._long_run, [max(-CLIP, min(CLIP, error)) for error in errors])
        self._stand_on(self.baseline)

    def to_state(self) -> list[object]:
        """Return it as plain JSON values, without the profile: it is older than the model."""
        own = [self.interval_ms, self._recent, self._mean_size, self.taken]
        settling = None if self._settling is None else list(self._settling)
        learning = None if self._learning is None else self._learning.to_state()
        return [list(self.baseline), own, settling, learning, list(self._long_run)]

    @classmethod
    def from_state(cls, state: object, profile: Profile | None) -> "Expected":
        """Return what `to_state` was taken of. Raises WireError for figures that none can have."""
        base, own, settling, learning, long_run = parts(state, 5)
        expected = cls(sound(base), profile, 1.0)
        interval_ms, expected._recent, size, taken = figures(own, 4)
        expected.interval_ms, expected._mean_size, expected.taken = shared(interval_ms), shared(size), int(taken)
        if settling is not None:
            known, readings, total = figures(settling, 3)
            expected._settling = Settling(max(0.0, known), int(readings), total)
        if not (interval_ms > 0 and size >= 1):
            raise WireError("baselines: got figures that no model can have, wanted those that were saved")
        expected._long_run = longrun.resumed(long_run)
        if learning is None:
            expected._learning = None
        elif expected._learning is not None:
            expected._learning.resume(learning)
        expected._stand_on(expected.baseline)
        return expected

    def _drop_block(self) -> None:
        self.taken = 0
        if self._learning is not None:
            self._learning.drop_block()

    def _settle(self, settling: Settling, step: Step, deviation: float) -> None:
        step.ready = False
        reach = 2 * CLIP * self.baseline.spread
        known, readings, total = settling
        total += max(-reach, min(reach, deviation))
        self._settling = Settling(known, readings + 1, total) if readings + 1 < SETTLING else None
        if self._settling is None:
            by = total / (known + SETTLING)
            self._recent -= by
            self._stand_on(self.baseline._replace(mean=self.mean + by))

    def _stand_on(self, baseline: Baseline) -> None:
        self.baseline = baseline
        self.mean, self._phi = baseline.mean, baseline.phi
        self._sigma = baseline.sigma
        self._z_per = 1 / (longrun.factor(self._long_run) * _caution(baseline))


def _caution(baseline: Baseline) -> float:
    """Return by how much sigma is widened for what a baseline from few readings does not know.

    Sigma is known to 1 / sqrt(2 n). An error of phi, sqrt((1 - phi^2) / n), leaves innovations whose sums vary more by
    its ratio to 1 - phi, which is little for a small phi and much for a large one.
    """
    phi, size = baseline.phi, baseline.size
    error = PHI_ALLOWANCE * math.sqrt((1 - phi * phi) / size)
    left = max(1 - phi - error, (1 - phi) / 2)
    return (1 + ALLOWANCE * math.sqrt(0.5 / size)) * (1 - phi) / left
