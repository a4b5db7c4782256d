"""What a turn came to, for people: the report in the reference workflow's own fields, and in short for the record."""

from collections.abc import Iterable, Sequence
from typing import Literal

from edge_agent.judge.findings import loud
from edge_agent.judge.words import duration
from edge_agent.model.action import Outcome
from edge_agent.model.assessment import Assessment
from edge_agent.model.finding import SEVERITIES, Anomaly
from edge_agent.model.layout import record_ref
from edge_agent.model.reading import iso_utc
from edge_agent.model.record import Entry, Report
from edge_agent.model.site import Site
from edge_agent.model.world import World

WORKFLOW = "digital_twin_sync_loop"
DELTA_ONLY = "delta_only"
LOW_CONFIDENCE = 0.5
"""Below it more readings failed than held, and the report says so."""

Status = Literal["synced", "drift_detected", "action_taken", "rolled_back", "failed"]


def brief(found: Assessment) -> Entry:
    """Return the report in short, as it stands in every record."""
    findings = loud(found.world.findings.values())
    return Entry(
        "turn",
        {
            "status": "drift_detected" if findings else "synced",
            "anomalies": len(findings),
            "severity": worst(findings),
            "risk": found.risk.level,
            "ahead": found.ahead.level,
            "confidence": round(found.confidence, 3),
            "readings": found.readings,
        },
    )


def summarize(
    found: Assessment,
    outcomes: Sequence[Outcome],
    world: World,
    state: bytes,
    head: bytes,
    site: Site,
    advice: tuple[float, tuple[str, ...]],
) -> Report:
    """Return the report of a turn.

    `world` is the sealed one, `state` its digest, `head` the digest of its record; `advice` is the recommended
    interval to the next turn in seconds, and why.
    """
    findings = loud(world.findings.values())
    record = record_ref(world.version)
    status = _status(findings, outcomes)
    interval_s, triggers = advice
    return Report(
        workflow_id=f"{WORKFLOW}:{world.world_id}:{world.at_ms}",
        world_id=world.world_id,
        sync_timestamp=iso_utc(world.at_ms),
        status=status,
        twin_snapshot={
            "version": str(world.version),
            "state": {
                "condition": "drifting" if world.findings else "nominal",
                "entities": len(world.entities),
                "variables": len(world.variables),
                "findings": len(world.findings),
            },
            "hash": f"sha256:{state.hex()}",
            "evidence_anchors": [record],
        },
        drift_report={
            "anomalies_detected": len(findings),
            "severity": worst(findings) or "low",
            "triggers": [finding.sentence for finding in findings],
            "evidence_anchors": sorted({anchor for finding in findings for anchor in finding.anchors}),
        },
        risk_assessment={
            "current_risk": found.risk.level,
            "forecasted_risk": found.ahead.level,
            "risk_factors": [*found.risk.factors, *found.ahead.factors],
            "evidence_anchors": sorted({*found.risk.anchors, *found.ahead.anchors}),
        },
        actions=_actions(found, outcomes),
        verification=_verification(outcomes),
        audit={
            "log_path": f"{site.settings.agent.data_dir}/log",
            "provenance_chain": [f"sha256:{head.hex()}"],
            "evidence_anchors": [record],
        },
        rollback=_rollback(outcomes),
        next_sync={"recommended_interval": duration(interval_s), "triggers": [*triggers, *_at_once(site)]},
        confidence=round(found.confidence, 3),
        evidence_anchors=list(found.anchors),
        assumptions=_assumptions(found, site.settings.sync.mode),
    )


def worst(findings: Iterable[Anomaly]) -> str | None:
    """Return the highest severity among findings, or None without any."""
    ranks = [SEVERITIES.index(finding.severity) for finding in findings]
    return SEVERITIES[max(ranks)] if ranks else None


def _status(findings: Sequence[Anomaly], outcomes: Sequence[Outcome]) -> Status:
    results = {outcome.result for outcome in outcomes}
    if results & {"failed", "unknown"}:
        return "failed"
    if "rolled_back" in results:
        return "rolled_back"
    if results:
        return "action_taken"
    return "drift_detected" if findings else "synced"


def _actions(found: Assessment, outcomes: Sequence[Outcome]) -> dict[str, object]:
    written = [
        f"{step.source}.{step.point} = {step.value!r} ({o.result})"
        for o in outcomes
        if o.action.writes
        for step in o.plan.steps
    ]
    ruled = [f"{r.plan.summary} ({r.verdict}: {r.reason})" for r in found.rulings]
    ended = [f"{o.plan.summary} ({o.result}: {o.reason})" for o in outcomes]
    return {
        "executed": bool(written),
        "plan_summary": "; ".join(ruled + ended) or "nothing to do",
        "changes": written,
        "safety_gates_passed": all(ruling.verdict != "refuse" for ruling in found.rulings),
        "evidence_anchors": sorted({anchor for ruling in found.rulings for anchor in ruling.plan.anchors}),
    }


def _verification(outcomes: Sequence[Outcome]) -> dict[str, object]:
    over = [outcome for outcome in outcomes if outcome.result != "pending"]
    passed = all(outcome.result == "verified" for outcome in over)
    return {
        "result": "SKIPPED" if not over else "PASS" if passed else "FAIL",
        "criteria_met": [f"{o.plan.id}: {o.reason}" for o in over if o.result == "verified"],
        "evidence_anchors": [record_ref(o.checkpoint.seq) for o in over if o.checkpoint is not None],
    }


def _rollback(outcomes: Sequence[Outcome]) -> dict[str, object]:
    marks = [outcome.checkpoint for outcome in outcomes if outcome.checkpoint is not None]
    return {
        "available": bool(marks),
        "executed": any(outcome.result == "rolled_back" for outcome in outcomes),
        "restore_point": record_ref(marks[-1].seq) if marks else None,
        "command": None,
    }


def _at_once(site: Site) -> list[str]:
    """Return what brings the next turn on before its time."""
    points = [point for source in site.sources for point in source.points]
    limits = sum((point.alarm_above, point.alarm_below) != (None, None) for point in points)
    return (
        [f"at once when a reading passes its limit: {limits} variable{'s have' if limits > 1 else ' has'} one"]
        if limits
        else []
    )


def _assumptions(found: Assessment, mode: str) -> list[str]:
    told = []
    if mode == DELTA_ONLY:
        told.append("delta_only: risk was not estimated and nothing was planned")
    if not found.readings:
        told.append("nothing was read in this turn: the twin stands as it stood")
    elif found.confidence < LOW_CONFIDENCE:
        told.append(f"{found.readings - found.good} of {found.readings} readings were not good: the twin is uncertain")
    told.append("values that were read again unchanged still hold as of this turn")
    return told
