"""Snapshots, baselines, keys and the lock: what stands beside the log."""

import contextlib
import json
import os
import subprocess
import sys

import pytest
from faulty_disk import FaultyDisk, PowerCut
from hypothesis import given
from hypothesis import strategies as st
from worlds import KEY

from edge_agent.model.errors import StoreError, TrustError
from edge_agent.model.layout import DataDir
from edge_agent.store.baselines import Baselines, Pieces, joined
from edge_agent.store.disk import Disk
from edge_agent.store.keys import load_or_make, load_public
from edge_agent.store.lock import Lock
from edge_agent.store.snapshots import Snapshots


def seqs(snapshots):
    return [each.seq for each in snapshots.list()]


def add(snapshots, seq):
    snapshots.add(b"envelope %d" % seq, seq, 1000 * seq, "interval", bytes(32))


def test_the_newest_are_kept_and_the_oldest_go(tmp_path):
    snapshots = Snapshots.open(tmp_path / "s.json", 3)
    for seq in (0, 5, 6, 9):
        add(snapshots, seq)
    assert seqs(snapshots) == [9, 6, 5]
    assert snapshots.oldest_seq() == 5
    again = Snapshots.open(tmp_path / "s.json", 3)
    assert [(each.seq, each.envelope) for each in again.list()] == [(n, b"envelope %d" % n) for n in (9, 6, 5)]


def test_a_file_damaged_anywhere_gives_the_generation_before_and_says_so(tmp_path):
    path = tmp_path / "s.json"
    snapshots = Snapshots.open(path, 3)
    add(snapshots, 1)
    add(snapshots, 2)
    whole = path.read_bytes()
    for end in range(0, len(whole) - 2, 7):
        path.write_bytes(whole[:end])
        found = Snapshots.open(path, 3)
        assert seqs(found) == [1]
        assert path.name in found.fault
    path.write_bytes(whole)
    assert seqs(Snapshots.open(path, 3)) == [2, 1]


def test_what_is_handed_out_is_a_copy(tmp_path):
    snapshots = Snapshots.open(tmp_path / "s.json", 3)
    add(snapshots, 1)
    listed = snapshots.list()
    listed.clear()
    assert seqs(snapshots) == [1]


def test_a_power_cut_at_any_step_leaves_the_old_generation_or_the_new(tmp_path):
    path = tmp_path / "s.json"
    for at in range(200):
        disk = FaultyDisk()
        disk.make_folder(tmp_path)
        snapshots = Snapshots.open(path, 3, disk)
        add(snapshots, 1)
        disk.cut_at = disk.count + at
        done = False
        with contextlib.suppress(PowerCut):
            add(snapshots, 2)
            done = True
        for state in disk.all_after_cut(16):
            assert seqs(Snapshots.open(path, 3, state)) in ([[2, 1]] if done else [[1], [2, 1]])
        if done:
            assert at > 3
            return
    raise AssertionError("it never ends")


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=4)))
def test_what_is_joined_key_by_key_is_one_json_map_and_is_read_key_by_key(states):
    document = joined(states.items())
    assert json.loads(document) == states
    assert dict(Pieces(document)) == states
    assert dict(Pieces(json.dumps(states).encode())) == states, "in one line, as other versions have kept it"


def test_baselines_come_back_as_they_were_or_not_at_all(tmp_path):
    baselines = Baselines(tmp_path / "b.json")
    assert baselines.load() is None
    baselines.save('{"a": 0}')
    assert baselines.load() == b'{"a": 0}'
    whole = (tmp_path / "b.json").read_bytes()
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1
        (tmp_path / "b.json").write_bytes(broken)
        assert baselines.load() is None
        assert baselines.fault


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path):
    where = DataDir(tmp_path / "data")
    Disk().make_folder(where.root)
    key = load_or_make(where, "w")
    assert (where.private_key.stat().st_mode & 0o777, where.keys.stat().st_mode & 0o777) == (0o600, 0o700)
    assert load_or_make(where, "w").public.raw == key.public.raw
    assert load_public(where.public_key).keyid == key.public.keyid
    assert where.public_key.read_text().startswith("ssh-ed25519 AAAA")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o666])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    where = DataDir(tmp_path / "data")
    Disk().make_folder(where.root)
    load_or_make(where, "w")
    where.private_key.chmod(mode)
    with pytest.raises(TrustError, match=f"{mode:04o}.*0600"):
        load_or_make(where, "w")


def test_a_key_file_that_holds_no_key_is_refused_and_left_alone(tmp_path):
    where = DataDir(tmp_path / "data")
    where.keys.mkdir(parents=True)
    where.private_key.write_bytes(b"")
    where.private_key.chmod(0o600)
    with pytest.raises(TrustError):
        load_or_make(where, "w")
    assert where.private_key.read_bytes() == b""


def test_what_is_no_public_key_is_named(tmp_path):
    (tmp_path / "agent.pub").write_bytes(KEY.to_text())
    with pytest.raises(TrustError, match="agent\\.pub"):
        load_public(tmp_path / "agent.pub")


def test_the_lock_is_held_against_other_processes_and_let_go_when_its_holder_dies(tmp_path):
    where = DataDir(tmp_path / "data")
    code = (
        "import sys, time; from pathlib import Path; from edge_agent.model.layout import DataDir;"
        "from edge_agent.store.lock import Lock; lock = Lock.take(DataDir(Path(sys.argv[1])));"
        "print('held', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(where.root)], **pipes) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match=str(holder.pid)):
            Lock.take(where)
        holder.kill()
        holder.wait()
    lock = Lock.take(where)
    assert where.lock.read_text().strip() == str(os.getpid())
    lock.release()
