"""What to do about the findings. This version recommends and never writes: its plans have no steps."""

from collections.abc import Iterable

from edge_agent.judge.findings import loud
from edge_agent.judge.severity import at_least
from edge_agent.model.action import Plan
from edge_agent.model.finding import Anomaly, Risk

LEAST_SEVERITY = "medium"
"""What is less grave stands in the report and calls nobody."""
WATCH_MIN = {"medium": 15, "high": 15, "critical": 5}
"""Minutes to keep an eye on it. A convention."""
URGENCIES = ((0.5, "now"), (0.2, "today"), (0.0, "at the next round"))
"""From which risk, now or within the horizon, one is to go and look. A convention."""


def plan(anomalies: Iterable[Anomaly], risk: Risk, ahead: Risk) -> tuple[Plan, ...]:
    """Return one plan for each finding that calls for a person. Its id is as stable as the finding's.

    One that was acknowledged calls nobody.
    """
    level = max(risk.level, ahead.level)
    urgency = next(words for least, words in URGENCIES if level >= least)
    return tuple(_watch(anomaly, urgency) for anomaly in loud(anomalies) if at_least(anomaly.severity, LEAST_SEVERITY))


def _watch(anomaly: Anomaly, urgency: str) -> Plan:
    path = anomaly.id.rpartition("/")[0].partition("~")[0]
    entity, _, name = path.partition(".")
    advice = (
        f"inspect {entity} {urgency}: {anomaly.sentence}; watch {name} for {WATCH_MIN[anomaly.severity]} more minutes"
    )
    return Plan(id=f"watch-{anomaly.id}", summary=advice, steps=(), anchors=anomaly.anchors)
