"""Small signed records and a log that is cheap to fill, for the tests of the store."""

import hashlib
from pathlib import Path

from edge_agent.model.record import ZERO_DIGEST, Entry, Record, Sealed
from edge_agent.model.world import Delta, State
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.records import seal_record
from edge_agent.seal.squash import merge, seal_stretch, unseal_stretch
from edge_agent.store.log import Log
from edge_agent.twin.diff import compose

KEY = PrivateKey.from_seed(b"store tests: a fixed secret seed"[:32])
FOLDER = Path("/data/log")
SEGMENT = 4096
LEAST = 8 * SEGMENT


def record(seq, prev, audit=1, text=""):
    """Return a signed record of some 500 bytes, plus `text`."""
    states = {1 + seq % 3: State(seq * 0.5, 1_000 * seq, "good"), 9: State(text, 1_000 * seq, "good")}
    delta = Delta({}, {}, states, {})
    entries = tuple(Entry("turn", {"n": n, "seq": seq}) for n in range(audit))
    state = hashlib.sha256(b"world %d" % seq).digest()
    return seal_record(Record("w", seq, prev, bytes(16), 1_000 * seq, 7, True, delta, entries, state), KEY)


def chain(count, **kwargs):
    """Return the first records of a chain."""
    found: list[Sealed] = []
    for seq in range(1, count + 1):
        found.append(record(seq, found[-1].digest if found else ZERO_DIGEST, **kwargs))
    return found


CHAIN = chain(120)


def open_log(disk, max_bytes=LEAST, **kwargs):
    return Log.open(FOLDER, max_bytes=max_bytes, segment_bytes=SEGMENT, disk=disk, key=KEY.public, **kwargs)


def inspected(log):
    while log.inspect():
        pass
    return log


def seqs(log, first=1):
    """Return (first, last) of each item, in order."""
    return [(item.first, item.seq) for item in log.records(first)]


_HOLDS: set[tuple[bytes, bytes]] = set()


def check_items(items, records):
    """Each item is the record it should be, or a range of the right digests with all audit of them."""
    reached = None
    for item in items:
        assert reached is None or item.first > reached
        reached = item.seq
        mine = records[item.first - 1 : item.seq]
        if item.first != item.seq:
            check_range(item, mine)
        else:
            assert item.envelope == mine[0].envelope


def check_range(item, records):
    if (item.envelope, records[-1].digest) in _HOLDS:
        return
    stretch = unseal_stretch(item.envelope, KEY.public)
    assert (stretch.first, stretch.last) == (item.first, item.seq)
    assert list(stretch.digests) == [each.digest for each in records]
    assert stretch == merge([each.envelope for each in records], KEY.public, compose)
    _HOLDS.add((item.envelope, records[-1].digest))


def squash(log):
    """Squash what the log offers next; False when it offers nothing."""
    work = log.squash_candidates()
    if work is None:
        return False
    log.replace(work.first, work.last, seal_stretch(merge(work.envelopes, KEY.public, compose), KEY))
    return True
