"""What a person sees at the command line: words, not tracebacks, and the right exit code."""

import json
import subprocess
import sys

import pytest
from sites import METER, written

COMMAND = [sys.executable, "-m", "edge_agent.cli"]


def run(*words, **options):
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=60, **options)


def quiet(done):
    """Whether it failed in words: something said, and no traceback."""
    return bool(done.stderr.strip() or done.stdout.strip()) and "Traceback" not in done.stderr


def test_help_names_the_commands_and_an_example():
    done = run("--help")
    assert done.returncode == 0
    for name in ("check", "run", "sync", "twin", "events", "findings", "mirror", "log", "demo"):
        assert name in done.stdout
    assert "example: edge-agent" in done.stdout


@pytest.mark.parametrize(
    "name",
    [
        "check",
        "run",
        "sync",
        "twin",
        "events",
        "findings",
        "mirror",
        "log",
        "snapshots",
        "keys",
        "demo",
        "probe",
        "scan",
        "profiles",
        "drift",
        "detect",
    ],
)
def test_every_commands_help_has_an_example(name):
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"edge-agent {name}" in done.stdout
    assert "example" in done.stdout


@pytest.mark.parametrize(
    "words", [[], ["chek"], ["run"], ["log"], ["log", "verify"], ["mirror"], ["demo", "--second", "x"]]
)
def test_used_wrongly_is_two(words):
    done = run(*words)
    assert done.returncode == 2
    assert quiet(done)


def test_check_lists_every_problem_and_ends_with_one(tmp_path):
    text = METER.replace("function = 4", "function = 9") + '[sync]\nintervall = "1s"\n'
    done = run("check", written(tmp_path, text))
    assert done.returncode == 1
    for words in ("points.volts.function", "points.serial_number.function", 'did you mean "interval"?', "3 problems"):
        assert words in done.stdout, done.stdout


def test_check_says_what_a_good_file_will_do_and_touches_nothing(tmp_path):
    done = run("check", written(tmp_path, METER))
    assert done.returncode == 0, done.stdout
    for words in (
        "a turn every 1 s",
        "tcp://127.0.0.1:502",
        "meter: fc4",
        "3 variables",
        "nothing leaves this gateway",
    ):
        assert words in done.stdout
    assert not (tmp_path / "data").exists()


def test_check_as_json_is_json(tmp_path):
    good = json.loads(run("check", written(tmp_path, METER), "--json").stdout)
    assert (good["ok"], good["problems"]) == (True, [])
    bad = json.loads(run("check", written(tmp_path, METER + "x = 1\n"), "--json").stdout)
    assert bad["ok"] is False
    assert set(bad["problems"][0]) == {"place", "got", "wanted", "hint"}


def test_check_names_a_url_that_no_link_serves(tmp_path):
    done = run("check", written(tmp_path, METER.replace("tcp://127.0.0.1:{port}", "udp://127.0.0.1:{port}")))
    assert done.returncode == 1
    assert "udp://" in done.stdout
    assert "tcp://" in done.stdout


def test_check_lists_urls_and_tables_that_are_wrong_in_one_run(tmp_path):
    text = '[sync]\ninterval = "fast"\n' + METER.replace("tcp://", "udp://")
    done = run("check", written(tmp_path, text))
    assert "sync.interval" in done.stdout
    assert "udp://" in done.stdout
    assert "2 problems" in done.stdout


@pytest.mark.parametrize("command", ["run", "sync", "check"])
def test_a_state_folder_that_cannot_be_written_is_named(tmp_path, command):
    path = written(tmp_path, METER)
    path.write_text(path.read_text().replace(str(tmp_path / "data"), "/dev/null/data"))
    done = run(command, path)
    assert done.returncode in (1, 74)
    assert "/dev/null" in done.stdout + done.stderr
    assert quiet(done)


def test_a_key_that_others_can_read_is_refused_with_the_command_that_mends_it(tmp_path):
    path = written(tmp_path, METER)
    assert run("sync", path, "--patience", "0").returncode == 0
    key = tmp_path / "data" / "keys" / "agent.key"
    key.chmod(0o644)
    done = run("sync", path, "--patience", "0")
    assert done.returncode == 1
    assert "0644" in done.stderr
    assert f"chmod 600 {key}" in done.stderr
    assert quiet(done)


def test_a_log_whose_last_frame_is_torn_is_read_up_to_there(tmp_path):
    path = written(tmp_path, METER)
    assert run("sync", path, "--patience", "0").returncode == 0
    segment = tmp_path / "data" / "log" / "00000001.seg"
    content = segment.read_bytes()
    end = len(content.rstrip(b"\0"))
    segment.write_bytes(content[: end - 40] + bytes(len(content) - end + 40))
    again = run("sync", path, "--patience", "0")
    assert again.returncode == 0, again.stderr
    assert "Traceback" not in again.stderr


def test_log_verify_names_the_place_of_a_flipped_bit(tmp_path):
    path = written(tmp_path, METER)
    for _ in range(3):
        run("sync", path, "--patience", "0")
    assert run("log", "verify", tmp_path / "data").returncode == 0
    segment = tmp_path / "data" / "log" / "00000002.seg"
    content = bytearray(segment.read_bytes())
    content[content.index(b"EAR1") + 60] ^= 4
    segment.write_bytes(content)
    done = run("log", "verify", tmp_path / "data")
    assert done.returncode == 1
    assert "FAULT" in done.stdout
    assert "00000002.seg" in done.stdout


def test_log_verify_needs_the_gateways_own_key(tmp_path):
    path = written(tmp_path, METER)
    run("sync", path, "--patience", "0")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    done = run("log", "verify", tmp_path / "data", "--key", tmp_path / "other.pub")
    assert done.returncode == 1
    assert "signed by key" in done.stdout


@pytest.mark.parametrize("words", [["log", "verify"], ["twin"], ["events"]])
def test_a_folder_without_a_log_is_named(tmp_path, words):
    where = tmp_path if words[0] == "log" else written(tmp_path, METER)
    done = run(*words, where)
    assert done.returncode != 0
    assert "no log" in done.stderr
    assert quiet(done)


def test_twin_and_events_print_json_that_a_program_can_read(tmp_path):
    path = written(tmp_path, METER)
    run("sync", path, "--patience", "0")
    twin = json.loads(run("twin", path, "--json").stdout)
    assert len(twin["state_variables"]) == 3
    events = [json.loads(line) for line in run("events", path, "--json").stdout.splitlines()]
    assert {"audit.turn", "observation.changed"} <= {event["event_type"] for event in events}


def test_drift_says_of_each_variable_why_it_does_not_alarm_and_names_the_close_match(tmp_path):
    path = written(tmp_path, METER)
    run("sync", path, "--patience", "0")
    told = run("drift", path)
    assert told.returncode == 0
    assert "at most 1 false alarm in 30 d" in told.stdout
    assert "meter.volts" in told.stdout
    assert "no opinion yet" in told.stdout
    assert "0 of the 120 readings" in told.stdout
    wrong = run("drift", path, "meter.volt")
    assert wrong.returncode == 1
    assert 'did you mean "meter.volts"' in wrong.stderr


def test_a_pipe_that_is_closed_ends_a_command_without_a_word(tmp_path):
    path = written(tmp_path, METER)
    for _ in range(3):
        run("sync", path, "--patience", "0")
    done = subprocess.run(
        f"{' '.join(COMMAND)} events {path} | head -c 10", shell=True, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
