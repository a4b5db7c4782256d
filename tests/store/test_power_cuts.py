"""The power is cut at every single file operation, and every state the medium may then be in is recovered.

A store without one fsync passes any number of kills, for memory survives those; it does not pass this.
"""

import contextlib
import itertools

from faulty_disk import FaultyDisk, PowerCut
from small import FOLDER, LEAST, check_items, inspected, open_log, record, squash

from edge_agent.model.errors import StoreError

STATES = 40
"""Of one cut. Most have fewer: all are tried then."""


class Story:
    """A workload, and what it was told: the model is a list."""

    def __init__(self, disk):
        self.disk = disk
        self.records = []
        self.under_way = None
        self.acked = self.flushed = 0
        self.log = None

    def open(self):
        self.log = open_log(self.disk)

    def append(self, audit=1, text=""):
        head = self.log.head
        self.under_way = record(head.seq + 1, head.digest, audit, text)
        while self.log.room(len(self.under_way.envelope)) == "squash":
            squash(self.log)
        self.log.append(self.under_way)
        self.records.append(self.under_way)
        self.under_way = None

    def acknowledge(self, seq):
        self.acked = max(self.acked, seq)
        self.log.acknowledge(seq)

    def flush(self):
        self.log.flush_acknowledged()
        self.flushed = self.acked

    def close(self):
        self.log.close()
        self.flushed = self.acked

    def check(self, disk):
        """Whatever was promised holds on what a cut left, and life goes on from it."""
        log = open_log(disk)
        possible = [self.records, [*self.records, *([self.under_way] if self.under_way else [])]]
        found = next(each for each in possible if len(each) == log.head.seq)
        assert log.head.digest == (found[-1].digest if found else bytes(32))
        assert self.flushed <= log.head.acked <= self.acked
        items = list(log.records(1))
        check_items(items, found)
        kept = [seq for item in items for seq in range(item.first, item.seq + 1)]
        assert kept == list(range(log.head.oldest, log.head.seq + 1))
        assert log.head.oldest <= self.acked + 1
        assert inspected(log).holes == ()
        assert disk.used(FOLDER) <= LEAST
        if log.room() == "free":
            log.append(record(log.head.seq + 1, log.head.digest))
            assert len(list(log.records(log.head.seq))) == 1
        return log


def plain(story):
    """Starts, rotations, acknowledgements, a clean stop, a record larger than a segment."""
    story.open()
    for n in range(14):
        story.append()
        if n % 3 == 2:
            story.acknowledge(n - 1)
        if n == 8:
            story.flush()
    story.close()
    story.open()
    story.append(text="x" * 5_000)
    story.append()
    story.acknowledge(10)
    story.close()
    story.open()
    story.append()


def prepared(records, audit, keep_from=1):
    """Return a story whose log has been filled, its process ended."""
    story = Story(FaultyDisk())
    story.open()
    story.log.keep_from(keep_from)
    for _ in range(records):
        story.append(audit)
    story.close()
    return story


def go_on(before, disk):
    """Return the story going on from there on a copy of its disk."""
    story = Story(disk)
    story.records = list(before.records)
    return story


def squashing(story):
    """A link that is down: old segments are squashed, then neighbours merged."""
    story.open()
    while len(story.records) < 121:
        story.append(audit=3)
    while squash(story.log):
        pass


def back_again(story):
    """The link is back: all was delivered in one go, and the next records need the room."""
    story.open()
    story.acknowledge(len(story.records))
    story.log.keep_from(len(story.records))
    story.append()
    story.append(text="x" * 9_000)
    story.append()


def stopping(story):
    """A safe stop on a full disk, and the start after it."""
    story.open()
    for _ in range(12):
        story.under_way = record(story.log.head.seq + 1, story.log.head.digest)
        try:
            story.log.append_last(story.under_way)
        except StoreError:
            break
        story.records.append(story.under_way)
        story.under_way = None
    story.close()
    story.open()


def cut_everywhere(workload, before=None):
    """Run a workload as often as it has file operations, with the power cut at each; return how many those are."""
    for at in itertools.count():
        disk = before.disk.after_cut(lambda n: 1) if before else FaultyDisk()
        disk.cut_at = at
        story = go_on(before, disk) if before else Story(disk)
        try:
            workload(story)
        except PowerCut:
            for state in disk.all_after_cut(STATES, seed=at):
                story.check(state)
            story.check(disk.killed())
        else:
            return at
    raise AssertionError("the workload never ends")


def test_no_power_cut_loses_what_was_promised():
    assert cut_everywhere(plain) > 150


def test_no_power_cut_while_records_are_squashed_loses_what_was_promised():
    assert cut_everywhere(squashing, prepared(112, 3)) > 100


def test_no_power_cut_while_delivered_segments_are_removed_loses_what_was_promised():
    assert cut_everywhere(back_again, prepared(60, 1)) > 40


def test_no_power_cut_at_a_safe_stop_on_a_full_disk_loses_what_was_promised():
    assert cut_everywhere(stopping, prepared(60, 1)) > 40


def test_a_second_cut_during_recovery_loses_nothing_either():
    disk = FaultyDisk()
    disk.cut_at = 120
    story = Story(disk)
    with contextlib.suppress(PowerCut):
        plain(story)
    for first in disk.all_after_cut(8):
        for at in range(60):
            second = first.after_cut(lambda n: 1)
            second.cut_at = at
            try:
                open_log(second)
            except PowerCut:
                for state in second.all_after_cut(6, seed=at):
                    story.check(state)
