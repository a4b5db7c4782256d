"""A small boiler house: mains meter, circulation pump, heating line and boiler room, coherent with one another.

Pure: it knows only its random source and the seconds that it is told have passed. The same seed and the same
steps give the same plant. Its figures were chosen to be believable, not measured. Left out: hydraulics (flow follows
speed), thermal coupling between room and line, and harmonics.
"""

import math
import random
from collections.abc import Mapping

import msgspec

RATED_SPEED_RPM = 1450.0
_RATED_FLOW_LMIN = 90.0
_DEMAND = 0.6
"""The heat demand, 0..1, around which the plant strays."""
_ROOM_DEGC = 22.0
_PHASES = {"l1": 2.2, "l2": 1.4, "l3": 0.9}
"""The three phases, and the current in A of what else hangs on each."""


class BearingDrift(msgspec.Struct, frozen=True):
    """A fault: from `start_s` on the pump's bearing warms at `rate_degc_per_min`, and then begins to shake."""

    start_s: float
    rate_degc_per_min: float

    def warmth_degc(self, now_s: float) -> float:
        """Return how much warmer than healthy the bearing tends to be at `now_s` seconds."""
        return max(0.0, now_s - self.start_s) / 60 * self.rate_degc_per_min


class Controls(msgspec.Struct, frozen=True):
    """What the outside sets."""

    speed_setpoint_rpm: float = RATED_SPEED_RPM
    valve_open: bool = True


class Moment(msgspec.Struct, frozen=True):
    """What each device would report now, by point name of its profile."""

    at_s: float
    meter: Mapping[str, float]
    pump: Mapping[str, float]
    line: Mapping[str, float]
    """The heating line: what its counter writes on the serial port."""
    room: Mapping[str, float]


class _Wander:
    """A value that strays around `mean` with standard deviation `spread`, forgetting itself over `memory_s`."""

    def __init__(self, rng: random.Random, mean: float, spread: float, memory_s: float) -> None:
        self._rng, self._mean, self._spread, self._memory_s = rng, mean, spread, memory_s
        self._away = rng.gauss(0.0, spread)

    def step(self, elapsed_s: float) -> float:
        """Return the value `elapsed_s` later: an AR(1) process whose spread does not depend on the step."""
        kept = math.exp(-elapsed_s / self._memory_s)
        self._away = kept * self._away + math.sqrt(1 - kept * kept) * self._rng.gauss(0.0, self._spread)
        return self._mean + self._away


class _Lag:
    """A value that follows its target with time constant `constant_s`."""

    def __init__(self, value: float, constant_s: float) -> None:
        self.value, self._constant_s = value, constant_s

    def step(self, target: float, elapsed_s: float) -> float:
        self.value = target + (self.value - target) * math.exp(-elapsed_s / self._constant_s)
        return self.value


