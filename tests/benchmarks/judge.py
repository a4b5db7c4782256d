"""What the statistics cost: `python tests/benchmarks/judge.py` prints microseconds an update and bytes a variable.

Time is CPU time: the median of nine runs of 20 000 updates, and the 99th percentile of blocks of 20. Memory is what
tracemalloc sees of 20 monitors. At the end a million rows go through `edge-agent detect`. The readings are independent normal ones, so that nothing is cheap by being constant;
where a season is in use they have one, or there would be nothing to use.
"""

import gc
import json
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc

from edge_agent.judge.learning import ENOUGH
from edge_agent.judge.monitor import Monitor
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Subject
from edge_agent.model.checked import Name, Seconds
from edge_agent.model.profile import PathPoint
from edge_agent.model.site import DriftSettings
from edge_agent.model.world import Variable

FLAT = DriftSettings(season=Seconds(0))
SEASONAL = DriftSettings(season=Seconds(3600), warmup=7200)
"""An hour stands for a day: a season in use weighs the same, and an update costs at least as much. The warm-up sees two."""
SWING = 2.0
"""Of that season: four sigma."""
RUNS, UPDATES, MONITORS = 9, 20_000, 20
WARM = 8
LEARNED = ENOUGH + 4096
"""Readings after the warm-up after which nothing is learned any more, though some blocks were dropped."""


def subject(number: int) -> Subject:
    variable = Variable(number, f"w:device:pump{number}", "bearing_temp", "degC", "gauge", "pump")
    return Subject(variable, PathPoint(name=Name("bearing_temp"), path="$", alarm_above=85.0))


def readings(count: int, start: int = 0, slope: float = 0.0, swing: float = 0.0) -> list[tuple[float, int, int]]:
    rng = random.Random(start)
    found = []
    for t in range(start, start + count):
        usual = 60.0 + slope * (t - start) + swing * math.sin(2 * math.pi * t / SEASONAL.season)
        found.append((rng.gauss(usual, 0.5), t * 10**9, 1_700_000_000_000 + t * 1000))
    return found


def micros(drift: DriftSettings, before: list[tuple[float, int, int]], timed: list[tuple[float, int, int]]) -> str:
    runs, blocks = [], []
    for _ in range(RUNS):
        monitor = Monitor(subject(0), drift)
        for reading in before:
            monitor.update(*reading)
        update = monitor.update
        began = time.process_time()
        for value, mono_ns, at_ms in timed:
            update(value, mono_ns, at_ms)
        runs.append((time.process_time() - began) / len(timed) * 1e6)
    for first in range(0, len(timed) - 20, 20):
        began = time.process_time()
        for value, mono_ns, at_ms in timed[first : first + 20]:
            update(value, mono_ns, at_ms)
        blocks.append((time.process_time() - began) / 20 * 1e6)
    return f"{statistics.median(runs):6.2f} us, 99 % of blocks within {sorted(blocks)[int(0.99 * len(blocks))]:6.2f} us"


def octets(drift: DriftSettings, count: int) -> float:
    taken = readings(count, swing=SWING if drift is SEASONAL else 0.0)
    step = Step()
    warm = Monitor(subject(0), drift, step=step)
    for reading in taken:  # thresholds are shared by all variables of one interval: count them out
        warm.update(*reading)
    tracemalloc.start()
    monitors = []
    for _ in range(MONITORS):
        monitor = Monitor(warm.subject, drift, step=step)
        for value, mono_ns, at_ms in taken:
            monitor.update(value + 0.0, mono_ns + 0, at_ms + 0)
        monitors.append(monitor)
    gc.collect()  # what Python keeps of tuples and figures that are no more, to make others of, is no variable's
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / len(monitors)


def restart_ms(count: int) -> tuple[float, int]:
    """Return how long it takes to be warm again with so many variables, in ms of CPU, and the bytes of the file."""
    monitor = Monitor(subject(0), SEASONAL)
    for reading in readings(SEASONAL.warmup + 800, swing=SWING):
        monitor.update(*reading)
    text = json.dumps([monitor.to_state()] * count)
    began = time.process_time()
    for state in json.loads(text):
        Monitor.from_state(monitor.subject, SEASONAL, state)
    return (time.process_time() - began) * 1e3, len(text)


def detect_s(rows: int) -> float:
    """Return what `edge-agent detect` takes for a file of so many rows, in s of CPU, its start included."""
    with tempfile.TemporaryFile() as series:
        series.writelines(b"%d,%.3f\n" % (at_ms // 1000, value) for value, _, at_ms in readings(rows))
        series.seek(0)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "edge_agent.cli", "detect"]
        subprocess.run(command, stdin=series, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    warm, learned = FLAT.warmup + WARM, FLAT.warmup + LEARNED
    print(f"update, learned         {micros(FLAT, readings(learned), readings(UPDATES, learned))}")
    print(f"update, still learning  {micros(FLAT, readings(warm), readings(2000, warm))}")
    print(f"update, shift open      {micros(FLAT, readings(learned), readings(UPDATES, learned, slope=0.01))}")
    learned = SEASONAL.warmup + LEARNED
    print(f"update, no season found {micros(SEASONAL, readings(learned), readings(UPDATES, learned))}")
    in_use = readings(learned, swing=SWING), readings(UPDATES, learned, swing=SWING)
    print(f"update, season in use   {micros(SEASONAL, *in_use)}")
    print(f"memory, warming up      {octets(FLAT, FLAT.warmup - 1):6.0f} bytes a variable")
    for state, after in (("still learning", WARM), ("learned", LEARNED)):
        flat, with_season = (octets(drift, drift.warmup + after) for drift in (FLAT, SEASONAL))
        print(f"memory, {state:15} {flat:6.0f} bytes a variable, with a season {with_season:6.0f}")
    took_ms, size = restart_ms(1000)
    print(f"warm restart with 1 000 variables {took_ms:6.0f} ms, {size / 1e6:.1f} MB of JSON")
    print(f"edge-agent detect, 1 000 000 rows {detect_s(1_000_000):6.1f} s")
