"""Bits flip, files end early, blocks cannot be read: never a crash, never a wrong record, and what is gone is named."""

import random

import pytest
from faulty_disk import FaultyDisk
from small import CHAIN, LEAST, inspected, open_log, record, squash

from edge_agent.seal.squash import span_of
from edge_agent.store.frames import NOTE, RECORD, Damage, frame, walk

COUNT = 33
"""Records in the log that is damaged: several segments, of three processes."""


def nothing(_envelope):
    return False


def healthy():
    """Return a log at rest: closed cleanly, so that a note stands at its end."""
    disk = FaultyDisk()
    for start in (0, 15, 30):
        log = open_log(disk, 1 << 20)
        for each in CHAIN[start : min(start + 15, COUNT)]:
            log.append(each)
        log.acknowledge(start // 2)
        log.close()
    return disk


HEALTHY = healthy()
SEGMENTS = sorted(path for path in HEALTHY.files if path.name[0] == "0")


def damaged():
    return HEALTHY.after_cut(lambda n: 1)


def found(disk):
    """Return the items, the missing and the holes after recovery and a look through all."""
    log = inspected(open_log(disk, 1 << 20))
    items = list(log.records(1))
    for item in items:
        assert item.first == item.seq
        assert item.envelope == CHAIN[item.seq - 1].envelope
    missing = sorted(set(range(1, log.head.seq + 1)) - {item.seq for item in items})
    assert missing == [seq for hole in log.holes for seq in range(hole.first, hole.last + 1)]
    log.append(record(log.head.seq + 1, log.head.digest))
    return log, missing


def record_at(path, offset):
    """Return the record whose frame covers an offset, or None."""
    for part in walk(bytes(HEALTHY.files[path].cache), nothing):
        if part.offset <= offset < part.end and part.kind == RECORD:
            return span_of(part.payload).first
    return None


@pytest.mark.parametrize("path", SEGMENTS, ids=lambda path: path.name)
def test_a_flipped_bit_costs_the_record_it_hit_and_no_other(path):
    size = len(HEALTHY.files[path].cache)
    rng = random.Random(path.name)
    for bit in [*range(0, 26 * 8, 5), *rng.sample(range(size * 8), 150)]:
        disk = damaged()
        disk.flip(path, bit)
        log, missing = found(disk)
        hit = record_at(path, bit // 8)
        assert missing == ([] if hit is None else [hit]), f"bit {bit}"
        assert log.head.seq == COUNT + 1
        for hole in log.holes:
            assert (hole.reason, hole.segment) == ("damaged", int(path.stem))
            assert hole.offset <= bit // 8


@pytest.mark.parametrize("path", SEGMENTS[:-1], ids=lambda path: path.name)
def test_a_segment_cut_short_loses_its_end_and_that_is_named(path):
    content = HEALTHY.files[path].cache
    ends = [part.end + near for part in walk(bytes(content), nothing) for near in (-1, 0, 1)]
    for size in sorted({*range(0, len(content), 11), *(end for end in ends if end < len(content))}):
        disk = damaged()
        del disk.files[path].cache[size:]
        disk.files[path].medium = bytes(disk.files[path].cache)
        _, missing = found(disk)
        gone = [
            record_at(path, part.offset)
            for part in walk(bytes(content), nothing)
            if part.end > size and part.kind == RECORD
        ]
        assert missing == gone, f"cut at {size}"


def test_the_newest_segment_cut_at_any_byte_ends_with_its_last_whole_record():
    path = SEGMENTS[-1]
    content = HEALTHY.files[path].cache
    ends = [part.end for part in walk(bytes(content), nothing) if part.kind == RECORD]
    before = COUNT - len(ends)
    for size in range(len(content)):
        disk = damaged()
        del disk.files[path].cache[size:]
        disk.files[path].medium = bytes(disk.files[path].cache)
        assert open_log(disk, 1 << 20).head.seq == before + sum(end <= size for end in ends)


def test_wounds_of_any_kind_and_number_never_give_a_wrong_record_or_stop_the_reader():
    rng = random.Random(1)
    for _ in range(300):
        disk = damaged()
        for _ in range(rng.randrange(1, 4)):
            cache = disk.files[rng.choice(SEGMENTS)].cache
            at, length = rng.randrange(len(cache)), rng.choice([1, 3, 16, 100, 512, 4096])
            fill = rng.choice(
                [bytes(length), rng.randbytes(length), CHAIN[5].envelope, frame(RECORD, CHAIN[50].envelope)]
            )
            cache[at : at + len(fill)] = fill[: max(0, len(cache) - at)]
        for path in SEGMENTS:
            disk.files[path].medium = bytes(disk.files[path].cache)
        log = inspected(open_log(disk, 1 << 20))
        for item in log.records(1):
            assert item.envelope == CHAIN[item.seq - 1].envelope


def test_a_block_that_cannot_be_read_costs_what_stands_in_it():
    for path in SEGMENTS:
        disk = damaged()
        disk.files[path].rotten = range(4096)
        mine = [
            record_at(path, part.offset)
            for part in walk(bytes(HEALTHY.files[path].cache), nothing)
            if part.kind == RECORD
        ]
        _, missing = found(disk)
        assert missing == (mine if path != SEGMENTS[-1] else [])
        assert path in disk.files


def test_a_bit_that_flips_while_the_log_is_open_is_named_when_it_is_read():
    disk = damaged()
    log = inspected(open_log(disk, 1 << 20))
    assert len(list(log.records(1))) == COUNT
    newest = log._shelf.segments[-2]
    disk.flip(newest.path, 8 * (log._shelf.places(newest)[1].offset + 20))
    gone = newest.after + 2
    assert [item.seq for item in log.records(1)] == [n for n in range(1, COUNT + 1) if n != gone]
    assert [(hole.first, hole.last, hole.reason) for hole in log.holes] == [(gone, gone, "damaged")]


def test_a_range_of_a_log_with_a_hole_never_spans_the_hole():
    disk = damaged()
    path = SEGMENTS[0]
    hit = 4
    disk.flip(
        path,
        8
        * next(p.offset + 30 for p in walk(bytes(disk.files[path].cache), nothing) if record_at(path, p.offset) == hit),
    )
    log = open_log(disk, LEAST)
    while squash(log):
        pass
    kept = [(item.first, item.seq) for item in log.records(1)]
    assert kept[:2][0] == (1, hit - 1)
    assert kept[1][0] == hit + 1
    assert [(hole.first, hole.last) for hole in inspected(log).holes] == [(hit, hit)]
    assert [(hole.first, hole.last) for hole in inspected(open_log(disk, LEAST)).holes] == [(hit, hit)]


def test_frames_that_a_device_put_into_its_text_are_never_taken_for_ours():
    forged = frame(RECORD, CHAIN[99].envelope) + frame(NOTE, b"\x83\xa5acked\x63\xa6digest\xc4\x00\xa3seq\x63")
    row = [frame(RECORD, b"one"), frame(RECORD, b"text:" + forged + b":and what is ours"), frame(RECORD, b"three")]
    data = b"".join(row) + bytes(500)
    start = len(row[0])
    for byte in range(start, start + 12):  # the header of the frame that holds the forgery
        for bit in range(8):
            hurt = bytearray(data)
            hurt[byte] ^= 1 << bit
            parts = list(walk(bytes(hurt), nothing))
            assert [part.payload for part in parts if not isinstance(part, Damage)] == [b"one", b"three"]


def test_between_two_lost_blocks_the_records_are_found_by_their_signatures():
    path = SEGMENTS[0]
    frames = [part for part in walk(bytes(HEALTHY.files[path].cache), nothing) if part.kind == RECORD]
    disk = damaged()
    for hit in (frames[1], frames[6]):
        disk.files[path].cache[hit.offset : hit.offset + 12] = bytes(12)
    disk.files[path].medium = bytes(disk.files[path].cache)
    assert found(disk)[1] == [2, 7]


def test_zeros_in_the_middle_of_a_segment_do_not_end_it():
    row = [frame(RECORD, b"x" * 90) for _ in range(5)]
    data = bytearray(b"".join(row) + bytes(100))
    data[102:204] = bytes(102)
    parts = list(walk(bytes(data), nothing))
    assert [part.offset for part in parts if not isinstance(part, Damage)] == [0, 204, 306, 408]
    assert parts[1] == Damage(102, 204)
