import errno

import pytest
from faulty_disk import FaultyDisk, PowerCut
from small import CHAIN, FOLDER, KEY, LEAST, SEGMENT, check_items, inspected, open_log, record, seqs, squash

from edge_agent.model.errors import StoreError
from edge_agent.model.record import ZERO_DIGEST, Sealed
from edge_agent.seal.squash import merge, seal_stretch
from edge_agent.store.frames import RECORD, frame
from edge_agent.twin.diff import compose


def filled(count, disk=None, **kwargs):
    disk = disk or FaultyDisk()
    log = open_log(disk, **kwargs)
    for each in CHAIN[:count]:
        log.append(each)
    return disk, log


def test_a_new_log_stands_before_record_1():
    log = open_log(FaultyDisk())
    assert log.head == (0, ZERO_DIGEST, 0, 1)
    assert log.read(1, 10_000) == []
    assert log.holes == ()


def test_what_was_appended_is_read_back_in_order_and_after_a_restart():
    disk, log = filled(30, max_bytes=1 << 20)
    check_items(log.records(1), CHAIN)
    assert seqs(log) == [(n, n) for n in range(1, 31)]
    log.close()
    log = open_log(disk, 1 << 20)
    assert log.head == (30, CHAIN[29].digest, 0, 1)
    assert [item.envelope for item in log.records(7)] == [each.envelope for each in CHAIN[6:30]]
    assert inspected(log).holes == ()


def test_a_batch_is_bounded_and_never_empty_before_the_end():
    _, log = filled(6)
    size = len(CHAIN[0].envelope)
    assert [item.seq for item in log.read(1, 3 * (size + 12))] == [1, 2, 3]
    assert [item.seq for item in log.read(4, 1)] == [4]


def test_reading_from_below_the_oldest_begins_at_the_oldest():
    _, log = filled(20)
    log.acknowledge(20)
    log.flush_acknowledged()
    log.keep_from(21)
    for each in CHAIN[20:60]:
        log.append(each)
    assert log.head.oldest > 1
    assert log.read(1, 1)[0].seq == log.head.oldest


@pytest.mark.parametrize(
    "wrong",
    [CHAIN[0], CHAIN[2], record(3, CHAIN[0].digest), record(2, ZERO_DIGEST), Sealed(2, bytes(32), CHAIN[1].envelope)],
)
def test_a_record_that_does_not_follow_is_refused_and_the_log_goes_on(wrong):
    _, log = filled(1)
    with pytest.raises(StoreError, match="wanted 2 after"):
        log.append(wrong)
    log.append(CHAIN[1])
    assert log.head.seq == 2


def test_acknowledged_never_falls_and_never_passes_the_head():
    disk, log = filled(5)
    log.acknowledge(3)
    log.acknowledge(2)
    assert log.head.acked == 3
    log.acknowledge(99)
    assert log.head.acked == 5
    log.close()
    assert open_log(disk).head.acked == 5


def test_what_was_acknowledged_survives_a_power_cut_once_it_was_flushed():
    disk, log = filled(5)
    log.acknowledge(4)
    log.flush_acknowledged()
    log.acknowledge(5)
    assert open_log(disk.after_cut(lambda n: 0)).head.acked == 4


def test_a_failed_sync_ends_all_writing_and_the_next_start_reads_the_medium_not_the_memory():
    disk, log = filled(3)
    disk.fault = lambda op, path: errno.EIO if op == "sync" else 0
    with pytest.raises(StoreError, match="medium may be failing"):
        log.append(CHAIN[3])
    disk.fault = lambda op, path: 0
    with pytest.raises(StoreError, match="nothing is written after a failure"):
        log.append(CHAIN[3])
    assert log.head.seq == 3
    assert seqs(log) == [(1, 1), (2, 2), (3, 3)]
    log.close()
    healed = open_log(disk.killed())
    assert healed.head.seq == 3
    healed.append(CHAIN[3])
    assert inspected(healed).holes == ()


def test_a_process_that_only_died_loses_nothing_and_its_last_frame_is_made_durable_first():
    disk, log = filled(3)
    disk.cut_at = disk.count + 1  # the write is done, its sync is not
    with pytest.raises(PowerCut):
        log.append(CHAIN[3])
    log = open_log(disk.killed())
    assert log.head.seq == 4
    assert open_log(disk.after_cut(lambda n: 0)).head.seq == 4


def sizes(disk):
    return {path.name: len(inode.medium) for path, inode in disk.files.items() if path.suffix == ".seg"}


