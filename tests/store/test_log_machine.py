"""Anything may happen to a log in any order; the model is a list."""

import contextlib
import errno
import random

from faulty_disk import FaultyDisk, PowerCut
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from small import FOLDER, LEAST, check_items, inspected, open_log, record, squash

from edge_agent.model.errors import StoreError
from edge_agent.seal.squash import span_of
from edge_agent.store.frames import RECORD, Damage, walk

BOUND = LEAST * 3 // 2
sizes = st.sampled_from([0, 0, 0, 0, 100, 1_500, 6_000])
seeds = st.integers(0, 2**16)


class LogMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.disk = FaultyDisk()
        self.log = open_log(self.disk, BOUND)
        self.records = []
        self.under_way = None
        self.acked = self.acked_durable = 0
        self.lost = set()

    # ---- what a service does

    @rule(size=sizes, audit=st.integers(1, 6))
    def append(self, size, audit):
        self._append(self.log.append, size, audit)

    @rule(size=sizes)
    def append_last(self, size):
        with contextlib.suppress(StoreError):
            self._append(self.log.append_last, size, 1)

    @rule(count=st.integers(1, 25), audit=st.integers(1, 3))
    def append_many(self, count, audit):
        for _ in range(count):
            self._append(self.log.append, 0, audit)

    @rule(part=st.floats(0, 1))
    def acknowledge(self, part):
        seq = int(part * len(self.records))
        self.log.acknowledge(seq)
        self.acked = max(self.acked, seq)

    @rule()
    def flush(self):
        self.log.flush_acknowledged()

    @rule(part=st.floats(0, 1))
    def keep_from(self, part):
        self.log.keep_from(int(part * len(self.records)) + 1)

    @rule()
    def squash(self):
        squash(self.log)

    @rule(first=st.integers(1, 300), size=st.integers(0, 5_000))
    def read(self, first, size):
        items = self.log.read(first, size)
        check_items(items, self.records)
        assert all(item.seq >= first for item in items)
        assert items or first > len(self.records) - len(self.lost)

    # ---- what happens to it

    @rule()
    def restart(self):
        self.log.close()
        self.acked_durable = self.acked
        self._restart(self.disk.killed())

    @rule()
    def kill(self):
        self._restart(self.disk.killed())

    @rule(seed=seeds)
    def cut_power(self, seed):
        self._restart(self.disk.after_cut(random.Random(seed).randrange))

    @rule(at=st.integers(0, 25), seed=seeds, what=st.sampled_from(["append", "squash", "flush", "restart"]))
    def cut_power_during(self, at, seed, what):
        self.disk.cut_at = self.disk.count + at
        try:
            self._do(what)
        except PowerCut:
            self._restart(self.disk.after_cut(random.Random(seed).randrange))
        self.disk.cut_at = None

    @rule(
        at=st.integers(0, 12),
        what=st.sampled_from(["append", "squash", "flush"]),
        code=st.sampled_from([errno.EIO, errno.ENOSPC]),
    )
    def fail(self, at, what, code):
        start = self.disk.count
        self.disk.fault = lambda op, path: (
            code if self.disk.count >= start + at and op not in ("read", "open", "names") else 0
        )
        with contextlib.suppress(StoreError):
            self._do(what)
        self.disk.fault = lambda op, path: 0
        if self.log._broken is not None:
            self._restart(self.disk.killed())
        self.under_way = None

    @precondition(lambda self: len(self.lost) < 20 and len(self.records) > 3)
    @rule(part=st.floats(0, 0.999), bit=st.integers(0, 400 * 8))
    def flip_a_bit(self, part, bit):
        self.log.close()
        self.acked_durable = self.acked
        frames = [
            (path, frame)
            for path, inode in sorted(self.disk.files.items())
            if path.name[0] == "0"
            for frame in walk(bytes(inode.cache), lambda _: True)
            if not isinstance(frame, Damage) and frame.kind == RECORD
        ]
        if not frames:
            self._restart(self.disk.killed())
            return
        path, frame = frames[int(part * len(frames))]
        span = span_of(frame.payload)
        self.lost.update(range(span.first, span.last + 1))
        self.disk.flip(path, 8 * frame.offset + bit % (8 * (frame.end - frame.offset)))
        self._restart(self.disk.killed())

    # ---- what always holds

    @invariant()
    def holds(self):
        head = self.log.head
        assert head.seq == len(self.records)
        assert head.digest == (self.records[-1].digest if self.records else bytes(32))
        assert head.acked == self.acked <= head.seq
        assert head.oldest <= self.acked + 1
        assert self.disk.used(FOLDER) <= BOUND

    def teardown(self):
        if hasattr(self, "log"):
            self._check_all()

    def _append(self, append, size, audit):
        head = self.log.head
        self.under_way = record(head.seq + 1, head.digest, audit, "x" * size)
        while append == self.log.append and self.log.room(len(self.under_way.envelope)) == "squash":
            squash(self.log)
        if append == self.log.append and self.log.room(len(self.under_way.envelope)) == "full":
            self.under_way = None
            return
        append(self.under_way)
        self.records.append(self.under_way)
        self.under_way = None
        self.acked_durable = self.acked

    def _do(self, what):
        if what == "append":
            self._append(self.log.append, 0, 2)
        elif what == "restart":
            self.restart()
        else:
            getattr(self, what)()

    def _restart(self, disk):
        self.disk = disk
        self.log = open_log(disk, BOUND)
        if self.under_way is not None and self.log.head.seq == len(self.records) + 1:
            self.records.append(self.under_way)
        self.under_way = None
        assert self.acked_durable <= self.log.head.acked <= self.acked
        self.acked = self.acked_durable = self.log.head.acked
        self._check_all()

    def _check_all(self):
        items = list(self.log.records(1))
        check_items(items, self.records)
        kept = {seq for item in items for seq in range(item.first, item.seq + 1)}
        oldest = self.log.head.oldest
        missing = set(range(oldest, len(self.records) + 1)) - kept
        assert missing == {seq for seq in self.lost if seq >= oldest}
        named = {seq for hole in inspected(self.log).holes for seq in range(hole.first, hole.last + 1)}
        assert {seq for seq in named if seq >= oldest} == missing


LogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
test_whatever_happens_to_a_log = LogMachine.TestCase
