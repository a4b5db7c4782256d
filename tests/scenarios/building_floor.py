"""The specification's own example: what the floor does, and what the report of the turn must say of it."""

import random
import re
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "reference" / "examples" / "building-floor.toml"
SETPOINT_DEGC = 22.0
WARMING_DEGC_PER_S = 1.2 / 3600
"""The air conditioning has failed: what sun and people bring in."""
HEALTHY_S = 600
"""Seconds before it fails."""


class Room:
    """A room that rests at its setpoint, and warms from the moment its air conditioning fails."""

    def __init__(self, seed: int = 3) -> None:
        self._rng = random.Random(seed)

    def temperature(self, second: float) -> float:
        """Return what the sensor says at a second of the day."""
        warmth = max(0.0, second - HEALTHY_S) * WARMING_DEGC_PER_S
        return round(SETPOINT_DEGC + warmth + self._rng.gauss(0, 0.03), 2)


def expect(report: dict, since: int, readings: dict[str, dict[int, float]]) -> None:
    """Hold the report of the turn in which the drift was told against the specification.

    `since` is the wall time (ms) from which the room was too warm, give or take its sensor's noise; `readings` are
    the values that were truly read, by source and point and then by wall time.
    """
    assert (report["world_id"], report["status"]) == ("building-floor-3", "drift_detected")
    drift = report["drift_report"]
    assert (drift["anomalies_detected"], drift["severity"]) == (1, "medium")
    (trigger,) = drift["triggers"]
    assert re.fullmatch(
        r"floor-3\.temperature is 1\.[678] degC above ac-3\.setpoint \(22 degC\): by 1\.5 degC or more"
        r" since \d\d:\d\d:\d\d UTC, for more than 10 min",
        trigger,
    ), trigger
    _expect_evidence(drift["evidence_anchors"], since, readings)
    risk = report["risk_assessment"]
    assert 0 < risk["current_risk"] < risk["forecasted_risk"] < 0.7
    now, ahead = risk["risk_factors"]
    assert now == f"medium: {trigger} (0.15)"
    assert ahead.startswith("the difference of floor-3.temperature and ac-3.setpoint reaches 3 in about ")
    assert "at its present trend" in ahead
    actions = report["actions"]
    assert (actions["executed"], actions["changes"], actions["safety_gates_passed"]) == (False, [], True)
    assert re.fullmatch(
        r"inspect floor-3 today: .*; watch temperature for 15 more minutes \(recommend: it writes nothing: a person decides\)",
        actions["plan_summary"],
    ), actions["plan_summary"]
    assert report["verification"]["result"] == "SKIPPED"
    assert (report["rollback"]["available"], report["rollback"]["executed"]) == (False, False)
    assert report["next_sync"]["recommended_interval"] == "5m"
    assert report["next_sync"]["triggers"] == [
        "risk 0.15 now", f"risk {risk['forecasted_risk']:.2f} within 24 h",
    ]  # fmt: skip
    assert report["confidence"] == 1.0
    assert report["assumptions"] == ["values that were read again unchanged still hold as of this turn"]


def _expect_evidence(anchors: list[str], since: int, readings: dict[str, dict[int, float]]) -> None:
    """Follow each anchor to the very reading it names."""
    assert {anchor.split("@")[0] for anchor in anchors} == {
        "sensor:room-sensor/temperature",
        "sensor:ac-status/setpoint",
    }
    for anchor in anchors:
        ref, _, at_ms = anchor.partition("@")
        value = readings[ref.removeprefix("sensor:")][int(at_ms)]
        if ref.endswith("setpoint"):
            assert value == SETPOINT_DEGC
        else:
            assert value > SETPOINT_DEGC + 1.5
            assert int(at_ms) - since > 500_000