def test_what_a_start_cut_off_stays_cut_off_so_that_the_bound_holds_after_a_power_cut():
    disk = filled(3)[0].killed()
    log = open_log(disk)
    after = disk.after_cut(lambda n: 0)
    assert sum(sizes(after).values()) == log.size
    assert sizes(after)["00000001.seg"] < SEGMENT


def test_a_start_cuts_off_zeros_and_leaves_what_is_damaged_to_whoever_examines_it():
    disk = filled(3)[0].killed()
    segment = FOLDER / "00000001.seg"
    disk.flip(segment, 8 * (disk.files[segment].medium.rindex(b"EAR1") + 40))
    written = disk.files[segment].medium.rstrip(b"\0")
    assert open_log(disk).head.seq == 2
    assert disk.files[segment].medium == written


def test_a_spare_that_is_not_blank_is_never_begun():
    disk, log = filled(3)
    log.close()
    disk = disk.killed()
    left = frame(RECORD, CHAIN[60].envelope)
    for at in (200, SEGMENT - len(left)):
        spare = disk.files[FOLDER / "spare.seg"]
        for content in (bytes(at) + left + bytes(SEGMENT - at - len(left)), bytes(SEGMENT - 1)):
            spare.cache[:] = spare.medium = content
            log = open_log(disk)
            log.append(CHAIN[log.head.seq])
            assert inspected(log).holes == ()
            log.close()
            log = open_log(disk)
            assert (log.head.seq, inspected(log).holes) == (len(seqs(log)), ())
            log.close()


def test_each_start_begins_a_segment_and_leaves_no_empty_one_behind():
    disk, log = filled(2)
    for _ in range(5):
        log.close()
        log = open_log(disk)
    numbered = [path.name for path in disk.files if path.name[0] == "0"]
    assert sorted(numbered) == ["00000001.seg", "00000006.seg"]
    assert log.head.seq == 2


def test_a_record_larger_than_a_segment_gets_a_segment_of_its_own_size():
    disk, log = filled(2, max_bytes=1 << 20)
    big = record(3, CHAIN[1].digest, text="x" * 20_000)
    log.append(big)
    after = record(4, big.digest)
    log.append(after)
    log.close()
    log = open_log(disk, 1 << 20)
    assert [item.envelope for item in log.records(1)][2:] == [big.envelope, after.envelope]


def test_a_big_first_record_leaves_no_empty_segment():
    disk = FaultyDisk()
    log = open_log(disk, 1 << 20)
    log.append(record(1, ZERO_DIGEST, text="x" * 20_000))
    assert len(log._shelf.segments) == 1


def test_delivered_segments_make_room_before_anything_is_squashed():
    disk, log = filled(0)
    for each in CHAIN:
        assert log.room(len(each.envelope)) == "free"
        log.append(each)
        log.acknowledge(each.seq)
        log.keep_from(each.seq)
        assert disk.used(FOLDER) <= LEAST
    assert log.head.oldest > 80
    assert inspected(log).holes == ()


def test_what_a_snapshot_needs_stays_and_is_squashed_instead():
    _, log = filled(0)
    log.keep_from(1)
    for each in CHAIN[:80]:
        while log.room(len(each.envelope)) == "squash":
            assert squash(log)
        log.append(each)
        log.acknowledge(each.seq)
    assert log.head.oldest == 1
    items = list(log.records(1))
    assert items[0].seq > items[0].first == 1
    check_items(items, CHAIN)


def test_what_a_snapshot_needs_is_not_given_up_for_a_spare_segment():
    disk, log = filled(1)
    log.keep_from(1)
    for each in CHAIN[1:]:
        if log.room(len(each.envelope)) != "free":
            break
        log.append(each)
        log.acknowledge(each.seq)
        log.flush_acknowledged()
    while "spare.seg" in {path.name for path in disk.files}:  # the records of a safe stop take it
        log.append_last(CHAIN[log.head.seq])
    log.flush_acknowledged()
    assert log.room() == "squash"
    assert log.head.oldest == 1


def test_however_much_a_safe_stop_writes_the_next_start_has_room_and_the_bound_holds():
    disk, log = filled(1)
    new = next(each for each in CHAIN[1:] if log.room(len(each.envelope)) != "free" or log.append(each))

    def last_records():
        while True:
            log.append_last(CHAIN[log.head.seq])

    assert new.seq == log.head.seq + 1
    with pytest.raises(StoreError, match="the log is full"):
        last_records()
    last = log.head.seq
    disk.cut_at = disk.count  # and it has no time to close
    for _ in range(3):
        disk = disk.killed()
        assert open_log(disk).head.seq == last
        assert disk.used(FOLDER) <= LEAST


