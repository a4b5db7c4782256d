"""How rare something must be to be an alarm: what the budget asks for, and more after alarms, for the time of the budget.

In decades, as all of judge: see reference/adr/0017-one-currency-for-all-detectors.md.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from edge_agent.judge.detector import Detector

RAISE, RAISE_OTHERS = 0.2, 0.07
"""Shares of its own bar, as it stands, by which an alarm raises that of its kind, and those of the others.

In decades, for a sigma that was taken a fifth too small makes all decades too many by a share of them.
"""
RAISE_CALIBRATED = 0.05
"""The same for what has learned its own tail, to which each alarm belongs: no alarm of another says anything of it."""
CALIBRATED = "spike"
HIGHEST = 60.0
"""Decades that a bar is raised at most."""
PROOF_SHARE = 1.0
"""The share of detectors that need no statistics: they have no bar to raise."""
ALLOWED = 1
"""Alarms of a kind in the time of the budget that say nothing about the variable."""
OF_THE_MODEL = ("shift", "variance", "still", "season")
"""Kinds that see the same innovations: when one has alarmed, the others begin anew."""
OF_REST = ("missing", "stuck", "limit", "rate")
"""Kinds that do not ask how a variable moves."""


class Raised(NamedTuple):
    """A bar that is higher than the budget asks for."""

    decades: float
    at_ms: int
    alarms: int


class Budget(NamedTuple):
    """What the user grants, for one variable: all that have the same hold the same."""

    arl: float
    """Readings between two false alarms of all its detectors."""
    period_ms: float
    """The time in which all variables together may have one."""
    shares: int
    """How many variables those are."""
    readings: float | None
    """The budget where it is given in readings; None where it is a time."""


Bars = dict[str, Raised]
"""Those that are raised, by kind; replaced whole, and never changed in place."""
NONE_RAISED: Bars = {}
"""Shared by all: most have alarmed about nothing."""


def plain(detector: Detector, arl: float) -> float:
    """Return the bar that the budget asks for: one false alarm of all detectors in `arl` readings."""
    return math.log10(arl * detector.share)


def bar(detector: Detector, arl: float, raised: Bars) -> float:
    """Return the bar as it stands."""
    more = raised.get(detector.kind)
    return plain(detector, arl) + (0.0 if more is None else more.decades)


def lasting(raised: Bars, kind: str, at_ms: int, period_ms: float) -> Raised:
    """Return what is left of a raised bar: it comes down evenly over the time of the budget."""
    was = raised.get(kind, Raised(0.0, at_ms, 0))
    gone = abs(at_ms - was.at_ms) / period_ms
    return Raised(0.0, at_ms, 0) if gone >= 1.0 else Raised(was.decades * (1 - gone), at_ms, was.alarms)


def come_down(raised: Bars, at_ms: int, period_ms: float) -> Bars:
    """Return what is left of all."""
    left = {kind: lasting(raised, kind, at_ms, period_ms) for kind in raised}
    return {kind: more for kind, more in left.items() if more.decades} or NONE_RAISED


def after_alarm(raised: Bars, detectors: Iterable[Detector], leader: Detector, budget: Budget, at_ms: int) -> Bars:
    """Raise the bar of what has alarmed, and by less those of all that see the same readings."""
    higher = dict(raised)
    for detector in detectors:
        if detector.share != PROOF_SHARE:
            was = lasting(raised, detector.kind, at_ms, budget.period_ms)
            more = was.decades + _by(detector, leader) * (plain(detector, budget.arl) + was.decades)
            higher[detector.kind] = Raised(min(more, HIGHEST), at_ms, was.alarms + (detector is leader))
    return higher


def often(raised: Bars) -> Mapping[str, int]:
    """Return how often kinds have alarmed that did so more often than the budget allows."""
    return {kind: more.alarms for kind, more in raised.items() if more.alarms > ALLOWED}


def _by(detector: Detector, leader: Detector) -> float:
    """Return by which share of itself an alarm of the leader raises a detector's bar."""
    if detector.kind == CALIBRATED:
        return RAISE_CALIBRATED if detector is leader else 0.0
    return RAISE if detector is leader else RAISE_OTHERS if leader.kind in OF_THE_MODEL else 0.0
