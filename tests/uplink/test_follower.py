import msgspec
import pytest
from fake_gateway import ENTITY, KEY, OTHER_KEY, Gateway
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.record import ZERO_DIGEST, Entry
from edge_agent.model.world import State
from edge_agent.seal.digest import state_digest
from edge_agent.uplink.follower import (
    AuditTold,
    DetailMissed,
    EntityChange,
    FindingChange,
    Follower,
    Gap,
    ValueChange,
    VariableChange,
)


@pytest.fixture
def gateway():
    """One that has sealed 10 records."""
    found = Gateway()
    for n in range(9):
        found.measure(temperature=float(n), flow=n)
    return found


@pytest.fixture
def follower():
    return Follower("plant", KEY.public)


def follow(follower, gateway, last=None):
    for first, _, envelope in gateway.kept:
        if first <= (last or gateway.head_seq):
            assert not isinstance(follower.take(envelope), Gap)
    return follower


def refused(call, envelope, text, kind=TrustError):
    """Check that a lie is named and changes nothing."""
    follower = call.__self__
    before = follower.world, follower.state, follower.gap, dict(follower._records)
    with pytest.raises(kind, match=text):
        call(envelope)
    assert (follower.world, follower.state, follower.gap, dict(follower._records)) == before


def test_a_follower_ends_with_the_gateways_world_and_state_digest(gateway, follower):
    follow(follower, gateway)
    assert follower.world == gateway.world
    assert follower.state == state_digest(gateway.world) == gateway.record(10).state
    assert follower.counts == {"records": 10}


def test_each_kind_of_change_is_told_once_and_with_its_record(gateway, follower):
    first = follower.take(gateway.envelope(1))
    assert [type(change) for change in first] == [AuditTold, EntityChange, VariableChange, VariableChange]
    assert first[0] == AuditTold(Entry("turn", {"status": "synced"}), 1_000, 1)
    assert first[2].path == "pump.temperature"
    follow(follower, gateway)
    values = follower.take(gateway.measure(flow=0))[1:]
    assert values == [ValueChange("pump.flow", 0, "degC", "good", 10_995, 11)]
    found = follower.take(gateway.find())[1]
    assert (type(found), found.now.severity, found.seq) == (FindingChange, "high", 12)
    assert follower.take(gateway.turn(findings={}))[1] == FindingChange("pump.temperature/shift", None, 13)
    rows = {2: gateway.world.states[ENTITY][2]}
    gone = follower.take(gateway.turn(variables={2: gateway.world.variables[2]}, states={ENTITY: rows}))
    assert gone[1] == VariableChange("pump.temperature", None, 14)


def test_a_repetition_is_passed_over(gateway, follower):
    follow(follower, gateway)
    for seq in (1, 9, 10):
        assert follower.take(gateway.envelope(seq)) == []
    assert follower.counts["duplicates"] == 3


def test_a_gap_is_returned_and_not_raised_and_heals_when_what_is_missing_comes(gateway, follower):
    follow(follower, gateway, last=3)
    assert follower.take(gateway.envelope(6)) == Gap(4, 5)
    assert follower.take(gateway.envelope(9)) == Gap(4, 8)
    assert follower.gap == Gap(4, 8)
    follower.take(gateway.envelope(4))
    assert follower.gap == Gap(5, 8)
    follow(follower, gateway)
    assert (follower.gap, follower.seq, follower.counts["gaps"]) == (None, 10, 1)


def test_a_late_joiner_begins_with_a_snapshot(gateway, follower):
    snapshot = gateway.snapshot()
    assert follower.take(gateway.measure(flow=1)) == Gap(1, 10)
    changes = follower.take_snapshot(snapshot)
    assert [type(change) for change in changes[:2]] == [EntityChange, VariableChange]
    assert (follower.seq, follower.gap) == (10, None)
    assert ValueChange("pump.flow", 1, "degC", "good", 10_995, 11) in follower.take(gateway.envelope(11))


