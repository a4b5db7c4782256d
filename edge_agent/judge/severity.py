"""How grave a departure is: by its size, by how far it has come towards a limit, and by when it will be there.

Three tables, and the gravest answer counts; a finding then weighs more or less by how long it has lasted and by how
critical its entity is. The rows are conventions, in words a person on call can follow.
"""

import math

from edge_agent.model.finding import SEVERITIES

Rows = tuple[tuple[float, str], ...]

BY_SIZE: Rows = ((8.0, "high"), (3.0, "medium"))
"""From how many sigma. Size alone is never critical: a quiet variable makes many sigma of a trifle."""
BY_WAY: Rows = ((1.0, "critical"), (0.75, "high"), (0.5, "medium"))
"""From which share of the way between the baseline and the limit."""
BY_TIMES: Rows = ((4.0, "critical"), (2.0, "high"), (1.0, "medium"))
"""From how many times what a difference may be."""
BY_HASTE: Rows = ((1 / 900.0, "critical"), (1 / 14_400.0, "high"), (1 / 86_400.0, "medium"))
"""From which haste, as one over the seconds until the limit: a quarter of an hour, four hours, a day."""

GRAVE_ENTITY, LIGHT_ENTITY = 0.8, 0.2
"""Criticality from which a finding weighs a step more, and down to which a step less."""
LONG_S = 86_400.0
"""A finding that has lasted a day was not dealt with by the shift that saw it, and weighs a step more."""

_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}


def gravity(size: float, way: float, seconds: float) -> str:
    """Return the severity of a departure of `size` sigma that has come `way` (0..1) towards its limit.

    `seconds` until it is there; infinity without a limit or a trend.
    """
    haste = 1 / seconds if seconds > 0 else math.inf
    return worst(_look_up(BY_SIZE, size), _look_up(BY_WAY, way), _look_up(BY_HASTE, haste))


def by_times(times: float) -> str:
    """Return the severity of a difference that is so many times what it may be."""
    return _look_up(BY_TIMES, times)


def next_step(times: float) -> float | None:
    """Return at how many times what it may be a difference weighs a step more; None when there is none."""
    return min((least for least, _ in BY_TIMES if least > times), default=None)


def weighed(severity: str, lasted_s: float, criticality: float) -> str:
    """Return a severity raised or lowered by how long the finding has lasted and how critical its entity is (0..1).

    Neither alone makes it critical: that takes a size, or both.
    """
    steps = (criticality >= GRAVE_ENTITY) - (criticality <= LIGHT_ENTITY) + (lasted_s >= LONG_S)
    top = _RANK["critical"] if steps > 1 else max(_RANK[severity], _RANK["high"])
    return SEVERITIES[max(0, min(_RANK[severity] + steps, top))]


def worst(*severities: str) -> str:
    """Return the gravest of some severities."""
    return max(severities, key=_RANK.__getitem__)


def at_least(severity: str, least: str) -> bool:
    """Whether a severity is as grave as another, or graver."""
    return _RANK[severity] >= _RANK[least]


def _look_up(rows: Rows, figure: float) -> str:
    return next((severity for least, severity in rows if figure >= least), SEVERITIES[0])
