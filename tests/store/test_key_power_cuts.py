"""The power is cut at every file operation while a key is made or replaced: the gateway starts from whatever is left,
signs with one key, and whoever took the first public key can follow it there."""

import contextlib
import itertools
from pathlib import Path

import pytest
from faulty_disk import FaultyDisk, PowerCut
from small import open_log

from edge_agent.model.errors import StoreError, TrustError
from edge_agent.model.layout import DataDir
from edge_agent.model.record import Entry, Record
from edge_agent.model.world import Delta
from edge_agent.seal.keyring import Keyring
from edge_agent.seal.keys import PublicKey
from edge_agent.seal.records import seal_record, unseal_record
from edge_agent.store import keys, rotations
from edge_agent.store.doubt import Doubt, drop_doubt, keep_doubt, read_doubt

DATA = DataDir(Path("/data"))
STATES = 60


def start(disk):
    """Do what a start does; return log, key and the newest envelope."""
    key = keys.load_or_make(DATA, "w", disk)
    log = open_log(disk, 1 << 20)
    newest = log.read(log.head.seq, 1)[-1].envelope if log.head.seq else None
    return log, rotations.settle_rotation(DATA, "w", key, newest, disk)


def rotate(disk):
    """Do what `keys rotate` does; return the record."""
    log, key = start(disk)
    successor = rotations.begin_rotation(DATA, disk)
    facts = {"was": key.public.raw.hex(), "key": successor.public.raw.hex()}
    sealed = seal(log, key, (Entry("rotate", facts),), successor)
    log.append(sealed)
    rotations.end_rotation(DATA, "w", sealed.envelope, disk)


def seal(log, key, audit=(), successor=None):
    delta = Delta({}, {}, {}, {})
    head = log.head
    unsigned = Record("w", head.seq + 1, head.digest, bytes(16), 0, 0, True, delta, audit, bytes(32))
    return seal_record(unsigned, key, successor)


def public(disk):
    return PublicKey.from_text(bytes(disk.files[DATA.public_key].cache))


def check(disk, first):
    """A start succeeds, and what it signs is proven from the first public key."""
    log, key = start(disk)
    assert public(disk).raw == key.public.raw
    assert DATA.next_key not in disk.files, "a private key that nobody uses lies about"
    kept = rotations.read_rotations(DATA, disk)
    ring = Keyring.around(first or key.public, kept)
    assert ring.newest.raw == key.public.raw
    log.append(seal(log, key))
    for item in log.records(1):
        unseal_record(item.envelope, ring)
    return ring


def test_no_power_cut_while_a_key_is_made_leaves_a_gateway_that_does_not_start():
    for at in itertools.count():
        disk = FaultyDisk()
        disk.cut_at = at
        with contextlib.suppress(PowerCut):
            keys.load_or_make(DATA, "w", disk)
            break
        for state in [*disk.all_after_cut(STATES, seed=at), disk.killed()]:
            check(state, None)
    assert at > 10


def test_a_key_that_was_shown_is_the_one_that_every_power_cut_leaves():
    """Once agent.pub could be taken along, no cut may lead to another identity."""
    for at in itertools.count():
        disk = FaultyDisk()
        disk.cut_at = at
        done = False
        with contextlib.suppress(PowerCut):
            keys.load_or_make(DATA, "w", disk)
            done = True
        shown = public(disk) if DATA.public_key in disk.files else None
        for state in disk.all_after_cut(STATES, seed=at):
            ring = check(state, None)
            assert shown is None or ring.newest.raw == shown.raw
        if done:
            return


def test_no_power_cut_while_a_key_is_replaced_loses_the_way_from_the_old_to_the_new_one():
    before = FaultyDisk()
    log, key = start(before)
    log.append(seal(log, key))
    log.close()
    first = public(before)
    outcomes = set()
    for at in itertools.count():
        disk = before.after_cut(lambda n: 1)
        disk.cut_at = at
        done = False
        with contextlib.suppress(PowerCut):
            rotate(disk)
            done = True
        for state in [*disk.all_after_cut(STATES, seed=at), *([] if done else [disk.killed()])]:
            outcomes.add(len(check(state, first).rotations))
        if done:
            break
    assert at > 30
    assert outcomes == {0, 1}


def test_a_second_cut_while_the_rotation_is_ended_at_the_next_start_loses_nothing_either():
    before = FaultyDisk()
    log, _ = start(before)
    log.close()
    first = public(before)
    disk = before.after_cut(lambda n: 1)
    disk.fault = lambda op, path: 5 if (op, path) == ("rename", DATA.rotations) else 0
    with pytest.raises(StoreError, match="put the next key"):
        rotate(disk)
    disk.fault = lambda op, path: 0
    for at in itertools.count():
        half = disk.after_cut(lambda n: 1)
        half.cut_at = at
        done = False
        with contextlib.suppress(PowerCut):
            start(half)
            done = True
        for state in half.all_after_cut(12, seed=at):
            assert len(check(state, first).rotations) == 1
        if done:
            return


def test_a_rotation_whose_next_key_is_gone_is_refused_in_words():
    disk = FaultyDisk()
    log, _ = start(disk)
    log.close()
    disk.fault = lambda op, path: 5 if (op, path) == ("rename", DATA.rotations) else 0
    with pytest.raises(StoreError, match="put the next key"):
        rotate(disk)
    disk.fault = lambda op, path: 0
    del disk.files[DATA.next_key]
    with pytest.raises(TrustError, match="which replaced it in record 1"):
        start(disk)


@pytest.mark.parametrize(
    "change", [lambda disk: keep_doubt(DATA, Doubt(3, 7), disk), lambda disk: drop_doubt(DATA, disk)]
)
def test_no_power_cut_leaves_half_a_doubt(change):
    for known in (False, True):
        for at in itertools.count():
            disk = FaultyDisk()
            if known:
                keep_doubt(DATA, Doubt(1, 2), disk)
            disk.cut_at = disk.count + at
            done = False
            with contextlib.suppress(PowerCut):
                change(disk)
                done = True
            for state in disk.all_after_cut(STATES):
                assert read_doubt(DATA, state) in (None if not known else Doubt(1, 2), Doubt(3, 7), None)
            if done:
                break


def test_a_doubt_that_cannot_be_read_is_a_doubt():
    disk = FaultyDisk()
    keep_doubt(DATA, Doubt(3, 7), disk)
    whole = bytes(disk.files[DATA.rolled_back].cache)
    for end in range(len(whole) - 2):
        disk.files[DATA.rolled_back].cache[:] = whole[:end]
        assert read_doubt(DATA, disk) is not None


def test_records_before_a_rotation_are_not_lost_by_it():
    disk = FaultyDisk()
    log, key = start(disk)
    for _ in range(3):
        log.append(seal(log, key))
    log.close()
    rotate(disk)
    assert [item.seq for item in open_log(disk, 1 << 20).records(1)] == [1, 2, 3, 4]
