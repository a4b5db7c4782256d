"""False alarms and delays: `python tests/benchmarks/drift.py [REPEATS [SEED]]` prints them beside river's detectors.

The budget is one false alarm in 8 640 readings, and the change comes after 2 500 of which 1 000 warm up; found means
noticed within 500 readings. Ours has the budget and nothing else. River's ADWIN and Page-Hinkley (`pip install river`;
256 MB with SciPy, so no dependency of the tests) get what no user has: their threshold is set on streams of the same
kind, so that they keep to the same budget. Streams are seeded; another SEED gives fresh ones, and nothing was chosen
by any of them. Figures of 30 repeats scatter by a tenth.
"""

import collections
import math
import multiprocessing
import random
import sys
from collections.abc import Callable, Iterator

from edge_agent.judge.monitor import Monitor
from edge_agent.judge.subject import Subject
from edge_agent.model.checked import Name, Seconds
from edge_agent.model.profile import PathPoint
from edge_agent.model.site import DriftSettings
from edge_agent.model.world import Variable

BUDGET, WARMUP, CHANGE, WITHIN = 8640, 1000, 2500, 500
INTERVAL_MS = 300_000
DAY = 288
START_MS = 1_699_920_000_000
CONTROL = 2 * BUDGET + WARMUP


def monitor(season: bool) -> Monitor:
    subject = Subject(Variable(1, "w:device:x", "v", None, "gauge", "x"), PathPoint(name=Name("v"), path="$"))
    day = Seconds(86_400 if season else 0)
    return Monitor(subject, DriftSettings(Seconds(BUDGET * INTERVAL_MS / 1000), WARMUP, day))


def season(t: int) -> float:
    return 3 * math.sin(2 * math.pi * t / DAY) + math.sin(4 * math.pi * t / DAY + 1)


def stream(kind: str, rng: random.Random, count: int) -> Iterator[float]:
    """Give readings of variance 1 around what is usual."""
    phi = {"AR 0.7": 0.7, "AR 0.95": 0.95, "quantised AR": 0.9}.get(kind, 0.0)
    e = level = 0.0
    variance = 1.0
    for t in range(count):
        g = rng.gauss(0, 1)
        e = phi * e + math.sqrt(1 - phi * phi) * g
        if kind == "season":
            yield e + season(t)
        elif kind.startswith("quantised"):
            yield round(2 * e) / 2
        elif kind == "heavy-tailed":
            yield g / math.sqrt(sum(rng.gauss(0, 1) ** 2 for _ in range(3)) / 3)
        elif kind == "wandering":
            level = 0.998 * level + 0.04 * rng.gauss(0, 1)
            yield g + level
        elif kind == "weekly":
            work = t // DAY % 7 < 5
            yield g + (season(t) if work else 0.4 * season(t) - 2)
        elif kind == "heteroscedastic (by the day)":
            yield g * (1 + 0.8 * math.sin(2 * math.pi * t / DAY))
        elif kind == "heteroscedastic (GARCH)":
            variance = 0.02 + 0.08 * e * e + 0.9 * variance
            e = math.sqrt(variance) * g
            yield e
        else:
            yield e


Change = Callable[[float, int, int, float], float]
"""From a reading, its place after the change, its place in all, and the last reading before, to what is read."""
CASES: list[tuple[str, str, Change, str]] = [
    ("iid, 1 sigma", "iid", lambda x, i, t, p: x + 1, "1.00, 20"),
    ("iid, 2 sigma", "iid", lambda x, i, t, p: x + 2, "1.00, 6.5"),
    ("iid, ramp 1 sigma in 200", "iid", lambda x, i, t, p: x + min(1.0, i / 200), "1.00, 120"),
    ("AR 0.7, 1 sigma", "AR 0.7", lambda x, i, t, p: x + 1, "1.00, 80"),
    ("AR 0.7, 2 sigma", "AR 0.7", lambda x, i, t, p: x + 2, "1.00, 24"),
    ("AR 0.95, 2 sigma", "AR 0.95", lambda x, i, t, p: x + 2, "0.98, 9"),
    ("season, 2 sigma", "season", lambda x, i, t, p: x + 2, "1.00, 50"),
    ("season, 1 sigma", "season", lambda x, i, t, p: x + 1, "-"),
    ("variance x 4", "iid", lambda x, i, t, p: 2 * x, "1.00, 20"),
    ("variance x 2, season", "season", lambda x, i, t, p: season(t) + math.sqrt(2) * (x - season(t)), "1.00, 60"),
    ("stuck", "iid", lambda x, i, t, p: p, "1.00, 8"),
    ("stuck, quantised AR", "quantised AR", lambda x, i, t, p: p, "-"),
]
CONTROLS = [
    ("iid", "1"), ("AR 0.7", "1"), ("AR 0.95", "1"), ("season", "1"), ("quantised", "1"), ("quantised AR", "1"),
    ("heavy-tailed", "1.5"), ("wandering", "1.5"), ("weekly", "2"), ("heteroscedastic (by the day)", "2"),
    ("heteroscedastic (GARCH)", "2"),
]  # fmt: skip
SEASONAL = ("season", "weekly", "heteroscedastic (by the day)")


