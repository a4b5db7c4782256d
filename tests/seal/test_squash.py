"""Ranges: what is refused as one though its signature holds, and what a range says of a world that was lost within it."""

import msgspec
import pytest
from golden import KEY
from test_keyring import RECORDS, RING

from edge_agent.model.errors import WireError
from edge_agent.model.record import Entry
from edge_agent.seal.records import seal_record, unseal_record
from edge_agent.seal.squash import is_anew, merge, seal_stretch, unseal_stretch
from edge_agent.twin.diff import compose

ONE, TWO = (unseal_record(envelope, RING)[0] for envelope in RECORDS[:2])
RANGE = merge(RECORDS[:2], RING, compose)


@pytest.mark.parametrize(
    "audit",
    [
        tuple(reversed(RANGE.audit)),
        (RANGE.audit[0]._replace(seq=0), *RANGE.audit[1:]),
        (*RANGE.audit[:-1], RANGE.audit[-1]._replace(seq=3)),
    ],
)
def test_entries_out_of_order_or_of_other_records_are_refused(audit):
    assert RANGE.audit[0].seq < RANGE.audit[-1].seq
    with pytest.raises(WireError, match="out of order or belong to other records"):
        unseal_stretch(seal_stretch(RANGE._replace(audit=audit), KEY), RING)


@pytest.mark.parametrize("fields", [{"digests": RANGE.digests[:1]}, {"last": 3}, {"first": 0}, {"first": 3}])
def test_a_range_has_one_digest_for_each_of_its_records(fields):
    with pytest.raises(WireError, match="of digests for records"):
        unseal_stretch(seal_stretch(RANGE._replace(audit=(), **fields), KEY), RING)


@pytest.mark.parametrize("lost", [True, False])
def test_a_range_in_which_the_world_was_lost_begins_at_nothing_and_any_other_where_its_first_record_does(lost):
    audit = (Entry("rebaseline", {"reason": "no snapshot leads there", "lost": lost}),)
    again = seal_record(msgspec.structs.replace(TWO, audit=audit), KEY).envelope
    merged = merge([RECORDS[0], again], RING, compose)
    assert is_anew(merged) is lost
    assert merged.delta == (TWO.delta if lost else compose(ONE.delta, TWO.delta))
    assert ONE.delta != compose(ONE.delta, TWO.delta) != TWO.delta