def test_a_snapshot_heals_a_gap_and_says_what_was_missed(gateway, follower):
    follow(follower, gateway, last=3)
    assert follower.take(gateway.envelope(6)) == Gap(4, 5)
    assert follower.take_snapshot(gateway.snapshot())[0] == DetailMissed(4, 10, "snapshot", 10)
    assert (follower.seq, follower.gap, follower.state) == (10, None, state_digest(gateway.world))


def test_a_snapshot_ahead_is_left_alone_while_records_may_still_come_unless_they_are_given_up(gateway, follower):
    follow(follower, gateway, last=3)
    assert follower.take_snapshot(gateway.snapshot()) == []
    assert follower.seq == 3
    follower.take_snapshot(gateway.snapshot(), jump=True)
    assert follower.seq == 10


def test_an_older_snapshot_is_ignored(gateway, follower):
    snapshot = gateway.snapshot()
    gateway.measure(flow=5)
    assert follow(follower, gateway).take_snapshot(snapshot) == []
    assert follower.seq == 11


def test_a_snapshot_of_nothing_is_taken_as_such(follower):
    empty = Gateway.__new__(Gateway)
    empty.key, empty.world, empty.head, empty.rotations = KEY, follower.world, ZERO_DIGEST, b""
    assert follower.take_snapshot(empty.snapshot()) == []


@pytest.mark.parametrize(
    ("lies", "text"),
    [
        ({"state": bytes(32)}, "record 11: its delta does not lead to the state digest"),
        ({"prev": bytes(32)}, "record 11: a fork of the chain: it says that record 10 is 0000"),
        ({"world_id": "elsewhere"}, "record 11: got world 'elsewhere', wanted 'plant'"),
    ],
)
def test_a_record_that_is_wrong_in_one_field_is_named(gateway, follower, lies, text):
    follow(follower, gateway)
    refused(follower.take, gateway.lie(**lies), text)
    assert follower.lied
    assert follower.take(gateway.measure(flow=3))  # the truth is still believed


def test_a_record_about_something_undefined_is_named(gateway, follower):
    follow(follower, gateway)
    delta = msgspec.structs.replace(gateway.record(10).delta, states={99: State(1.0, 1, "good")})
    refused(follower.take, gateway.lie(delta=delta), "record 11: its delta cannot be applied: .*variable 99")


def test_a_finding_that_outlives_its_variable_is_named(gateway, follower):
    gateway.find()
    follow(follower, gateway)
    delta = msgspec.structs.replace(gateway.record(10).delta, variables={1: None}, states={})
    refused(follower.take, gateway.lie(delta=delta), "record 12: its delta cannot be applied")


def test_what_another_key_signed_is_refused_and_no_lie_of_the_gateway(gateway, follower):
    follow(follower, gateway, last=9)
    stranger = Gateway(key=OTHER_KEY)
    for n in range(9):
        stranger.measure(temperature=float(n), flow=n)
    refused(follower.take, stranger.envelope(10), "signed by key")
    refused(follower.take, stranger.measure(flow=1), "signed by key")
    refused(follower.take_snapshot, stranger.snapshot(), "signed by key")
    assert not follower.lied


def test_one_flipped_bit_is_refused(gateway, follower):
    follow(follower, gateway, last=9)
    envelope = bytearray(gateway.envelope(10))
    for place in range(0, len(envelope), 7):
        envelope[place] ^= 1
        with pytest.raises((TrustError, WireError)):
            follower.take(bytes(envelope))
        envelope[place] ^= 1
    assert follower.seq == 9
    assert follower.take(bytes(envelope))


def test_two_records_of_one_number_are_a_fork(gateway, follower):
    follow(follower, gateway)
    twin_card = Gateway()
    for n in range(8):
        twin_card.measure(temperature=float(n), flow=n)
    refused(follower.take, twin_card.measure(flow=77), "record 10: a fork of the chain: .* a cloned card")
    refused(follower.take, twin_card.measure(flow=78), "record 11: a fork of the chain")
    refused(follower.take_snapshot, Gateway().snapshot(head=bytes([7]) * 32), "snapshot at record 1: a fork")


def test_a_fork_is_seen_in_records_long_past(gateway, follower):
    follow(follower, gateway)
    restored = Gateway()
    refused(follower.take, restored.measure(flow=1.5), "record 2: a fork")


