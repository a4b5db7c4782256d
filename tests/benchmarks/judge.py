"""What the statistics cost: `python tests/benchmarks/judge.py` prints microseconds an update and bytes a variable.

Time is CPU time, the median of nine runs of 20 000 updates; memory is what tracemalloc sees of 100 monitors. The
readings are independent normal ones, so that nothing is cheap by being constant.
"""

import random
import statistics
import time
import tracemalloc

from edge_agent.judge.learning import ENOUGH
from edge_agent.judge.monitor import Monitor
from edge_agent.judge.subject import Subject
from edge_agent.model.site import DriftSettings

DRIFT = DriftSettings()
RUNS, UPDATES, MONITORS = 9, 20_000, 100
WARM = DRIFT.warmup + 8
LEARNED = 2 * ENOUGH
"""Readings after which nothing is learned any more, though some blocks were dropped."""


def subject(number: int) -> Subject:
    path = f"pump{number}.bearing_temp"
    return Subject(number, path, f"sensor:pump{number}/bearing_temp", "degC", shifts=True, above=85.0, quantum=0.1)


def readings(count: int, start: int = 0, slope: float = 0.0) -> list[tuple[float, int, int]]:
    rng = random.Random(start)
    times = range(start, start + count)
    return [(rng.gauss(60.0, 0.5) + slope * (t - start), t * 10**9, 1_700_000_000_000 + t * 1000) for t in times]


def micros(before: list[tuple[float, int, int]], timed: list[tuple[float, int, int]]) -> float:
    runs = []
    for _ in range(RUNS):
        monitor = Monitor(subject(0), DRIFT)
        for reading in before:
            monitor.update(*reading)
        update = monitor.update
        began = time.process_time()
        for value, mono_ns, at_ms in timed:
            update(value, mono_ns, at_ms)
        runs.append((time.process_time() - began) / len(timed) * 1e6)
    return statistics.median(runs)


def conclude_micros() -> float:
    monitor = Monitor(subject(0), DRIFT)
    for reading in readings(WARM) + readings(500, WARM, slope=0.01):
        monitor.update(*reading)
    known = {found.id: found for found in monitor.findings({}, 0)}
    assert known, "the ramp must be open"
    began = time.process_time()
    for _ in range(UPDATES):
        monitor.findings(known, 0)
    return (time.process_time() - began) / UPDATES * 1e6


def octets(count: int) -> float:
    taken = readings(count)
    for reading in taken:  # thresholds are shared by all variables of one interval: count them out
        warm.update(*reading)
    tracemalloc.start()
    monitors = []
    for number in range(MONITORS):
        monitor = Monitor(subject(number), DRIFT)
        for value, mono_ns, at_ms in taken:
            monitor.update(value + 0.0, mono_ns + 0, at_ms + 0)
        monitors.append(monitor)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / len(monitors)


if __name__ == "__main__":
    warm = Monitor(subject(0), DRIFT)
    learned = readings(LEARNED)
    print(f"update, learned        {micros(learned, readings(UPDATES, LEARNED)):6.2f} us")
    print(f"update, still learning {micros(readings(WARM), readings(2000, WARM)):6.2f} us")
    print(f"update, shift open     {micros(learned, readings(UPDATES, LEARNED, slope=0.01)):6.2f} us")
    print(f"asking an open finding {conclude_micros():6.2f} us")
    print(f"memory, warming up     {octets(DRIFT.warmup - 1):6.0f} bytes a variable")
    print(f"memory, still learning {octets(WARM + 64):6.0f} bytes a variable")
    print(f"memory, learned        {octets(LEARNED):6.0f} bytes a variable")
