"""Outside references: `python tests/benchmarks/corpora.py nab FOLDER` and `… skab FOLDER` print the scores.

FOLDER holds the data as the corpus lays them out; none of it stands here. NAB: `data/*/*.csv` of `timestamp,value` and
`labels/combined_windows.json`. SKAB: `*/*.csv` with `;` between columns, of which `anomaly` and `changepoint` are labels.
Every series goes through `edge-agent detect` with the same settings; `budget_samples` is what one file may cost.

The scorers are written from their published definitions:
NAB (Lavin and Ahmad 2015; the corpus' README): rows before min(15 %, 750) do not count; all is done a second time with
these as the warm-up, for which the corpus has them. In a window the earliest alarm
scores by 2 / (1 + e^(5 y)) - 1 at its place y (-1 at the left edge, 0 at the right), relative to the best; a missed
window costs 1; an alarm outside costs 0.11 times that sigmoid at its distance behind the last window, in windows, and
0.11 when it is far. 0 is a detector that never alarms, 100 a perfect one. One threshold on the scores for the whole
corpus, the best one; and then for `alarm` as it is.
SKAB (its leaderboard): the first 400 rows of a file are there to learn from and do not count; whole files are scored
too. The window is the 60 s behind a change point; the first alarm in it scores from 1 at its left edge to the false
alarm's -0.11 at its right, along a tanh; each alarm outside costs 0.11, a missed window 1.

The lift is the score less that of the same alarms shifted in time at random, the mean of `SHIFTS`, in one ring.
"""

import bisect
import csv
import itertools
import json
import math
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

SHIFTS = 40
NAB_COST = {"standard": (0.11, 1.0), "low FP": (0.22, 1.0), "low FN": (0.11, 2.0)}
"""What a false alarm and a missed window cost."""
SETTINGS = {"budget_samples": 8640}
SKAB_WINDOW_S = 60.0
SKAB_LEARN = 400
"""Rows of a file that its leaderboard gives to learn from."""
SKAB_TOGETHER_S = 30.0
"""Alarms of the columns of one machine within this time are one: several witnesses of one finding."""


def detect(
    series: Sequence[Sequence[tuple[str, str]]], settings: dict[str, object], warmups: Sequence[int] = ()
) -> list[list[dict[str, object]]]:
    lines = []
    for number, rows in enumerate(series):
        lines.append(f'#reset {{"warmup_samples":{max(20, warmups[number])}}}' if warmups else "#reset")
        lines += [f"{stamp},{value}" for stamp, value in rows]
    command = [sys.executable, "-m", "edge_agent.cli", "detect"]
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    done = subprocess.run(
        command + flags, input="\n".join(lines) + "\n", stdout=subprocess.PIPE, text=True, check=False
    )
    answers = iter([json.loads(line) for line in done.stdout.splitlines()])
    return [[next(answers) for _ in rows] for rows in series]


# NAB


def sigmoid(place: float) -> float:
    return -1.0 if place > 3.0 else 2 / (1 + math.exp(5 * place)) - 1


def nab_places(stamps: Sequence[str], windows: Iterable[tuple[str, str]]) -> list[tuple[int, int]]:
    times = [datetime.fromisoformat(stamp) for stamp in stamps]
    return [
        (
            bisect.bisect_left(times, datetime.fromisoformat(a)),
            bisect.bisect_right(times, datetime.fromisoformat(b)) - 1,
        )
        for a, b in windows
    ]


def nab_worth(count: int, windows: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int | None, float]]:
    """Give (row, window or None, worth of an alarm there) for the rows that count."""
    probation = nab_unscored(count)
    inside = {row: number for number, (a, b) in enumerate(windows) for row in range(a, b + 1)}
    last: tuple[int, int] | None = None
    for row in range(count):
        number = inside.get(row)
        if number is not None:
            a, b = windows[number]
            worth = sigmoid(-(b - row + 1) / (b - a + 1)) / sigmoid(-1.0)
            if row == b:
                last = (a, b)
        else:
            worth = -1.0 if last is None else sigmoid((row - last[1]) / (last[1] - last[0]))
        if row >= probation:
            yield row, number, worth


def nab_curve(
    files: Sequence[tuple[Sequence[float], Sequence[tuple[int, int]]]], fp: float, fn: float
) -> list[tuple[float, float]]:
    """Return (threshold, score of the corpus) for each threshold that makes a difference."""
    rows = []
    total = counted = 0
    for number, (scores, windows) in enumerate(files):
        total += len(windows)
        seen = set()
        for row, window, worth in nab_worth(len(scores), windows):
            rows.append((scores[row], None if window is None else (number, window), worth))
            seen.add(window)
        counted += len(seen - {None})
    rows.sort(key=lambda row: -row[0])
    best: dict[tuple[int, int], float] = {}
    score = -fn * counted
    null, perfect = -fn * counted, float(total)
    curve = [(1.1, 0.0)]
    at = 0
    while at < len(rows):
        threshold = rows[at][0]
        while at < len(rows) and rows[at][0] == threshold:
            _, window, worth = rows[at]
            if window is None:
                score += worth * fp
            elif worth > best.get(window, -fn):
                score += worth - best.get(window, -fn)
                best[window] = worth
            at += 1
        curve.append((threshold, 100 * (score - null) / (perfect - null)))
    return curve


def nab_unscored(count: int) -> int:
    return min(int(0.15 * count), 750)


