"""Running statistics as plain numbers: what is kept over a restart, and checked when it comes back."""

import math

from edge_agent.model.errors import WireError

FURTHEST = 2.0**63
"""Whole numbers beyond it are no count and no time."""


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
