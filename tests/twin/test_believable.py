import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.profile import RegisterPoint
from edge_agent.model.reading import Anchor, Instant, Reading
from edge_agent.twin.believable import Believable


def judged(steps, kind="counter", max_rate=0.01, every_s=1.0):
    """Pass values through, one each `every_s`, and return (value, quality) of each."""
    point = RegisterPoint(name="kwh", function=3, address=0, type="uint32", kind=kind, max_rate=max_rate)
    believable = Believable([point])
    found = []
    for n, value in enumerate(steps):
        anchor = Anchor("m", "x", Instant(0, int(n * every_s * 1e9), synced=True))
        (reading,) = believable.take([Reading(anchor, "kwh", value)])
        found.append((reading.value, reading.quality))
    return found


def qualities(*args, **rest):
    return [quality for _, quality in judged(*args, **rest)]


def test_pain_04_a_spike_in_a_counter_is_never_a_good_value():
    """solax-modbus#1229: 65535; HA#51103: 0 for busy; Sigenergy#313: 187 kWh out of nothing."""
    for spike in (0, 65535, 1187.0, 4294967295):
        assert judged([1000.0, 1000.0, spike, 1000.1, 1000.1]) == [
            (1000.0, "uncertain:unconfirmed"),
            (1000.0, "good"),
            (None, "bad:jump"),
            (1000.1, "good"),
            (1000.1, "good"),
        ]


def test_two_readings_that_agree_are_believed_after_a_reset_or_a_new_meter():
    assert qualities([1000.0, 1000.0, 0, 0, 0.1]) == ["uncertain:unconfirmed", "good", "bad:jump", "good", "good"]


def test_two_spikes_that_disagree_are_two_spikes():
    assert qualities([1000, 1000, 65535, 0, 1000]) == ["uncertain:unconfirmed", "good", "bad:jump", "bad:jump", "good"]


def test_the_first_value_after_a_start_is_a_spike_like_any_other():
    assert qualities([65535, 1000, 1000]) == ["uncertain:unconfirmed", "uncertain:unconfirmed", "good"]


def test_a_step_of_the_meter_is_no_jump_and_a_long_gap_allows_more():
    assert qualities([10.0, 10.0, 10.5]) == ["uncertain:unconfirmed", "good", "good"]  # 0.6 in a minute
    assert qualities([10.0, 10.0, 10.7])[-1] == "bad:jump"
    assert qualities([10.0, 10.0, 45.0], every_s=3600)[-1] == "good"


def test_a_counter_without_a_rate_is_doubted_only_when_it_falls():
    assert qualities([0, 5, 10**9, 7, 10**9], max_rate=None) == ["good", "good", "good", "bad:jump", "good"]


def test_a_gauge_may_fall_as_fast_as_it_may_rise():
    assert qualities([20.0, 20.0, 19.5, 15.0, 19.0], "gauge", 1.0)[1:] == ["good", "good", "bad:jump", "good"]


@pytest.mark.parametrize("value", [True, "text"])
def test_what_is_no_number_is_left_alone(value):
    assert judged([value]) == [(value, "good")]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=30))
def test_a_good_value_is_always_within_reach_of_the_one_before(values):
    """Before it stands the last good one, or the one that was doubted and is agreed with."""
    believed = doubted = None
    for value, (_, quality) in zip(values, judged(values, max_rate=5.0), strict=True):
        near = [seen for seen in (believed, doubted) if seen is not None and 0 <= value - seen <= 300 * len(values)]
        assert quality != "good" or near
        believed, doubted = (value, None) if quality == "good" else (believed, value)


def test_points_without_a_bound_cost_nothing():
    readings = [Reading(Anchor("m", "x", Instant(0, 0, synced=True)), "w", 0.0)]
    assert Believable([RegisterPoint(name="w", function=3, address=0, type="uint16")]).take(readings) is readings
