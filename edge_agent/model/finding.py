"""What was noticed, and what it may lead to: `Anomaly`, `Risk`."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

SEVERITIES = ("low", "medium", "high", "critical")


class Anomaly(msgspec.Struct, frozen=True):
    """A departure from what was expected, in one sentence with numbers."""

    id: str
    """Stable while it lasts: "<local entity>.<variable>/<kind>"."""
    number: int
    """The variable's number."""
    kind: str
    """Which detector spoke: the name of a file in judge/detectors."""
    severity: str
    """One of `SEVERITIES`."""
    sentence: str
    """For a person, with numbers and units."""
    since_ms: int
    """Wall time of the reading with which it began."""
    score: float
    """0..1, monotone in the evidence."""
    confidence: float
    """0..1: how far the baseline behind it can be relied upon."""
    anchors: tuple[str, ...]
    """The evidence."""
    witnesses: "tuple[Anomaly, ...]" = ()
    """The alarms that became this finding, by id; without any it is its own only one (judge/findings.py)."""
    acknowledged: str | None = None
    """Who said that it is known: it is quiet until it changes."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of all variables it speaks of."""
        return (self.number, *(witness.number for witness in self.witnesses))


class Dispute(NamedTuple):
    """Sources of one variable that disagree, and whether that was told (twin/trust.py)."""

    since_ns: int
    since_ms: int
    told: bool


Disputes = Mapping[int, Dispute]
"""By the number of the first variable of those that speak of one thing."""
NO_DISPUTES: Disputes = {}


class Acknowledgement(msgspec.Struct, frozen=True):
    """A person says that a finding is known."""

    finding: str
    by: str


class Risk(msgspec.Struct, frozen=True):
    """A probability-like figure in 0..1 with its reasons in words."""

    level: float
    factors: tuple[str, ...]
    anchors: tuple[str, ...]
    horizon_s: float = 0.0
    """0 for risk now; how far ahead for a forecast."""