def test_what_was_delivered_makes_room_when_that_is_durable_and_a_log_that_says_free_takes_the_record():
    _, log = filled(1)
    log.keep_from(1_000)
    new = next(each for each in CHAIN[1:] if log.room(len(each.envelope)) != "free" or log.append(each))
    log.acknowledge(new.seq - 1)
    assert log.room(len(new.envelope)) == "squash"
    log.flush_acknowledged()
    assert log.room(len(new.envelope)) == "free"
    log.append(new)
    assert log.head.seq == new.seq


def test_segments_that_a_merge_took_in_are_gone_for_good_when_it_is_done():
    disk, log = filled(60, max_bytes=1 << 20)
    most = len(sizes(disk))
    while squash(log):
        assert sizes(disk.after_cut(lambda n: 0)).keys() == sizes(disk).keys()
    assert len(sizes(disk)) < most


@pytest.mark.parametrize("wrong", [{"prev": b"\x07" * 32}, {"digests": bytes(32)}, {"first": 2}])
def test_a_range_that_does_not_stand_for_the_records_it_is_to_replace_is_refused(wrong):
    _, log = filled(60, max_bytes=1 << 20)
    work = log.squash_candidates()
    stretch = merge(work.envelopes, KEY.public, compose)
    if "digests" in wrong:
        wrong = {"digests": (*stretch.digests[:-1], wrong["digests"])}
    if "first" in wrong:
        wrong |= {"digests": stretch.digests[1:]}
    before = seqs(log)
    with pytest.raises(StoreError, match="where a range is to"):
        log.replace(work.first, work.last, seal_stretch(stretch._replace(**wrong), KEY))
    assert seqs(log) == before
    assert squash(log)


def test_undelivered_records_fill_the_log_are_squashed_and_at_last_refuse_audit():
    disk, log = filled(0)
    appended = 0
    while True:
        each = record(appended + 1, log.head.digest, audit=3)
        room = log.room(len(each.envelope))
        if room == "full":
            break
        if room == "squash":
            squash(log)
        else:
            log.append(each)
            appended += 1
        assert disk.used(FOLDER) <= LEAST
    with pytest.raises(StoreError, match="full"):
        log.append(each)
    items = list(log.records(1))
    assert items[0].first == 1
    assert items[-1].seq == appended > 80
    log.append_last(each)  # the record of a safe stop
    assert disk.used(FOLDER) <= LEAST
    log.close()
    log = open_log(disk)
    assert log.head.seq == appended + 1
    assert inspected(log).holes == ()
    assert disk.used(FOLDER) <= LEAST


def test_a_full_log_takes_records_again_when_upstream_is_back():
    _, log = filled(0)
    appended = 0
    while (room := log.room()) != "full":
        if room == "squash":
            squash(log)
        else:
            log.append(record(appended + 1, log.head.digest, audit=3))
            appended += 1
    log.acknowledge(appended)
    log.flush_acknowledged()
    assert log.room() == "free"
    log.append(record(appended + 1, log.head.digest))


def test_a_disk_that_others_filled_stops_growth_but_not_the_log():
    disk, log = filled(0, disk=FaultyDisk(total=1 << 20), max_bytes=1 << 20)
    disk.others = (1 << 20) * 95 // 100
    log.keep_from(1)
    for each in CHAIN:
        while log.room(len(each.envelope)) == "squash":
            assert squash(log)
        if log.room(len(each.envelope)) == "full":
            break
        log.append(each)
        assert disk.used(FOLDER) <= 8 * SEGMENT
    assert log.head.seq > 60


def test_a_disk_without_any_room_at_rotation_is_said_and_costs_nothing():
    disk, log = filled(0, max_bytes=1 << 20)
    disk.fault = lambda op, path: errno.ENOSPC if op == "create" else 0
    for each in CHAIN:
        if log.room(len(each.envelope)) != "free":
            break
        log.append(each)
    assert log.head.seq < 20
    assert log.room() != "free"
    before = log.head
    with pytest.raises(StoreError, match="full"):
        log.append(each)
    assert log.head == before
    disk.fault = lambda op, path: 0
    log.flush_acknowledged()
    assert log.room() == "free"
    log.append(CHAIN[before.seq])
    assert inspected(log).holes == ()


