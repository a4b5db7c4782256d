"""The rules of the log, each with the tests that hold it; what no other file tests stands here."""

import ast
import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest
from faulty_disk import FaultyDisk
from sites import METER, site
from small import CHAIN, check_items, inspected, open_log

from edge_agent.model.errors import StoreError
from edge_agent.model.layout import DataDir
from edge_agent.service.agent import Agent
from edge_agent.store.lock import Lock
from edge_agent.store.log import Log

TESTS = Path(__file__).resolve().parents[1]
RULES = {
    "1 segments are zero-filled ahead, a length of zero ends one, a spare is kept for a safe stop": [
        "store/test_log.py::test_a_disk_without_any_room_at_rotation_is_said_and_costs_nothing",
        "store/test_log.py::test_undelivered_records_fill_the_log_are_squashed_and_at_last_refuse_audit",
        "store/test_damage.py::test_zeros_in_the_middle_of_a_segment_do_not_end_it",
        "service/test_ledger.py::test_the_last_records_of_a_stop_may_take_the_reserve",
    ],
    "2 short writes are gone on with, and nothing is written on top of a torn frame": [
        "store/test_rules.py::test_a_disk_that_takes_a_few_bytes_at_a_time_gets_all_of_them",
        "store/test_rules.py::test_after_a_write_that_failed_nothing_is_written_on_top_of_what_it_left",
    ],
    "3 every start opens a new segment whose head carries the chain": [
        "store/test_log.py::test_each_start_begins_a_segment_and_leaves_no_empty_one_behind",
        "store/test_log.py::test_a_record_that_the_next_process_did_not_find_stays_passed_over",
        "store/test_log.py::test_what_was_appended_is_read_back_in_order_and_after_a_restart",
    ],
    "4 after a failed sync nothing is acknowledged, nothing written, and the process ends with 74": [
        "store/test_log.py::test_a_failed_sync_ends_all_writing_and_the_next_start_reads_the_medium_not_the_memory",
        "service/test_agent.py::test_a_disk_that_fails_while_serving_ends_the_agent_and_nothing_more_is_claimed",
        "scenarios/test_failing_disk.py::test_a_disk_that_fails_under_the_agent_ends_it_with_74_and_a_restart_heals",
    ],
    "5 the folder is synced after a file was made or removed": [
        "store/test_power_cuts.py::test_no_power_cut_loses_what_was_promised",
        "store/test_power_cuts.py::test_no_power_cut_while_delivered_segments_are_removed_loses_what_was_promised",
        "store/test_snapshots.py::test_a_power_cut_at_any_step_leaves_the_old_generation_or_the_new",
        "store/test_key_power_cuts.py::test_no_power_cut_while_a_key_is_made_leaves_a_gateway_that_does_not_start",
    ],
    "6 nothing is acknowledged, published or acted upon before its record is durable": [
        "scenarios/test_whole_way.py::test_a_killed_agent_goes_on_where_it_was_and_the_mirror_follows",
        "scenarios/test_failing_disk.py::test_what_a_failing_disk_did_not_take_was_never_published",
        "store/test_rules.py::test_the_way_out_is_woken_after_the_sync_and_never_before",
    ],
    "7 a bad frame in the middle costs what it held, and a hole names it": [
        "store/test_damage.py::test_a_flipped_bit_costs_the_record_it_hit_and_no_other",
        "store/test_damage.py::test_the_newest_segment_cut_at_any_byte_ends_with_its_last_whole_record",
        "service/test_boot.py::test_a_hole_is_told_on_the_chain_with_its_place",
    ],
    "8 bytes are capped, a tenth of the disk stays free, audit is never dropped, and when it cannot be written none is made": [
        "service/test_ledger.py::test_weeks_without_upstream_fill_the_buffer_and_never_more_and_the_twin_is_whole",
        "store/test_log.py::test_a_disk_that_others_filled_stops_growth_but_not_the_log",
        "store/test_log.py::test_undelivered_records_fill_the_log_are_squashed_and_at_last_refuse_audit",
        "scenarios/test_failing_disk.py::test_a_disk_that_others_fill_costs_nothing_is_told_and_is_gone_on_with_when_there_is_room",
    ],
    "9 nothing syncs on the event loop": ["store/test_rules.py::test_nothing_syncs_on_the_event_loop"],
    "10 snapshots are restore points, the log is the truth, and when all are lost the chain says so": [
        "store/test_log.py::test_what_a_snapshot_needs_stays_and_is_squashed_instead",
        "service/test_boot.py::test_an_older_copy_of_the_snapshots_is_caught_up_by_the_log_in_silence",
        "service/test_boot.py::test_all_snapshots_lost_is_said_and_the_chain_and_those_who_follow_it_go_on",
    ],
    "11 a squashed range keeps the digests of what it replaces": [
        "seal/test_stranger.py::test_a_stranger_follows_a_squashed_range_from_any_record_within_it",
        "service/test_ledger.py::test_a_squashed_log_verifies_and_boots",
        "store/test_power_cuts.py::test_no_power_cut_while_records_are_squashed_loses_what_was_promised",
    ],
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_its_tests(rule):
    for name in RULES[rule]:
        file, _, function = name.partition("::")
        tree = ast.parse((TESTS / file).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_all_of_them(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, content, offset: real(file, content[:100], offset))
    log = Log.open(tmp_path / "log", max_bytes=1 << 20, segment_bytes=16384)
    for each in CHAIN:
        log.append(each)
    log.close()
    log = inspected(Log.open(tmp_path / "log", max_bytes=1 << 20, segment_bytes=16384))
    check_items(log.records(1), CHAIN)
    assert (log.head.seq, log.holes) == (len(CHAIN), ())


def test_after_a_write_that_failed_nothing_is_written_on_top_of_what_it_left():
    disk = FaultyDisk()
    log = open_log(disk, 1 << 20)
    log.append(CHAIN[0])
    disk.fault = lambda op, path: errno.EIO if op == "write" else 0
    with pytest.raises(StoreError):
        log.append(CHAIN[1])
    disk.fault = lambda op, path: 0
    before = {path: bytes(inode.cache) for path, inode in disk.files.items()}
    with pytest.raises(StoreError, match="nothing is written after a failure"):
        log.append(CHAIN[1])
    log.close()
    assert {path: bytes(inode.cache) for path, inode in disk.files.items()} == before
    torn = max(disk.files)
    healed = open_log(disk.killed(), 1 << 20)
    healed.append(CHAIN[1])
    assert [item.seq for item in inspected(healed).records(1)] == [1, 2]
    assert torn in before
    assert healed.holes == ()


class Syncs:
    """Notes in which thread the system's syncs are called, and what else is told, in order."""

    def __init__(self, monkeypatch):
        self.seen = []
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._noting(getattr(os, name)))

    def _noting(self, real):
        def call(file):
            real(file)
            self.seen.append(threading.get_ident())

        return call


def test_nothing_syncs_on_the_event_loop(tmp_path, monkeypatch):
    agent = Agent(site(tmp_path, METER))
    syncs = Syncs(monkeypatch)

    async def day():
        stop = asyncio.Event()
        await agent.run(stop, stop.set)

    try:
        asyncio.run(day())
    finally:
        agent.close()
    here = threading.get_ident()
    assert syncs.seen
    loops = [thread for thread in syncs.seen if thread == here]
    closing = 1  # the log's last note, when the loop has ended
    assert len(loops) <= closing


def test_the_way_out_is_woken_after_the_sync_and_never_before(tmp_path, monkeypatch):
    agent = Agent(site(tmp_path, METER))
    syncs = Syncs(monkeypatch)
    agent.ledger._committed = lambda: syncs.seen.append("woken")
    try:
        asyncio.run(agent._begin())
    finally:
        agent.close()
    woken = syncs.seen.index("woken")
    assert [each for each in syncs.seen[:woken] if isinstance(each, int)]
    assert agent.ledger.head_seq == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write where another cannot read it")
def test_root_leaves_no_file_in_a_folder_whose_owner_could_not_read_it(tmp_path):
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(StoreError, match=r"got user root, wanted its owner nobody.*\(sudo -u nobody edge-agent …\)"):
        Lock.take(DataDir(tmp_path))
    assert list(tmp_path.iterdir()) == []
    os.chown(tmp_path, 0, 0)
    Lock.take(DataDir(tmp_path)).release()