def nab(folder: Path) -> None:
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text())
    names = sorted(name for name in labels if (folder / "data" / name).is_file())
    series = [[tuple(row[:2]) for row in list(csv.reader((folder / "data" / n).open()))[1:]] for n in names]
    windows = [nab_places([s for s, _ in rows], labels[n]) for n, rows in zip(names, series, strict=True)]
    print(f"NAB: {len(names)} files, {sum(map(len, series))} rows, {sum(map(len, windows))} windows")
    nab_print("all settings as they are", windows, detect(series, SETTINGS))
    warmups = [nab_unscored(len(rows)) for rows in series]
    nab_print("what does not count as the warm-up", windows, detect(series, SETTINGS, warmups))


def nab_print(
    name: str, windows: Sequence[Sequence[tuple[int, int]]], answers: Sequence[Sequence[dict[str, object]]]
) -> None:
    scores = [[float(str(a["score"])) for a in each] for each in answers]
    alarms = [[float(bool(a["alarm"])) for a in each] for each in answers]
    print(f" {name}, {sum(map(sum, alarms)):.0f} alarms")
    for profile, (fp, fn) in NAB_COST.items():
        threshold, best = max(nab_curve(list(zip(scores, windows, strict=True)), fp, fn), key=lambda row: row[1])
        own = own_score(alarms, windows, fp, fn)
        rng = random.Random(1)
        shifted = [own_score([_turned(each, rng) for each in alarms], windows, fp, fn) for _ in range(SHIFTS)]
        lift = own - sum(shifted) / SHIFTS
        print(
            f"  {profile:9} by score {best:6.1f} (threshold {threshold:.4f})   own alarms {own:6.1f}, lift {lift:5.1f}"
        )


def own_score(
    alarms: Sequence[Sequence[float]], windows: Sequence[Sequence[tuple[int, int]]], fp: float, fn: float
) -> float:
    return next((score for t, score in nab_curve(list(zip(alarms, windows, strict=True)), fp, fn) if t == 1.0), 0.0)


def _turned(row: Sequence[float], rng: random.Random) -> list[float]:
    by = rng.randrange(len(row))
    return [*row[by:], *row[:by]]


# SKAB


def skab_score(
    files: Sequence[tuple[float, float, Sequence[float], Sequence[float]]], fp: float, fn: float
) -> tuple[float, int, int]:
    """Return the score, how many change points were missed, and the false alarms, of (start, end, changes, alarms)."""
    score = null = perfect = 0.0
    missed = false = 0
    for _, _, changes, alarms in files:
        windows = [[change, change + SKAB_WINDOW_S] for change in changes]
        for before, after in itertools.pairwise(windows):
            if before[1] >= after[0]:
                before[1], after[0] = after[0], before[1]
                before[1], after[0] = min(before[1], after[0]), max(before[1], after[0])
        hits = set()
        for a, b in windows:
            within = [t for t in alarms if a <= t <= b]
            hits.update(within)
            if within:
                x = -math.pi / 2 + math.pi * (within[0] - a) / (b - a) if b > a else -math.pi / 2
                score += (1 + fp) / 2 * -math.tanh(x) / math.tanh(math.pi / 2) + (1 + fp) / 2 - fp
            else:
                missed += 1
                score -= fn
        outside = len([t for t in alarms if t not in hits])
        false += outside
        score -= fp * outside
        null -= fn * len(windows)
        perfect += len(windows)
    return 100 * (score - null) / (perfect - null), missed, false


Machine = tuple[list[float], list[float], list[float]]
"""The times of a file's rows, of its change points, and of all alarms of its columns, rising."""


def skab(folder: Path) -> None:
    machines = []
    paths = sorted(path for path in folder.glob("*/*.csv") if "anomaly-free" not in str(path))
    for path in paths:
        table = list(csv.DictReader(path.open(), delimiter=";"))
        columns = [name for name in table[0] if name not in ("datetime", "anomaly", "changepoint")]
        settings = {**SETTINGS, "budget_samples": SETTINGS["budget_samples"] * len(columns)}
        answers = detect([[(row["datetime"], row[name]) for row in table] for name in columns], settings)
        times = [datetime.fromisoformat(row["datetime"]).timestamp() for row in table]
        raised = sorted(t for each in answers for t, a in zip(times, each, strict=True) if a["alarm"])
        changes = [t for t, row in zip(times, table, strict=True) if float(row["changepoint"]) == 1.0]
        machines.append((times, changes, raised))
    skab_print("without the first 400 rows of each, as its leaderboard", machines, SKAB_LEARN)
    skab_print("whole files", machines, 0)


def skab_print(name: str, machines: Sequence[Machine], first: int) -> None:
    files = []
    for times, changes, raised in machines:
        begin = times[first]
        together: list[float] = []
        for at in raised:
            if at >= begin and (not together or at - together[-1] > SKAB_TOGETHER_S):
                together.append(at)
        files.append((begin, times[-1], [t for t in changes if t >= begin], together))
    points, alarms = (sum(len(file[place]) for file in files) for place in (2, 3))
    print(f"SKAB, {name}: {len(files)} files, {points} change points, {alarms} alarms")
    rng = random.Random(1)
    for profile, (fp, fn) in NAB_COST.items():
        score, missed, false = skab_score(files, fp, fn)
        shifted = []
        for _ in range(SHIFTS):
            turned = [
                (a, b, c, sorted(a + (t - a + rng.uniform(0, b - a)) % (b - a) for t in w)) for a, b, c, w in files
            ]
            shifted.append(skab_score(turned, fp, fn)[0])
        lift = score - sum(shifted) / SHIFTS
        print(f"  {profile:9} {score:6.1f}, lift {lift:5.1f}; missed {missed}, false alarms {false}")


if __name__ == "__main__":
    {"nab": nab, "skab": skab}[sys.argv[1]](Path(sys.argv[2]))