class BoilerHouse:
    """The running state of the plant.

    A plant in a hurry: what strays does so within seconds, so that a baseline learned in seconds knows all of it.
    """

    def __init__(self, rng: random.Random, drift: BearingDrift | None = None) -> None:
        self._drift = drift
        self._now_s = 0.0
        self._demand = _Wander(rng, _DEMAND, 0.01, 0.4)
        self._volts = {phase: _Wander(rng, 230.0, 0.6, 0.4) for phase in _PHASES}
        self._volts_noise = {phase: _Wander(rng, 0.0, 0.15, 0.05) for phase in _PHASES}
        self._hertz = _Wander(rng, 50.0, 0.012, 0.4)
        self._other_amps = {phase: _Wander(rng, amps, 0.05, 0.4) for phase, amps in _PHASES.items()}
        self._energy_kwh = dict.fromkeys(_PHASES, 411.5)
        self._speed = _Lag(RATED_SPEED_RPM, 2.0)
        self._speed_noise = _Wander(rng, 0.0, 1.5, 0.5)
        self._bearing = _Lag(_bearing_level_degc(_ROOM_DEGC, 1.0, 1.0), 240.0)
        self._fault_heat = _Lag(0.0, 4.0)
        self._bearing_noise = _Wander(rng, 0.0, 0.2, 0.1)
        self._shake_noise = _Wander(rng, 0.0, 0.05, 0.5)
        self._flow_noise = _Wander(rng, 0.0, 0.45, 0.5)
        self._inlet = _Lag(_inlet_level_degc(_DEMAND), 90.0)
        self._inlet_noise = _Wander(rng, 0.0, 0.05, 0.5)
        self._room_degc = _Wander(rng, _ROOM_DEGC, 0.05, 0.4)
        self._humidity = _Wander(rng, 41.0, 0.3, 0.4)

    def step(self, elapsed_s: float, controls: Controls) -> Moment:
        """Let `elapsed_s` seconds pass and return what there is to see."""
        self._now_s += elapsed_s
        demand = min(1.0, max(0.2, self._demand.step(elapsed_s)))
        room = {"temperature": self._room_degc.step(elapsed_s), "humidity": self._humidity.step(elapsed_s)}
        line = self._step_line(elapsed_s, demand, controls)
        pump = self._step_pump(elapsed_s, line["flow"], room["temperature"])
        meter = self._step_meter(elapsed_s, demand, pump["motor_current"])
        return Moment(self._now_s, meter, pump, line, room)

    def _step_line(self, elapsed_s: float, demand: float, controls: Controls) -> dict[str, float]:
        speed = self._speed.step(controls.speed_setpoint_rpm, elapsed_s)
        noise = self._flow_noise.step(elapsed_s)
        flow = max(0.0, _RATED_FLOW_LMIN * speed / RATED_SPEED_RPM + noise) if controls.valve_open else 0.0
        inlet = self._inlet.step(_inlet_level_degc(demand), elapsed_s) + self._inlet_noise.step(elapsed_s)
        return {"flow": flow, "inlet_temp": inlet}

    def _step_pump(self, elapsed_s: float, flow_lmin: float, room_degc: float) -> dict[str, float]:
        speed = max(0.0, self._speed.value + self._speed_noise.step(elapsed_s))
        share = self._speed.value / RATED_SPEED_RPM
        load = share * share * (0.35 + 0.65 * flow_lmin / _RATED_FLOW_LMIN)
        # friction makes the fault's heat: a pump that is slowed down relieves its bearing
        warmth = self._drift.warmth_degc(self._now_s) if self._drift else 0.0
        extra = self._fault_heat.step(warmth * share * share, elapsed_s)
        healthy = self._bearing.step(_bearing_level_degc(room_degc, share, load), elapsed_s)
        # a worn bearing is warm first and shakes later
        shake = 1.4 * share + 0.12 * max(0.0, extra - 3.0)
        return {
            "bearing_temp": healthy + extra + self._bearing_noise.step(elapsed_s),
            "motor_current": 1.6 * share + 3.4 * load * share + 0.01 * extra,
            "speed": speed,
            "vibration": max(0.0, shake + self._shake_noise.step(elapsed_s)),
        }

    def _step_meter(self, elapsed_s: float, demand: float, motor_amps: float) -> dict[str, float]:
        found: dict[str, float] = {}
        for phase in _PHASES:
            volts = self._volts[phase].step(elapsed_s) + self._volts_noise[phase].step(elapsed_s)
            amps = motor_amps + max(0.1, self._other_amps[phase].step(elapsed_s)) * demand / _DEMAND
            cos = 0.84 + 0.1 * demand
            watts = volts * amps * cos
            self._energy_kwh[phase] += watts * elapsed_s / 3.6e6
            found |= _phase_points(phase, volts, amps, cos, self._energy_kwh[phase])
        return found | _totals(found) | {"frequency": self._hertz.step(elapsed_s)}


def _bearing_level_degc(room_degc: float, speed_share: float, load: float) -> float:
    """Return where a healthy bearing ends at a constant speed and load, both 0..1 of what the pump is rated for."""
    return room_degc + 14.0 * speed_share + 18.0 * load


def _inlet_level_degc(demand: float) -> float:
    """Return where the inlet temperature ends at a constant heat demand of 0..1."""
    return 58.0 + 8.0 * demand


def _phase_points(phase: str, volts: float, amps: float, cos: float, energy_kwh: float) -> dict[str, float]:
    apparent = volts * amps
    return {
        f"voltage_{phase}": volts,
        f"current_{phase}": amps,
        f"power_{phase}": apparent * cos,
        f"apparent_power_{phase}": apparent,
        f"reactive_power_{phase}": apparent * math.sqrt(1 - cos * cos),
        f"power_factor_{phase}": cos,
        f"energy_import_{phase}": energy_kwh,
        f"energy_export_{phase}": 0.0,
    }


def _totals(phases: Mapping[str, float]) -> dict[str, float]:
    def over_phases(name: str) -> float:
        return sum(phases[f"{name}_{phase}"] for phase in _PHASES)

    powers = {f"{name}_total": over_phases(name) for name in ("power", "apparent_power", "reactive_power")}
    energies = {name: over_phases(name) for name in ("energy_import", "energy_export")}
    return {
        **powers,
        **energies,
        "power_factor_total": powers["power_total"] / powers["apparent_power_total"],
        "energy_total": sum(energies.values()),
    }