def test_no_snapshot_helps_a_forked_chain_over_its_fork(gateway, follower):
    follow(follower, gateway)
    refused(follower.take, gateway.lie(prev=bytes(32)), "a fork")
    gateway.measure(flow=1)
    gateway.measure(flow=2)
    assert follower.take(gateway.envelope(12)) == Gap(11, 11)
    assert follower.take_snapshot(gateway.snapshot(), jump=True) == []
    assert follower.seq == 10


def test_a_snapshot_that_differs_from_what_was_verified_is_a_lie(gateway, follower):
    follow(follower, gateway)
    other = msgspec.structs.replace(gateway.world, states={ENTITY: {1: State(1.0, 1, "good"), 2: State(0, 1, "good")}})
    refused(follower.take_snapshot, gateway.snapshot(head=bytes(32)), "snapshot at record 10: a fork")
    refused(
        follower.take_snapshot,
        gateway.snapshot(world=other, state=state_digest(other)),
        "snapshot at record 10: its world is not the one",
    )
    refused(follower.take_snapshot, gateway.snapshot(state=bytes(32)), "digest it claims", WireError)


def test_a_squashed_range_is_followed_and_what_was_missed_is_told(gateway, follower):
    follow(follower, gateway, last=3)
    gateway.squash(4, 8)
    changes = follower.take(gateway.envelope(5))
    assert changes[0] == DetailMissed(4, 8, "squashed", 8)
    assert [change.seq for change in changes if isinstance(change, AuditTold)] == [4, 5, 6, 7, 8]
    assert ValueChange("pump.flow", 6, "degC", "good", 7_995, 8) in changes
    follow(follower, gateway)
    assert follower.world == gateway.world


def test_a_squashed_range_that_begins_before_our_last_record_is_followed_from_there(gateway, follower):
    follow(follower, gateway, last=6)
    gateway.squash(4, 9)
    changes = follower.take(gateway.envelope(4))
    assert changes[0] == DetailMissed(7, 9, "squashed", 9)
    assert [change.seq for change in changes if isinstance(change, AuditTold)] == [7, 8, 9]
    assert follower.take(gateway.envelope(4)) == []
    follow(follower, gateway)
    assert follower.state == state_digest(gateway.world)


def test_a_squashed_range_of_another_chain_is_a_fork(gateway, follower):
    follow(follower, gateway, last=6)
    forked = Gateway()
    for n in range(9):
        forked.measure(temperature=float(n), flow=-n)
    forked.squash(4, 9)
    refused(follower.take, forked.envelope(4), "records 4 to 9: a fork")


def test_a_squashed_range_after_a_gap_waits_for_the_rest(gateway, follower):
    follow(follower, gateway, last=2)
    gateway.squash(5, 9)
    assert follower.take(gateway.envelope(5)) == Gap(3, 4)
    assert follow(follower, gateway).seq == 10


def test_a_variable_defined_within_a_squashed_range_is_followed(gateway, follower):
    follow(follower, gateway)
    gateway.define("pressure")
    gateway.measure(pressure=3.5)
    gateway.squash(11, 12)
    assert ValueChange("pump.pressure", 3.5, "degC", "good", 11_995, 12) in follower.take(gateway.envelope(11))


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused_and_nothing_else_happens(junk):
    follower = Follower("plant", KEY.public)
    for take in (follower.take, follower.take_snapshot):
        with pytest.raises((TrustError, WireError)):
            take(junk)


@given(st.lists(st.integers(0, 11), max_size=40))
def test_in_whatever_order_records_come_what_was_followed_is_the_gateways_chain(order):
    gateway = Gateway()
    for n in range(9):
        gateway.measure(flow=n)
    gateway.squash(3, 4)
    follower = Follower("plant", KEY.public)
    digests = {seq: gateway.record(seq).state for seq in (1, 2, 5, 6, 7, 8, 9, 10)}
    for n in order:
        if n == 11:
            follower.take_snapshot(gateway.snapshot())
        else:
            follower.take(gateway.envelope(n or 10))
        assert follower.state == digests.get(follower.seq, follower.state)
    follow(follower, gateway)
    assert follower.world == gateway.world
