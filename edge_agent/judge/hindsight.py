"""What a variable's charts say of a stretch of its past, for a picture: against the baseline as it is known now.

This is not a record of what was thought then. The readings of the past go once more through the model and the charts
for shifts (judge/detectors/shift), which teach nothing and open nothing, so that one sees why there is an alarm, or
how far from one it is.
"""

import bisect
from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.judge.baseline import Baseline
from edge_agent.judge.charts import Charts, at_zero
from edge_agent.judge.expected import Expected
from edge_agent.judge.longrun import BLOCK
from edge_agent.judge.step import Step

MOST = 3600
"""Readings that are looked back at: an hour of one a second, in a tenth of a second on a PC."""
GAP = 4
"""Usual intervals after which a reading is no longer the successor of the one before, as in a monitor."""

Change = tuple[int, float | None]
"""Wall time, and what the variable held from then on; None while there was no good value."""


class Seen(NamedTuple):
    """One reading of the past."""

    at_ms: int
    value: float
    usual: float
    """What the baseline and its season call usual at this time."""
    decades: float
    """How rare it is what the charts have come to, as the logarithm of readings."""


def look_back(
    expected: Expected, base: Baseline, charts: Charts, changes: Sequence[Change], until_ms: int
) -> list[Seen]:
    """Return the newest `MOST` readings up to `until_ms`; `expected` is used up by it."""
    expected.come_back(base)
    charts = charts.widened(expected.standard_error)
    sides = at_zero(charts.ks)
    step, found, before = Step(), [], None
    longest_ms = GAP * expected.interval_ms
    for heard, (at_ms, value) in enumerate(_held(changes, expected.interval_ms, until_ms), 1):
        step.value, step.at_ms = value, at_ms
        step.follows = before is not None and at_ms - before <= longest_ms
        before = at_ms
        expected.innovate(step)
        season = expected.profile.offset(at_ms) if expected.profile is not None else 0.0
        found.append(Seen(at_ms, value, expected.mean + season, charts.update(sides, step.z, heard, at_ms)))
        if expected.taken >= BLOCK:
            expected.learn(trusted=False)  # nothing of it is learned
    return found


def _held(changes: Sequence[Change], interval_ms: float, until_ms: int) -> list[tuple[int, float]]:
    """Return the readings that the changes came of: what is read again unchanged makes none."""
    if not changes:
        return []
    times = [at_ms for at_ms, _ in changes]
    count = min(MOST, int((until_ms - times[0]) / interval_ms) + 1)
    found = []
    for back in range(count - 1, -1, -1):
        at_ms = int(until_ms - back * interval_ms)
        place = bisect.bisect_right(times, at_ms) - 1
        value = changes[place][1] if place >= 0 else None
        if value is not None:
            found.append((at_ms, value))
    return found
