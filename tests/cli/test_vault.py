"""`log`, `snapshots` and `keys`, as a technician and an auditor use them: real processes on a real data folder."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys

import pytest
from sites import METER, written

from edge_agent.cli.entries import Filter, Row
from edge_agent.model.layout import DataDir
from edge_agent.seal.canonical import split
from edge_agent.seal.squash import unseal_stretch
from edge_agent.store.keys import load_public
from edge_agent.store.rotations import read_ring
from edge_agent.uplink.follower import Follower

COMMAND = [sys.executable, "-m", "edge_agent.cli"]


def run(*words):
    done = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done


def lines(*words):
    done = run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Gateway:
    """A data folder with two runs in it, and the agent.pub that was taken at install."""

    def __init__(self, folder):
        self.config = written(folder, METER)
        self.data = folder / "data"
        self.pub = folder / "install.pub"
        assert run("keys", "new", self.config).returncode == 0
        shutil.copy(self.data / "keys" / "agent.pub", self.pub)
        self.turn()
        self.turn()

    def turn(self):
        assert run("sync", self.config, "--patience", "0").returncode == 0

    def verify(self):
        return run("log", "verify", self.data, "--key", self.pub, "--json")


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return Gateway(tmp_path_factory.mktemp("gateway"))


@pytest.fixture
def gateway(once, tmp_path):
    """A copy of its own to change."""
    shutil.copytree(once.config.parent, tmp_path, dirs_exist_ok=True)
    found = object.__new__(Gateway)
    found.config, found.data, found.pub = written(tmp_path, METER), tmp_path / "data", tmp_path / "install.pub"
    return found


def test_log_show_takes_a_configuration_or_a_folder_and_says_what_happened(once):
    by_config, by_folder = run("log", "show", once.config), run("log", "show", once.data, "--key", once.pub)
    assert by_config.stdout == by_folder.stdout
    assert " start " in by_config.stdout
    assert " value " not in by_config.stdout


@pytest.mark.parametrize(
    ("filters", "kinds"),
    [
        (["--kind", "start"], {"start"}),
        (["--kind", "start", "--kind", "value"], {"start", "value"}),
        (["--variable", "meter.volts"], {"value", "variable"}),
        (["--entity", "meter", "--kind", "entity"], {"entity"}),
        (["--entity", "w:device:meter", "--kind", "entity"], {"entity"}),
        (["--since", "2199-01-01"], set()),
        (["--until", "1970-01-02T00:00Z"], set()),
        (["--from", "9999"], set()),
    ],
)
def test_log_show_filters(once, filters, kinds):
    assert {row["kind"] for row in lines("log", "show", once.data, "--json", *filters)} == kinds


@pytest.mark.parametrize(
    ("kind", "facts", "taken"),
    [
        ("action", {"action": "c0ffee12"}, True),
        ("approval", {"action": "c0ffee12"}, True),
        ("action", {"action": "beef"}, False),
        ("merge", {"action": "c0ffee"}, False),
        ("turn", {}, False),
    ],
)
def test_log_show_of_an_action_takes_what_concerns_it(kind, facts, taken):
    assert Filter(action="c0ffee").takes(Row(1, 0, True, kind, None, None, facts)) is taken


def test_log_show_stays_within_its_range(once):
    rows = lines("log", "show", once.data, "--json", "--from", "2", "--to", "3")
    assert {row["seq"] for row in rows} == {2, 3}


def test_log_show_refuses_a_time_that_is_none(once):
    done = run("log", "show", once.data, "--since", "yesterday")
    assert done.returncode == 2
    assert "2026-01-31" in done.stderr


def test_log_show_follows_what_is_still_to_come(gateway):
    command = [*COMMAND, "log", "show", str(gateway.data), "--kind", "start", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        try:
            seen = [json.loads(reader.stdout.readline())["seq"] for _ in range(2)]
            gateway.turn()
            assert json.loads(reader.stdout.readline())["seq"] > max(seen)
        finally:
            reader.terminate()  # not as a person does it: whoever runs the tests may have told its children to ignore that
    assert reader.returncode == -signal.SIGTERM


def test_log_show_is_a_table_on_a_terminal(once):
    main, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, "log", "show", str(once.data), "--kind", "start"], stdout=theirs) as done:
        assert done.wait(60) == 0
    os.close(theirs)
    shown = os.read(main, 65536).decode()
    os.close(main)
    assert "record" in shown.splitlines()[0]
    assert shown.splitlines()[0].startswith("\033[1m")


def test_log_export_gives_every_record_as_a_line_and_the_same_bytes_raw(once):
    rows = lines("log", "export", once.data, "--key", once.pub)
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert {row["world"] for row in rows} == {"w"}
    assert rows[1]["prev"] == rows[0]["digest"]
    raw = subprocess.run([*COMMAND, "log", "export", str(once.data), "--raw"], capture_output=True, check=True).stdout
    follower = Follower("w", load_public(once.pub))
    for envelope in split(raw):
        follower.take(envelope)
    assert follower.seq == len(rows)
    assert [row["digest"] for row in rows] == [
        unseal_stretch(envelope, load_public(once.pub)).digests[-1].hex() for envelope in split(raw)
    ]
    assert [row["seq"] for row in lines("log", "export", once.data, "--from", "2", "--to", "2")] == [2]


def test_log_verify_names_segment_offset_record_and_what_is_wrong(gateway):
    assert json.loads(gateway.verify().stdout)["fault"] is None
    segment = min((gateway.data / "log").glob("0*.seg"))
    content = bytearray(segment.read_bytes())
    at = content.index(b"EAR1", content.index(b"EAR1") + 4)
    content[at + 50] ^= 1
    segment.write_bytes(content)
    done = gateway.verify()
    fault = json.loads(done.stdout)["fault"]
    assert done.returncode == 1
    assert fault == {"file": segment.name, "offset": at, "seq": 2, "wrong": "records 2 to 2 are missing (damaged)"}


def test_log_verify_names_a_snapshot_that_is_of_another_gateway(gateway, tmp_path):
    (tmp_path / "other").mkdir()
    other = Gateway(tmp_path / "other")
    shutil.copy(other.data / "snapshots.json", gateway.data / "snapshots.json")
    fault = json.loads(gateway.verify().stdout)["fault"]
    assert fault["file"] == "snapshots.json"
    assert "signed by key" in fault["wrong"]


def test_keys_new_makes_one_and_never_in_the_place_of_another(once):
    assert once.pub.read_text().startswith("ssh-ed25519 ")
    done = run("keys", "new", once.config)
    assert done.returncode == 1
    assert "keys rotate" in done.stderr


def test_who_took_the_key_at_install_verifies_across_rotations(gateway):
    for _ in range(2):
        assert run("keys", "rotate", gateway.config).returncode == 0
        gateway.turn()
    shown = json.loads(run("keys", "show", gateway.data, "--json").stdout)
    assert len(shown["replaced"]) == 2
    assert shown["replaced"][0]["keyid"] == load_public(gateway.pub).keyid
    done = gateway.verify()
    assert done.returncode == 0, done.stdout
    assert [row["facts"]["was"] for row in lines("log", "show", gateway.data, "--kind", "rotate", "--json")] == [
        key.raw.hex() for key in read_ring(DataDir(gateway.data), load_public(gateway.pub)).keys[:2]
    ]
    assert not (gateway.data / "keys" / "agent.key.new").exists()


def test_without_the_rotating_records_the_old_key_does_not_lead_to_the_new_one(gateway):
    run("keys", "rotate", gateway.config)
    gateway.turn()
    (gateway.data / "keys" / "rotations").unlink()
    assert "signed by key" in json.loads(gateway.verify().stdout)["fault"]["wrong"]


def test_a_key_that_was_replaced_does_not_start_the_agent(gateway):
    old = (gateway.data / "keys" / "agent.key").read_bytes()
    run("keys", "rotate", gateway.config)
    (gateway.data / "keys" / "agent.key").write_bytes(old)
    for _ in range(2):
        done = run("sync", gateway.config, "--patience", "0")
        assert done.returncode == 1
        assert "which replaced it in record" in done.stderr


def test_snapshots_are_listed_shown_and_compared(once):
    rows = json.loads(run("snapshots", "list", once.data, "--json").stdout)
    assert {row["fault"] for row in rows} == {None}
    first, last = rows[-1]["seq"], rows[0]["seq"]
    assert "meter.volts" in run("snapshots", "show", once.config, first).stdout
    assert len(json.loads(run("snapshots", "show", once.config, last, "--json").stdout)["state_variables"]) == 3
    changed = json.loads(run("snapshots", "diff", once.config, first, last, "--json").stdout)["changes"]
    assert {change["change"] for change in changed} == {"ValueChange"}
    assert run("snapshots", "diff", once.config, last, last).stdout == "nothing changed\n"
    wrong = run("snapshots", "show", once.config, 9999)
    assert wrong.returncode == 1
    assert f"wanted one of {first}" in wrong.stderr


def test_a_twin_is_restored_by_one_audited_record_and_every_verifier_follows(gateway):
    rows = json.loads(run("snapshots", "list", gateway.data, "--json").stdout)
    first = rows[-1]["seq"]
    done = run("snapshots", "restore", gateway.config, first)
    assert done.returncode == 0, done.stderr
    (row,) = lines("log", "show", gateway.data, "--kind", "restore", "--json")
    assert row["facts"]["snapshot"] == first
    assert row["facts"]["by"].startswith("os:")
    assert gateway.verify().returncode == 0
    before, after = (
        json.loads(run("snapshots", "show", gateway.data, first, "--json").stdout),
        json.loads(run("twin", gateway.config, "--json").stdout),
    )
    values = [[v.get("value") for v in found["state_variables"]] for found in (before, after)]
    assert values[0] == values[1]


@pytest.mark.parametrize(
    "words", [["keys", "rotate"], ["keys", "new"], ["snapshots", "restore"], ["snapshots", "accept"], ["sync"]]
)
def test_while_an_agent_runs_nothing_else_writes_and_its_process_is_named(gateway, words):
    with subprocess.Popen([*COMMAND, "run", str(gateway.config)], stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout.readline() == b"READY\n"
            done = run(*words, gateway.config, *(["1"] if words[-1] == "restore" else []))
            assert done.returncode == 74
            assert f"process {agent.pid} is already running" in done.stderr
        finally:
            agent.terminate()
            agent.wait(30)