def test_nothing_is_removed_before_it_is_durable_that_it_was_delivered():
    disk, log = filled(0, max_bytes=1 << 20)
    disk.fault = lambda op, path: errno.ENOSPC if op == "create" and path.name == "spare.seg" else 0
    while log.room(400) == "free":
        log.append(record(log.head.seq + 1, log.head.digest))
    log.acknowledge(log.head.seq)
    log.keep_from(log.head.seq)
    assert squash(log)  # and tries for a spare segment, giving up what it may
    assert inspected(open_log(disk.after_cut(lambda n: 1), 1 << 20)).holes == ()


def test_a_record_that_the_next_process_did_not_find_stays_passed_over():
    disk, log = filled(3)
    log.close()
    log = open_log(disk)
    log.append(CHAIN[3])
    first = disk.files[FOLDER / "00000001.seg"]
    first.cache += frame(RECORD, record(4, CHAIN[2].digest, text="never durable, and there again").envelope)
    log = inspected(open_log(disk))
    assert [item.envelope for item in log.records(3)] == [CHAIN[2].envelope, CHAIN[3].envelope]
    assert log.holes == ()


def test_too_small_a_bound_is_refused_with_what_is_wanted():
    with pytest.raises(StoreError, match=f"wanted at least {LEAST}"):
        open_log(FaultyDisk(), LEAST - 1)


@pytest.mark.parametrize(("code", "hint"), [(errno.EROFS, "mount it writable"), (errno.EACCES, "data_dir")])
def test_a_folder_that_cannot_be_written_is_told_with_place_user_and_hint(code, hint):
    disk = FaultyDisk()
    disk.fault = lambda op, path: code if op == "create" else 0
    with pytest.raises(StoreError, match=rf"/data/log.*as user .*{hint}"):
        open_log(disk)


def test_a_log_that_ends_before_a_known_record_goes_on_behind_it_and_names_the_hole():
    disk, log = filled(3)
    log.close()
    log = open_log(disk, known=(7, CHAIN[6].digest))
    assert [(hole.first, hole.last, hole.reason) for hole in log.holes] == [(4, 7, "missing")]
    log.append(CHAIN[7])
    assert seqs(log) == [(1, 1), (2, 2), (3, 3), (8, 8)]
    log.close()
    log = inspected(open_log(disk))
    assert [(hole.first, hole.last, hole.reason) for hole in log.holes] == [(4, 7, "missing")]


def test_a_record_that_was_put_in_the_place_of_another_is_named_though_its_frame_and_signature_hold():
    disk, log = filled(4, max_bytes=1 << 20)
    log.close()
    disk = disk.killed()
    segment = disk.files[FOLDER / "00000001.seg"]
    whole, own = bytes(segment.medium), frame(RECORD, CHAIN[1].envelope)
    forged = frame(RECORD, record(2, bytes([7]) * 32).envelope)
    assert len(forged) == len(own)
    segment.medium = whole.replace(own, forged)
    segment.cache[:] = segment.medium
    log = inspected(open_log(disk, 1 << 20))
    at = [whole.index(frame(RECORD, CHAIN[n].envelope)) for n in (1, 2)]
    assert log.holes == ((1, at[0], 2, 2, "unlinked"), (1, at[1], 3, 3, "unlinked"))
    assert log.head[:2] == (4, CHAIN[3].digest)


def test_a_deleted_segment_is_named_as_a_hole():
    disk, log = filled(30, max_bytes=1 << 20)
    gone = log._shelf.segments[1]
    log.close()
    disk.unlink(gone.path)
    log = inspected(open_log(disk, 1 << 20))
    assert [(hole.first, hole.last, hole.reason) for hole in log.holes] == [(gone.after + 1, gone.last, "missing")]
    assert seqs(log) == [(n, n) for n in range(1, 31) if not gone.after < n <= gone.last]


def test_deleted_undelivered_segments_at_the_beginning_are_a_hole_and_delivered_ones_are_not():
    for acked, holes in ((0, 1), (30, 0)):
        disk, log = filled(30, max_bytes=1 << 20)
        log.acknowledge(acked)
        gone = log._shelf.segments[0]
        log.close()
        disk.unlink(gone.path)
        assert len(inspected(open_log(disk, 1 << 20)).holes) == holes


def test_a_closed_log_refuses_and_closing_twice_is_fine():
    _, log = filled(1)
    log.close()
    log.close()
    with pytest.raises(StoreError, match="closed"):
        log.append(CHAIN[1])


def test_memory_holds_one_row_a_segment_whatever_the_backlog():
    _, log = filled(120, max_bytes=1 << 20)
    for _ in log.records(1):
        pass
    assert len(log._shelf._places) <= 3
