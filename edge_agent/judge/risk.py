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
LONGEST = 60.0
"""Beats between two turns when there is no risk at all."""


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


def next_interval(now: Risk, ahead: Risk, beat_s: float) -> tuple[float, tuple[str, ...]]:
    """Return the recommended seconds until the next turn, and why.

    From `LONGEST` beats without risk down to one beat at a risk of 1, in equal ratios for equal steps of risk.
    """
    level = max(now.level, ahead.level)
    seconds = round(beat_s * LONGEST ** (1 - level), 3)
    when = "now" if now.level >= ahead.level else f"within {span(ahead.horizon_s)}"
    return seconds, (f"risk {level:.2f} {when}",) if level > 0 else ("no risk is known",)


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
    when = f"{span(seconds)} at its present trend"
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
