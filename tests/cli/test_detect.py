"""`edge-agent detect` and `edge-agent drift` as a person, or a harness, meets them: a real process, real pipes."""

import contextlib
import json
import os
import pty
import random
import re
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "edge_agent.cli", "detect"]


def detect(text, *flags, env=None):
    done = subprocess.run(
        [*COMMAND, *flags], input=text, capture_output=True, text=True, env={**os.environ, **(env or {})}
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr, done.returncode


def rows(seed, count, shift_at=None, start=0, by=3.0):
    rng = random.Random(seed)
    return "".join(
        f"{(start + t) * 300},{rng.gauss(0, 1) + (by if shift_at is not None and t >= shift_at else 0)}\n"
        for t in range(count)
    )


def test_each_row_has_one_answer_and_a_shift_is_one_shift():
    """In each of eight series, of which the 5 600 readings before the shift may cost one alarm at most, on average."""
    before = []
    for seed in range(1, 9):
        found, told, code = detect("timestamp,value\n" + rows(seed, 800, shift_at=700), "--season-s", "0")
        assert (len(found), told, code) == (800, "", 0)
        assert all(set(each) == {"score", "alarm", "kind"} and 0 <= each["score"] <= 1 for each in found)
        alarms = [(at, each["kind"]) for at, each in enumerate(found) if each["alarm"]]
        before += [(seed, at, kind) for at, kind in alarms if at < 700]
        assert all(at < 720 for at, _ in alarms)
        assert [kind for at, kind in alarms if at >= 700 and kind != "spike"] == ["shift"]
        assert all(each["score"] == 0 for each in found[:20])
    assert len(before) <= 3


def test_settings_come_from_flags_the_environment_and_each_reset():
    text = '0,1\n300,50\n#reset {"hi": 40}\n0,1\n300,50\n'
    found, _, _ = detect(text)
    assert [each["alarm"] for each in found] == [False, False, False, True]
    assert found[3]["kind"] == "limit"
    found, _, _ = detect(text, env={"DRIFT_META": '{"hi": 45}'})
    assert [each["alarm"] for each in found] == [False, True, False, True]
    found, _, _ = detect(text, "--hi", "60", env={"DRIFT_META": '{"hi": 45}'})
    assert [each["alarm"] for each in found] == [False, False, False, True]


def test_a_reset_begins_a_new_series_and_forgets_the_old():
    found, _, _ = detect(rows(1, 300) + "#reset {}\n" + rows(1, 300))
    assert found[:300] == found[300:]


def test_each_row_is_answered_before_the_next_is_needed():
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        for at in range(30):
            child.stdin.write(f"2026-01-01T00:{at:02d}:00,{at % 7}\n")
            child.stdin.flush()
            assert json.loads(child.stdout.readline())["alarm"] is False
        child.stdin.close()
        assert child.wait() == 0


@pytest.mark.parametrize(
    "row", ["", "1", "1,2,3", "x,1", "1,x", "1e300,1", "2026-13-01,1", "9" * 5000 + ",1", "\x00,\x00"]
)
def test_a_row_that_cannot_be_read_is_answered_and_told_and_the_rest_goes_on(row):
    found, told, code = detect(f"0,1\n{row}\n600,2\n")
    assert len(found) == 3
    assert "error" in found[1]
    assert "line 2: got" in told
    assert "error" not in found[2]
    assert code == 1


@pytest.mark.parametrize("value", ["", "nan", "inf", "-inf", "NaN"])
def test_what_is_missing_is_no_error(value):
    found, told, code = detect(f"0,1\n300,{value}\n600,2")
    assert (len(found), told, code) == (3, "", 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [("[]", "one JSON object"), ("{", "one JSON object"), ('{"warmup_samples": 3}', "warmup_samples")],
)
def test_settings_that_cannot_be_are_refused_with_their_place(given, said):
    found, told, code = detect("0,1\n", env={"DRIFT_META": given})
    assert (found, code) == ([], 1)
    assert said in told


def test_numbers_that_count_rows_are_taken_times_the_interval():
    counted = "".join(f"{t},{line.split(',')[1]}\n" for t, line in enumerate(rows(2, 500).splitlines()))
    assert detect(counted, "--interval-s", "300")[0][200:] == detect(rows(2, 500))[0][200:]


def test_progress_is_told_on_a_terminal_while_the_answers_go_into_a_file(tmp_path):
    (tmp_path / "rows").write_text(rows(3, 60_000))
    ours, theirs = pty.openpty()
    with (tmp_path / "rows").open() as given, (tmp_path / "answers").open("w") as answers:
        child = subprocess.Popen(COMMAND, stdin=given, stdout=answers, stderr=theirs)
        os.close(theirs)
        told = b""
        with contextlib.suppress(OSError):  # so a terminal says that nobody writes to it any more
            while chunk := os.read(ours, 4096):
                told += chunk
        assert child.wait() == 0
    os.close(ours)
    assert re.search(rb"\r[1-9][0-9]* rows, [1-9][0-9]* a second", told)
    assert told.rstrip().endswith(b"\r60000 rows")
    assert len((tmp_path / "answers").read_text().splitlines()) == 60_000


def test_no_progress_is_told_in_a_pipe():
    found, told, _ = detect(rows(3, 30_000))
    assert (len(found), told) == (30_000, "")
