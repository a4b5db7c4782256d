"""Risk now and ahead, each in 0..1 with its factors in words, and how soon to look again because of it.

Causes are taken as independent and joined by noisy-or, 1 - product(1 - p). The findings of one variable have one
cause, so of those only the heaviest counts. The figures are weights that order what matters, not frequencies.
"""

import math
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import NamedTuple

from edge_agent.judge.trend import Course
from edge_agent.judge.words import span
from edge_agent.model.finding import Anomaly, Risk

WEIGHTS = {"low": 0.1, "medium": 0.3, "high": 0.6, "critical": 0.9}
"""What a finding of full confidence weighs on an entity of criticality 1. A convention."""
REACHED = WEIGHTS["high"]
"""What a limit weighs that is reached within the horizon: as much as one that is passed."""
WORTH_TELLING = 0.005
"""A smaller cause would be told as 0.00."""
LADDER_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
"""Intervals that a person would name; the nearest of them is recommended."""


class Limits(NamedTuple):
    """Between which intervals one is recommended, in seconds."""

    shortest_s: float
    longest_s: float


class Unheard(NamedTuple):
    """How many of a turn's readings were not good."""

    failed: int
    readings: int


class Cause(NamedTuple):
    """One independent cause of trouble."""

    level: float
    factor: str
    anchors: tuple[str, ...]


def estimate_risk(anomalies: Iterable[Anomaly], criticality: Mapping[int, float]) -> Risk:
    """Return the risk of the findings that are open now. `criticality` (0..1) is by variable number."""
    heaviest: dict[int, Cause] = {}
    for anomaly in anomalies:
        cause = _present(anomaly, criticality[anomaly.number])
        heaviest[anomaly.number] = max(cause, heaviest.get(anomaly.number, cause), key=itemgetter(0))
    return _joined(0.0, heaviest.values(), horizon_s=0.0)


def forecast_risk(now: Risk, courses: Iterable[Course], horizon_s: float) -> Risk:
    """Return the risk within `horizon_s`: that of now, and each trend carried to its limit. Never below now's."""
    return _joined(now.level, [_future(course, horizon_s) for course in courses], horizon_s)


def next_interval(now: Risk, ahead: Risk, unheard: Unheard, limits: Limits) -> tuple[float, tuple[str, ...]]:
    """Return the recommended seconds until the next turn, and what makes it so.

    From the longest interval without risk down to the shortest at a risk of 1, in equal ratios for equal steps. What
    is not known counts as the share of readings that were not good.
    """
    told = [
        (now.level, f"risk {now.level:.2f} now"),
        (ahead.level, f"risk {ahead.level:.2f} within {span(ahead.horizon_s)}"),
    ]
    blind = unheard.failed / unheard.readings if unheard.readings else 0.0
    told.append((blind, f"{unheard.failed} of {unheard.readings} readings were not good"))
    pull = max(level for level, _ in told)
    wanted = limits.longest_s * (limits.shortest_s / limits.longest_s) ** pull
    rung = min(LADDER_S, key=lambda seconds: abs(math.log(seconds / wanted)))
    seconds = min(limits.longest_s, max(limits.shortest_s, rung))
    triggers = tuple(words for level, words in told if level >= WORTH_TELLING)
    if not unheard.readings:
        triggers += ("nothing was read in this turn",)
    return seconds, triggers or ("no risk is known and every reading was good",)


def reach_probability(course: Course, horizon_s: float) -> float:
    """Return how likely a trend passes its limit within `horizon_s`, by the standard error of its slope."""
    side = math.copysign(1.0, course.limit - course.value)
    missing = (course.limit - course.value - course.slope * horizon_s) * side
    scatter = course.slope_error * horizon_s
    if scatter <= 0.0:
        return 1.0 if missing <= 0 else 0.0
    return math.erfc(missing / scatter / math.sqrt(2)) / 2


def _present(anomaly: Anomaly, criticality: float) -> Cause:
    level = WEIGHTS[anomaly.severity] * anomaly.confidence * criticality
    return Cause(level, f"{anomaly.severity}: {anomaly.sentence}", anomaly.anchors)


def _future(course: Course, horizon_s: float) -> Cause:
    probability = reach_probability(course, horizon_s)
    seconds = (course.limit - course.value) / course.slope
    chances = f"with a chance of {min(99.0, 100 * probability):.0f} % within {span(horizon_s)}"
    when = f"{span(seconds)} at its present trend, {chances}"
    level = REACHED * probability * course.confidence * course.criticality
    return Cause(level, f"{course.path} reaches {course.limit:g} in about {when}", course.anchors)


def _joined(level: float, causes: Iterable[Cause], horizon_s: float) -> Risk:
    """Join causes to a level; factors tell those that matter, the heaviest first."""
    ranked = sorted(causes, key=lambda cause: (-cause.level, cause.factor))
    spared = (1 - level) * math.prod(1 - cause.level for cause in ranked)
    told = [cause for cause in ranked if cause.level >= WORTH_TELLING]
    factors = tuple(f"{cause.factor} ({cause.level:.2f})" for cause in told)
    anchors = tuple(dict.fromkeys(anchor for cause in told for anchor in cause.anchors))
    return Risk(min(1.0, max(level, round(1 - spared, 4))), factors, anchors, horizon_s)
