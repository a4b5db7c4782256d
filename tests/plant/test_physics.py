import itertools
import math
import random
import statistics

import pytest

from edge_agent.plant.physics import RATED_SPEED_RPM, BearingDrift, BoilerHouse, Controls

STEP_S = 0.1


def moments(seconds, seed=1, drift=None, controls=None):
    house = BoilerHouse(random.Random(seed), drift)
    return [house.step(STEP_S, controls or Controls()) for _ in range(round(seconds / STEP_S))]


def test_a_seed_is_a_plant():
    assert moments(5) == moments(5)
    assert moments(5) != moments(5, seed=2)


def test_power_follows_from_voltage_current_and_power_factor():
    for moment in moments(2):
        meter = moment.meter
        for phase in ("l1", "l2", "l3"):
            volts, amps, cos = meter[f"voltage_{phase}"], meter[f"current_{phase}"], meter[f"power_factor_{phase}"]
            assert meter[f"power_{phase}"] == pytest.approx(volts * amps * cos)
            triangle = math.hypot(meter[f"power_{phase}"], meter[f"reactive_power_{phase}"])
            assert meter[f"apparent_power_{phase}"] == pytest.approx(triangle)
            assert 220 < volts < 240
        assert meter["power_total"] == pytest.approx(sum(meter[f"power_l{n}"] for n in (1, 2, 3)))


def test_energy_is_power_over_time_and_never_falls():
    seen = [moment.meter for moment in moments(60)]
    counted = seen[-1]["energy_import"] - seen[0]["energy_import"]
    assert counted == pytest.approx(sum(m["power_total"] for m in seen[1:]) * STEP_S / 3.6e6)
    assert all(a["energy_import_l1"] < b["energy_import_l1"] for a, b in itertools.pairwise(seen))


def test_a_healthy_bearing_keeps_its_temperature_but_for_noise():
    seen = [moment.pump["bearing_temp"] for moment in moments(600)]
    assert abs(statistics.mean(seen) - 54) < 1
    assert 0.1 < statistics.stdev(seen) < 0.6


def test_a_worn_bearing_warms_first_and_shakes_later():
    healthy, worn = moments(900), moments(900, drift=BearingDrift(start_s=300, rate_degc_per_min=2))

    def extra(name, second):
        at = round(second / STEP_S) - 1
        return worn[at].pump[name] - healthy[at].pump[name]

    assert extra("bearing_temp", 300) == 0
    assert extra("bearing_temp", 360) == pytest.approx(2, abs=0.2)
    assert extra("vibration", 360) == 0
    assert extra("bearing_temp", 900) == pytest.approx(20, abs=0.2)
    assert extra("vibration", 900) == pytest.approx(0.12 * 17, abs=0.05)


def test_slowing_the_pump_relieves_the_bearing_and_the_motor_and_lowers_the_flow():
    house = BoilerHouse(random.Random(1), BearingDrift(start_s=0, rate_degc_per_min=10))
    before = [house.step(STEP_S, Controls()) for _ in range(1200)][-1]
    after = [house.step(STEP_S, Controls(speed_setpoint_rpm=700)) for _ in range(300)][-1]
    assert after.pump["speed"] == pytest.approx(700, abs=10)
    assert after.pump["bearing_temp"] < before.pump["bearing_temp"] - 10
    assert after.pump["motor_current"] < before.pump["motor_current"] / 2
    assert after.line["flow"] == pytest.approx(before.line["flow"] * 700 / RATED_SPEED_RPM, rel=0.1)


def test_a_closed_valve_stops_the_flow_and_not_the_pump():
    moment = moments(1, controls=Controls(valve_open=False))[-1]
    assert moment.line["flow"] == 0
    assert moment.pump["speed"] > 1400
