"""Running statistics as plain numbers: what is kept over a restart, and checked when it comes back."""

import functools
import math
from array import array
from collections.abc import Iterable
from typing import TypeVar

from edge_agent.model.errors import WireError

FURTHEST = 2.0**63
"""Whole numbers beyond it are no count and no time."""


FURTHEST_SINGLE = 1e30
"""What lies beyond is taken as lying here where figures are kept in single precision: sums of them stay finite."""

T = TypeVar("T")


@functools.lru_cache(maxsize=4096, typed=True)
def shared(figure: T) -> T:
    """Return the one object of a figure that many variables have: each of its own would weigh as much as a reading."""
    return figure


def bounded(figure: float) -> float:
    """Return a figure as it may be kept in single precision."""
    return max(-FURTHEST_SINGLE, min(FURTHEST_SINGLE, figure))


def single(figures: Iterable[float]) -> "array[float]":
    """Return figures in single precision: half the bytes, and far finer than the noise of what they are taken from."""
    return array("f", [bounded(each) for each in figures])  # of a list: no room for more


def figures(raw: object, count: int) -> list[float]:
    """Return a list of `count` finite numbers. Raises WireError for anything else."""
    if not isinstance(raw, list) or len(raw) != count or not all(map(_is_figure, raw)):
        raise WireError(f"baselines: got figures that none can have, wanted a list of {count} numbers")
    return raw


def series(raw: object, most: int) -> list[float]:
    """Return a list of at most `most` finite numbers. Raises WireError for anything else."""
    return figures(raw, len(raw)) if isinstance(raw, list) and len(raw) <= most else figures(raw, most)


def parts(raw: object, count: int) -> list[object]:
    """Return a list of `count` states. Raises WireError for anything else."""
    if not isinstance(raw, list) or len(raw) != count:
        raise WireError(f"baselines: got a part that none can have, wanted a list of {count}")
    return raw


def _is_figure(value: object) -> bool:
    if type(value) is int:
        return abs(value) <= FURTHEST
    return type(value) is float and math.isfinite(value)