def changed(case: int, seed: str) -> Iterator[float]:
    _, kind, change, _ = CASES[case]
    before = 0.0
    for t, x in enumerate(stream(kind, random.Random(f"{case} {seed}"), CHANGE + WITHIN)):
        if t < CHANGE:
            before = x
        yield x if t < CHANGE else change(x, t - CHANGE, t, before)


def ours(values: Iterator[float], kind: str) -> list[tuple[int, str]]:
    watched = monitor(kind in SEASONAL)
    alarms = []
    for t, value in enumerate(values):
        at_ms = START_MS + t * INTERVAL_MS
        alarm = watched.update(value, at_ms * 1_000_000, at_ms)
        if alarm is not None:
            alarms.append((t, alarm.kind))
    return alarms


def rivals() -> dict[str, tuple[Callable[[float], object], list[float]]]:
    """Return how each is made from its threshold, and the thresholds that are tried, from the most to the least eager."""
    try:
        from river import drift
    except ImportError:
        print("river is not installed: ours alone")
        return {}
    return {
        "ADWIN": (lambda delta: drift.ADWIN(delta=delta, clock=1), [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-12]),
        "Page-Hinkley": (
            lambda h: drift.PageHinkley(min_instances=30, delta=0.25, threshold=h, alpha=1.0),
            [10, 15, 20, 30, 45, 70, 100, 150, 250, 400],
        ),
    }


def rival_alarms(name: str, threshold: float, values: Iterator[float]) -> list[tuple[int, str]]:
    make = rivals()[name][0]
    detector = make(threshold)
    alarms = []
    for t, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            if t >= WARMUP:
                alarms.append((t, name))
            detector = make(threshold) if name == "Page-Hinkley" else detector
    return alarms


def control_of(task: tuple[str, str, float, str]) -> list[tuple[int, str]]:
    name, kind, threshold, seed = task
    values = stream(kind, random.Random(f"control {kind} {seed}"), CONTROL)
    return ours(values, kind) if name == "ours" else rival_alarms(name, threshold, values)


def case_of(task: tuple[str, int, float, str]) -> list[tuple[int, str]]:
    name, case, threshold, seed = task
    values = changed(case, seed)
    return ours(values, CASES[case][1]) if name == "ours" else rival_alarms(name, threshold, values)


def found(runs: list[list[tuple[int, str]]]) -> str:
    first = [next((t - CHANGE for t, _ in run if t >= CHANGE), None) for run in runs]
    delays = [each for each in first if each is not None]
    return f"{len(delays) / len(runs):.2f}, {sum(delays) / max(1, len(delays)):5.1f}"


def main(repeats: int, seed: str) -> None:
    with multiprocessing.Pool() as pool:
        others = rivals()
        thresholds: dict[tuple[str, str], float] = {}
        for name, (_, tried) in others.items():
            for kind in dict.fromkeys(case[1] for case in CASES):
                for threshold in tried:
                    tasks = [(name, kind, threshold, f"calibration {n}") for n in range(4)]
                    thresholds[name, kind] = threshold
                    if sum(map(len, pool.map(control_of, tasks))) <= 4 * (CONTROL - WARMUP) / BUDGET:
                        break
        print(
            f"{'found within 500, mean delay':28}{'ours':>14}{'ours, at least':>16}"
            + "".join(f"{n:>16}" for n in others)
        )
        for case, (name, kind, _, goal) in enumerate(CASES):
            row = found(pool.map(case_of, [("ours", case, 0.0, f"{seed} {n}") for n in range(repeats)]))
            theirs = [
                found(pool.map(case_of, [(n, case, thresholds[n, kind], f"{seed} {r}") for r in range(repeats)]))
                for n in others
            ]
            print(f"{name:28}{row:>14}{goal:>16}" + "".join(f"{each:>16}" for each in theirs), flush=True)
        print("\nfalse alarms in control, as a ratio to the budget")
        for kind, goal in CONTROLS:
            runs = pool.map(control_of, [("ours", kind, 0.0, f"{seed} {n}") for n in range(repeats)])
            kinds = collections.Counter(which for run in runs for _, which in run)
            ratio = sum(kinds.values()) / (len(runs) * (CONTROL - WARMUP) / BUDGET)
            print(f"{kind:32}{ratio:6.2f}   at most {goal:4} {dict(kinds)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30, sys.argv[2] if len(sys.argv) > 2 else "1")
