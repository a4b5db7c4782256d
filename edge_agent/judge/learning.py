"""How a baseline goes on being learned after the warm-up, block by block, until it rests on enough readings.

A block under suspicion teaches nothing. Learning ends at `ENOUGH`: a baseline that never stops learning follows a
slow drift and never sees it.
"""

import math
from typing import TypedDict

from edge_agent.judge.baseline import PHI_MAX, Baseline

BLOCK = 32
"""Readings between two corrections of the baseline, and the span over which the long-run variance is measured."""
ENOUGH = 4096
"""Readings that fix the mean to 1/64 of the innovations' sigma: a quarter of the smallest chart's k."""
LEAST_BLOCKS = 8
"""Blocks before their variance is looked at."""
LOUDEST_BLOCK = 9.0
"""The most that one block counts, as its sum squared over its variance: three sigma."""


class LearningState(TypedDict):
    """A `Learning` in plain JSON values."""

    size: int
    blocks: int
    loudness: float
    totals: tuple[float, float, float]
    taken: int
    block: tuple[float, float, float, float, float]


class Learning:
    """Sums over the readings behind a baseline, and over the block under way."""

    __slots__ = (
        "blocks", "cross", "error", "errors", "loudness", "size", "square", "taken",
        "total_cross", "total_errors", "total_square", "x",
    )  # fmt: skip

    def __init__(self, baseline: Baseline, state: LearningState | None = None) -> None:
        self.size = baseline.size
        self.blocks = 0
        self.loudness = 0.0
        self.total_errors = baseline.sigma**2 * baseline.size
        self.total_square = self.total_errors / (1 - baseline.phi**2)
        self.total_cross = self.total_square * baseline.phi
        self._begin_block()
        if state is not None:
            self._resume(state)

    def _begin_block(self) -> None:
        self.taken = 0
        self.x = self.square = self.cross = self.error = self.errors = 0.0

    def add(self, before: float, x: float, error: float) -> bool:
        """Take a deviation from the mean, the one before it and the innovation; return whether the block is full."""
        self.x += x
        self.square += before * before
        self.cross += before * x
        self.error += error
        self.errors += error * error
        self.taken += 1
        return self.taken == BLOCK

    def correct(self, baseline: Baseline) -> Baseline:
        """Return the baseline as corrected by the block that is full, and begin the next."""
        self.size += BLOCK
        self.blocks += 1
        self.loudness += min(LOUDEST_BLOCK, self.error**2 / (BLOCK * baseline.sigma**2))
        self.total_square += self.square
        self.total_cross += self.cross
        self.total_errors += self.errors
        mean = baseline.mean + self.x / self.size
        phi = max(-PHI_MAX, min(PHI_MAX, self.total_cross / self.total_square)) if self.total_square else 0.0
        sigma = max(math.sqrt(self.total_errors / self.size), baseline.floor)
        self._begin_block()
        return Baseline(mean, phi, sigma, baseline.floor, self.size)

    def drop_block(self) -> None:
        """Forget the block under way: it was under suspicion."""
        self._begin_block()

    def long_run(self) -> float:
        """Return by which factor sums of innovations vary more than independent ones, in sigma; at least 1.

        What order 1 does not whiten shows here . One standard error is taken off, so
        that chance alone does not dull the charts.
        """
        if self.blocks < LEAST_BLOCKS:
            return 1.0
        variance = self.loudness / self.blocks
        return math.sqrt(max(1.0, variance * (1 - math.sqrt(2 / self.blocks))))

    def to_state(self) -> LearningState:
        """Return it as plain JSON values."""
        return {
            "size": self.size, "blocks": self.blocks, "loudness": self.loudness,
            "totals": (self.total_square, self.total_cross, self.total_errors),
            "taken": self.taken, "block": (self.x, self.square, self.cross, self.error, self.errors),
        }  # fmt: skip

    def _resume(self, state: LearningState) -> None:
        self.size, self.blocks, self.loudness = state["size"], state["blocks"], state["loudness"]
        self.total_square, self.total_cross, self.total_errors = state["totals"]
        self.taken = state["taken"]
        self.x, self.square, self.cross, self.error, self.errors = state["block"]
