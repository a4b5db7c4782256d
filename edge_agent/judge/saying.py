"""When a finding is said anew. Every change of it is sealed and sent, so what was said stands as long as it may.

It is said anew at once when it became more severe; and at most once in `PAUSE_MS` when it grew by a quarter and by
a whole sigma since it was last said, or when there is something new to remark (a trend, a level being learned).
Severity never falls while a finding lasts, and one that falls back or stays as it is says nothing.
"""

from typing import NamedTuple

from edge_agent.judge.severity import worst
from edge_agent.judge.subject import Conclusion
from edge_agent.model.finding import Anomaly

PAUSE_MS = 60_000
GROWTH = 1.25
"""A quarter more: fewer than ten sentences for a tenfold growth."""
LEAST_GROWTH = 1.0
"""In sigma: below it growth is noise."""


class Said(NamedTuple):
    """What was last said of an open finding, and when."""

    at_ms: int
    size: float
    remarks: tuple[str, ...]


def is_news(found: Conclusion, known: Anomaly, said: Said, at_ms: int) -> bool:
    """Whether a conclusion is to be said, where `known` stands in the world and was said as `said`."""
    if worst(found.severity, known.severity) != known.severity:
        return True
    if abs(at_ms - said.at_ms) < PAUSE_MS:
        return False
    return not set(found.remarks).issubset(said.remarks) or found.size >= max(
        said.size * GROWTH, said.size + LEAST_GROWTH
    )
