"""How a baseline goes on being learned after the warm-up, block by block, until it rests on enough readings.

A block under suspicion teaches nothing. Learning ends at `ENOUGH`: a baseline that never stops learning follows a
slow drift and never sees it.
"""

import math
from collections.abc import Sequence

from edge_agent.judge.baseline import PHI_MAX, Baseline
from edge_agent.judge.figures import figures

BLOCK = 48
"""Readings between two corrections of the baseline, and the span over which the long-run variance is measured."""
ENOUGH = 4096
"""Readings that fix the mean to 1/64 of the innovations' sigma: a quarter of the smallest chart's k."""
LEAST_BLOCKS = 8
"""Blocks before their variance is looked at."""
LOUDEST_BLOCK = 9.0
"""The most that one block counts, as its sum squared over its variance: three sigma."""


class Learning:
    """Sums over the readings behind a baseline, and over the block under way."""

    __slots__ = (
        "blocks", "cross", "error", "errors", "loudness", "size", "square", "taken",
        "total_cross", "total_errors", "total_square", "x",
    )  # fmt: skip

    def __init__(self, baseline: Baseline) -> None:
        self.size = baseline.size
        self.blocks = 0
        self.loudness = 0.0
        self.total_errors = baseline.sigma**2 * baseline.size
        self.total_square = self.total_errors / (1 - baseline.phi**2)
        self.total_cross = self.total_square * baseline.phi
        self._begin_block()

    def _begin_block(self) -> None:
        self.taken = 0
        self.x = self.square = self.cross = self.error = self.errors = 0.0

    def prime(self, errors: Sequence[float]) -> None:
        """Measure the long-run variance of the warm-up, from its innovations in sigma."""
        for start in range(0, len(errors) - BLOCK + 1, BLOCK):
            self._hear(math.fsum(errors[start : start + BLOCK]) ** 2 / BLOCK)

    def add(self, before: float, x: float, error: float) -> None:
        """Take a deviation from the mean, the one before it and the innovation."""
        self.x += x
        self.square += before * before
        self.cross += before * x
        self.error += error
        self.errors += error * error
        self.taken += 1

    def correct(self, baseline: Baseline, mean_size: float) -> Baseline:
        """Return the baseline as corrected by the block that is full, and begin the next.

        `mean_size` is how many readings the mean rests on with it: fewer than the rest when the level has shifted.
        """
        self.size += BLOCK
        self._hear(self.error**2 / (BLOCK * baseline.sigma**2))
        self.total_square += self.square
        self.total_cross += self.cross
        self.total_errors += self.errors
        mean = baseline.mean + self.x / mean_size
        phi = max(-PHI_MAX, min(PHI_MAX, self.total_cross / self.total_square)) if self.total_square else 0.0
        sigma = max(math.sqrt(self.total_errors / self.size), baseline.floor)
        self._begin_block()
        return Baseline(mean, phi, sigma, baseline.floor, self.size)

    def drop_block(self) -> None:
        """Forget the block under way: it was under suspicion."""
        self._begin_block()

    def long_run(self) -> float:
        """Return by which factor sums of innovations vary more than independent ones, in sigma; at least 1.

        What order 1 does not whiten shows here. One standard error is taken off, so
        that chance alone does not dull the charts.
        """
        if self.blocks < LEAST_BLOCKS:
            return 1.0
        variance = self.loudness / self.blocks
        return math.sqrt(max(1.0, variance * (1 - math.sqrt(2 / self.blocks))))

    def _hear(self, loudness: float) -> None:
        self.blocks += 1
        self.loudness += min(LOUDEST_BLOCK, loudness)

    def to_state(self) -> list[float]:
        """Return it as plain numbers."""
        return [
            self.size, self.blocks, self.loudness, self.total_square, self.total_cross, self.total_errors,
            self.taken, self.x, self.square, self.cross, self.error, self.errors,
        ]  # fmt: skip

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        size, blocks, *rest = figures(state, 12)
        self.size, self.blocks = int(size), int(blocks)
        self.loudness, self.total_square, self.total_cross, self.total_errors, taken, *block = rest
        self.taken = int(taken)
        self.x, self.square, self.cross, self.error, self.errors = block
