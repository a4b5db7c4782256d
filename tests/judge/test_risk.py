"""Risk now and ahead, how soon to look again, and whether forecasts keep what they promise."""

import math

import pytest
from benchmarks.forecast import brier, calibration, runs

from edge_agent.judge.risk import Limits, Unheard, estimate_risk, forecast_risk, next_interval
from edge_agent.judge.trend import Course
from edge_agent.judge.words import duration
from edge_agent.model.finding import Anomaly, Risk

DAY_S = 86_400.0
NONE = Risk(0.0, (), ())


def finding(severity="medium", number=1, confidence=1.0):
    return Anomaly(
        f"a.b{number}/shift", number, "shift", severity, "a.b is high", 0, 0.9, confidence, (f"sensor:a/b{number}@1",)
    )


@pytest.mark.parametrize(
    ("severities", "criticality", "level"),
    [([], 1.0, 0.0), (["low"], 1.0, 0.1), (["medium"], 1.0, 0.3), (["critical"], 0.5, 0.45), (["high", "high"], 1.0, 0.84),
     (["critical"] * 5, 1.0, 0.99999)],
)  # fmt: skip
def test_findings_are_joined_as_independent_causes(severities, criticality, level):
    found = estimate_risk([finding(s, n) for n, s in enumerate(severities)], dict.fromkeys(range(9), criticality))
    assert found.level == pytest.approx(level, abs=1e-4)
    assert len(found.factors) == len(severities)
    assert not [f for f in found.factors if "a.b is high" not in f]


@pytest.mark.parametrize(
    ("now", "ahead", "failed", "expected", "words"),
    [(0.0, 0.0, 0, "15m", "no risk is known and every reading was good"),
     (0.15, 0.40, 0, "5m", "risk 0.40 within 24 h"),
     (1.0, 1.0, 0, "1m", "risk 1.00 now"),
     (0.0, 0.0, 4, "5m", "4 of 10 readings were not good"),
     (0.0, 0.0, 10, "1m", "10 of 10 readings were not good")],
)  # fmt: skip
def test_the_next_turn_follows_risk_and_freshness_within_its_limits(now, ahead, failed, expected, words):
    later = Risk(ahead, (), (), DAY_S)
    seconds, triggers = next_interval(Risk(now, (), ()), later, Unheard(failed, 10), Limits(60, 900))
    assert duration(seconds) == expected
    assert words in triggers


def test_a_turn_that_heard_nothing_does_not_claim_that_all_is_well():
    assert next_interval(NONE, NONE, Unheard(0, 0), Limits(1, 60))[1] == ("nothing was read in this turn",)


@pytest.mark.parametrize("limits", [(0.05, 3.0), (1.0, 60.0), (7.0, 7.0), (60.0, 86_400.0 * 30)])
def test_no_recommendation_leaves_the_limits(limits):
    for level in range(11):
        seconds, _ = next_interval(Risk(level / 10, (), ()), NONE, Unheard(0, 0), Limits(*limits))
        assert limits[0] <= seconds <= limits[1]


def test_a_forecast_is_never_below_the_risk_of_now_and_says_its_horizon_and_uncertainty():
    now = Risk(0.2, ("x",), ())
    course = Course(
        1, "pump.bearing_temp", 70.0, 0.8 / 3600, 0.2 / 3600, 85.0, 0.9, 0.5, ("sensor:pump/bearing_temp@1",)
    )
    ahead = forecast_risk(now, [course], DAY_S)
    assert ahead.level > now.level
    assert ahead.horizon_s == DAY_S
    (factor,) = ahead.factors
    assert factor.startswith("pump.bearing_temp reaches 85 in about 19 h at its present trend")
    assert "with a chance of 81 % within 24 h" in factor


def test_forecasts_keep_what_they_promise():
    told = runs()
    assert len(told) > 300, "of a thousand runs"
    for said, came, count in calibration(told):
        allowed = 3 * math.sqrt(max(said * (1 - said), 0.01) / count) + 0.05
        assert abs(said - came) < allowed
    ours, always_the_same = brier(told)
    assert ours < always_the_same / 2
