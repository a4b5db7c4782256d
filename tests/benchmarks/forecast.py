"""Whether forecasts keep what they promise: `python tests/benchmarks/forecast.py` prints the calibration of 1 000 runs.

Each run is a variable that rests (independent or autocorrelated readings), begins to drift at some rate, and has a limit
ahead. As soon as there is a course, the forecast of a horizon is written down: the chance that the limit is reached
within it. Then the plant goes on as it did, and either reaches it or does not. In a calibrated forecast, of the runs that
were given 30 chances in 100, 30 in 100 reach it.
"""

import itertools
import math
import random
import time
from typing import NamedTuple

from edge_agent.judge.monitor import Monitor
from edge_agent.judge.risk import reach_probability
from edge_agent.judge.subject import Subject
from edge_agent.model.checked import Seconds
from edge_agent.model.profile import RegisterPoint
from edge_agent.model.site import DriftSettings
from edge_agent.model.world import Variable

RUNS = 1000
MEAN, SIGMA = 60.0, 0.5
RESTS = 300
"""Readings before the drift begins."""
EDGES = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)


class Forecast(NamedTuple):
    """What was said, and what then happened."""

    chance: float
    reached: bool


def forecast(seed: int) -> Forecast | None:
    """Return one run; None when there was no course when it was looked at."""
    rng = random.Random(seed)
    phi = rng.choice((0.0, 0.5, 0.8))
    slope = SIGMA * math.exp(rng.uniform(math.log(0.005), math.log(0.05)))  # a second, which is a reading
    look_s, horizon_s = rng.randrange(100, 500), rng.uniform(300, 3000)
    # The level reaches the limit about when the horizon ends, give or take: elsewhere it is easy to be right.
    wait_s = horizon_s * rng.uniform(0.8, 1.25)
    monitor = _monitor(MEAN + slope * (look_s + wait_s))
    noise = 0.0
    for second in range(RESTS + look_s):
        noise = phi * noise + SIGMA * math.sqrt(1 - phi * phi) * rng.gauss(0, 1)
        level = MEAN + slope * max(0, second - RESTS)
        monitor.update(level + noise, second * 10**9, 1_700_000_000_000 + second * 1000)
    course = monitor.course()
    return None if course is None else Forecast(reach_probability(course, horizon_s), wait_s <= horizon_s)


def _monitor(limit: float) -> Monitor:
    point = RegisterPoint(name="x", function=4, address=0, type="float32", alarm_above=limit)
    variable = Variable(1, "w:pump:pump", "x", "degC", "gauge", "pump")
    return Monitor(Subject(variable, point), DriftSettings(false_alarm_every=Seconds(86_400)))


def runs(count: int = RUNS) -> list[Forecast]:
    """Return the forecasts of so many runs, those without a course left out."""
    return [found for seed in range(count) if (found := forecast(seed)) is not None]


def calibration(told: list[Forecast]) -> list[tuple[float, float, int]]:
    """Return for each bin of chances the mean chance, the share that reached the limit, and how many there were."""
    rows = []
    for low, high in itertools.pairwise(EDGES):
        part = [f for f in told if low <= f.chance < high or high == f.chance == 1.0]
        if part:
            rows.append((sum(f.chance for f in part) / len(part), sum(f.reached for f in part) / len(part), len(part)))
    return rows


def brier(told: list[Forecast]) -> tuple[float, float]:
    """Return the mean squared error of the chances, and that of whoever always says how often it happens."""
    often = sum(f.reached for f in told) / len(told)
    return sum((f.chance - f.reached) ** 2 for f in told) / len(told), often * (1 - often)


def main() -> None:
    """Print the table."""
    begun = time.process_time()
    told = runs()
    print(f"{len(told)} forecasts of {RUNS} runs; the others had no sure trend when they were looked at")
    print("  said    came true    forecasts")
    for said, came, count in calibration(told):
        print(f"  {said:4.2f}    {came:9.2f}    {count:9}")
    ours, rival = brier(told)
    print(f"Brier score {ours:.3f}; always saying how often it happens: {rival:.3f} (lower is better)")
    print(f"{time.process_time() - begun:.1f} s of CPU")


if __name__ == "__main__":
    main()
