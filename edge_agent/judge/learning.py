"""How a baseline goes on being learned after the warm-up, block by block, until it rests on enough readings.

A block under suspicion teaches nothing. Learning ends at `ENOUGH`: a baseline that never stops learning follows a
slow drift and never sees it.
"""

import math

from edge_agent.judge.baseline import PHI_MAX, Baseline
from edge_agent.judge.figures import figures, shared
from edge_agent.judge.longrun import BLOCK

ENOUGH = 8192
"""Readings that fix the mean to 1/90 of the innovations' sigma: a fifth of the smallest chart's k."""


class Learning:
    """Sums over the readings behind a baseline, and over the block under way; gone once enough is learned."""

    __slots__ = (
        "_block_cross",
        "_block_errors",
        "_block_square",
        "_block_sum",
        "_cross",
        "_errors",
        "_square",
        "error_size",
        "size",
    )

    def __init__(self, baseline: Baseline) -> None:
        self.size = baseline.size
        # Over all: the squares of deviations, their products with those before, the squares of innovations.
        self._square = baseline.spread**2 * baseline.size
        self._cross = self._square * baseline.phi
        self.rescale(baseline.sigma, baseline.size)
        self.drop_block()

    def rescale(self, sigma: float, readings: float) -> None:
        """Take another sigma of the innovations, of which so many readings tell."""
        self.error_size = shared(float(readings))
        self._errors = sigma**2 * readings

    def add(self, before: float, x: float, error: float) -> None:
        """Take a deviation from the mean, the one before it and the innovation."""
        self._block_sum += x
        self._block_square += before * before
        self._block_cross += before * x
        self._block_errors += error * error

    def correct(self, baseline: Baseline, mean_size: float) -> Baseline:
        """Return the baseline as corrected by the block that is full, and begin the next.

        `mean_size` is how many readings the mean rests on with it: fewer than the rest when the level has shifted.
        """
        self._square += self._block_square
        self._cross += self._block_cross
        self._errors += self._block_errors
        self.size = shared(self.size + BLOCK)
        self.error_size = shared(self.error_size + BLOCK)
        mean = baseline.mean + self._block_sum / mean_size
        square = self._square - self.size * step_variance(baseline.floor)
        phi = max(-PHI_MAX, min(PHI_MAX, self._cross / max(square, self._square / 2))) if self._square else 0.0
        sigma = max(math.sqrt(self._errors / self.error_size), baseline.floor)
        self.drop_block()
        return Baseline(mean, phi, sigma, baseline.floor, self.size)

    def drop_block(self) -> None:
        """Forget the block under way: it was under suspicion, or is learned."""
        self._block_sum = self._block_square = self._block_cross = self._block_errors = 0.0

    def to_state(self) -> list[float]:
        """Return it as plain numbers."""
        block = [self._block_sum, self._block_square, self._block_cross, self._block_errors]
        return [self.size, self.error_size, self._square, self._cross, self._errors, *block]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        size, error_size, self._square, self._cross, self._errors, *block = figures(state, 9)
        self.size, self.error_size = shared(int(size)), shared(error_size)
        self._block_sum, self._block_square, self._block_cross, self._block_errors = block


def step_variance(floor: float) -> float:
    """Return what rounding to steps of twice `floor` adds to the variance of readings (Sheppard 1898)."""
    return floor * floor / 3
