"""A mirror's place: what it goes on from, what it signs for when it began in the middle, and whose keys it knows."""

import hashlib

import pytest
from fake_gateway import KEY, OTHER_KEY, Gateway
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.record import Entry
from edge_agent.seal.canonical import pack, unpack
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.squash import Span
from edge_agent.uplink.follower import AuditTold, Follower, Gap
from edge_agent.uplink.place import place_bytes, place_in

NEXT_KEY = PrivateKey.from_seed(b"\x04" * 32)


def gateway_of(records):
    gateway = Gateway()
    for n in range(records - 1):
        gateway.turn(audit=(Entry("note", {"of": n + 2}),))
    return gateway


def follow(follower, gateway, first=1, last=None):
    """Take the records from `first` to `last`; return of which records entries were told."""
    told = []
    for _, at, envelope in list(gateway.kept):
        if first <= at <= (last or gateway.head_seq):
            found = follower.take(envelope)
            assert not isinstance(found, Gap)
            told += [change.seq for change in found if isinstance(change, AuditTold)]
    return told


def begun_at(gateway):
    follower = Follower("plant", KEY.public)
    follower.take_snapshot(gateway.snapshot())
    return follower


def stretch(follower):
    return follower.past.first, follower.past.last


def moved(follower):
    """Return a follower that goes on from where this one is."""
    return Follower.at(place_in(place_bytes(follower.place), "plant", KEY.public))


def test_what_was_followed_from_the_first_record_is_verified_from_there():
    gateway, follower = gateway_of(9), Follower("plant", KEY.public)
    assert stretch(follower) == (1, 0)
    follow(follower, gateway, last=6)
    assert follower.past == Span(1, 6, bytes(32), gateway.digest_of(6))
    assert follower.take_apart() == []


def test_who_begins_at_a_snapshot_has_seen_nothing_before_it_until_that_comes_late():
    gateway = gateway_of(9)
    follower = begun_at(gateway)
    world = follower.world
    assert stretch(follower) == (10, 9)
    gateway.measure(flow=1)
    follow(follower, gateway, first=10)
    assert stretch(follower) == (10, 10)
    assert follow(follower, gateway, first=4, last=8) == [4, 5, 6, 7, 8]
    assert stretch(follower) == (10, 10)
    assert follow(follower, gateway, first=4, last=8) == [], "a repetition"
    assert follow(follower, gateway, first=9, last=9) == [9]
    assert follower.past == Span(4, 10, gateway.digest_of(3), gateway.digest_of(10))
    assert follow(follower, gateway, last=3) == [1, 2, 3]
    assert stretch(follower) == (1, 10)
    assert (follower.counts["late"], follower.world.version, world.states) == (9, 10, gateway_of(9).world.states)


def test_where_records_are_missing_in_between_what_is_on_either_side_is_told_apart():
    gateway = gateway_of(20)
    follower = begun_at(gateway)
    follow(follower, gateway, first=3, last=7)
    assert [(span.first, span.last) for span in follower.take_apart()] == [(3, 7)]
    follow(follower, gateway, first=11)
    assert stretch(follower) == (11, 20)
    assert [(span.first, span.last) for span in follower.take_apart()] == [(3, 7)]
    assert follower.take_apart() == []
    follow(follower, gateway, first=3, last=10)
    assert stretch(follower) == (3, 20), "a second time they came whole"


def test_however_many_stretches_there_are_each_time_more_of_them_are_signed_for():
    gateway, firsts = gateway_of(90), range(1, 88, 3)
    follower, waiting, passes = begun_at(gateway), list(firsts), 0
    while waiting:
        passes += 1
        assert passes < 6
        for first in waiting:
            follow(follower, gateway, first=first, last=first + 1)
        for span in follower.take_apart():
            if waiting and span.first <= waiting[0]:  # as a gateway releases
                waiting.pop(0)


def test_who_was_led_over_a_gap_by_a_snapshot_still_signs_for_what_was_before_it():
    gateway, follower = gateway_of(20), Follower("plant", KEY.public)
    follow(follower, gateway, last=5)
    assert isinstance(follower.take(gateway.envelope(9)), Gap)
    follower.take_snapshot(gateway.snapshot())
    assert follower.take_apart() == [Span(1, 5, bytes(32), gateway.digest_of(5))]
    assert follow(follower, gateway, first=6) == list(range(6, 21))
    assert stretch(follower) == (6, 20)


@pytest.mark.parametrize("last", [9, 12])
def test_a_range_that_begins_before_the_snapshot_we_began_with_counts_for_both_sides(last):
    gateway = gateway_of(9)
    follower = begun_at(gateway)
    for n in range(3):
        gateway.turn(audit=(Entry("note", {"of": n}),))
    follow(follower, gateway, first=10, last=last)
    gateway.squash(4, 12)
    told = follow(follower, gateway, first=4)
    assert told == list(range(4, 13)) if last == 9 else list(range(4, 10))
    assert stretch(follower) == (4, 12)


def test_late_records_of_another_chain_are_a_fork():
    gateway, other = gateway_of(9), Gateway()
    for n in range(8):
        other.measure(flow=n)
    follower = begun_at(gateway)
    with pytest.raises(TrustError, match="fork"):
        follow(follower, other)
    assert follower.lied
    assert stretch(follower) == (10, 9)


def test_late_records_of_another_chain_are_a_fork_also_when_only_what_follows_them_is_remembered():
    gateway, other = gateway_of(9), Gateway()
    for n in range(8):
        other.measure(flow=n)
    follower = begun_at(gateway)
    del follower._records[9]
    follower._records[8] = other.digest_of(8)
    with pytest.raises(TrustError, match="not the one that record 10 follows"):
        follow(follower, other, first=9)


def test_a_late_range_that_is_ours_before_the_snapshot_and_another_chain_after_it_is_a_fork():
    gateway, other = gateway_of(9), gateway_of(9)
    follower = begun_at(gateway)
    for n in range(3):
        gateway.measure(flow=n)
        other.measure(flow=10 + n)
    follow(follower, gateway, first=10)
    other.squash(4, 12)
    with pytest.raises(TrustError, match="a fork of the chain: it says that record 10 is"):
        follow(follower, other, first=4)
    assert stretch(follower) == (10, 12)


def test_late_records_that_somebody_else_signed_or_that_speak_of_another_world_are_refused():
    gateway = gateway_of(9)
    for other, why in ((Gateway(key=OTHER_KEY), "signed by key"), (Gateway("elsewhere"), "got world")):
        with pytest.raises(TrustError, match=why):
            begun_at(gateway).take(other.envelope(1))


def test_a_follower_goes_on_from_its_place_as_if_it_had_never_stopped():
    gateway, follower = gateway_of(5), Follower("plant", KEY.public)
    follow(follower, gateway)
    gateway.rotate(NEXT_KEY)
    gateway.find()
    follow(follower, gateway, first=6)
    again = moved(follower)
    assert (again.seq, again.head, again.state, again.past) == (7, follower.head, follower.state, follower.past)
    assert [key.raw for key in again.keys.keys] == [KEY.public.raw, NEXT_KEY.public.raw]
    gateway.measure(flow=8)
    gateway.measure(flow=9)
    for each in (follower, again):
        follow(each, gateway, first=8)
        assert (each.world, each.past) == (gateway.world, Span(1, 9, bytes(32), gateway.head))


def test_a_follower_that_was_lied_to_does_not_forget_it():
    gateway, follower = gateway_of(5), Follower("plant", KEY.public)
    follow(follower, gateway)
    with pytest.raises(TrustError, match="a fork"):
        follower.take(gateway.lie(prev=bytes(32)))
    assert moved(follower).lied


def test_the_place_of_another_world_or_another_gateway_is_refused():
    gateway = gateway_of(5)
    kept = place_bytes(begun_at(gateway).place)
    for world, key in (("elsewhere", KEY), ("plant", OTHER_KEY)):
        with pytest.raises(TrustError, match="place: got one of gateway 'plant'"):
            place_in(kept, world, key.public)


PLACE = place_bytes(begun_at(gateway_of(5)).place)


def summed(content):
    return hashlib.sha256(content).digest() + content


@pytest.mark.parametrize("content", [b"", b"\xc1", pack({"v": 1}), pack([1]), pack(unpack(PLACE[32:]) | {"v": 2})])
def test_what_is_no_place_is_refused(content):
    with pytest.raises(WireError):
        place_in(summed(content), "plant", KEY.public)


@given(st.integers(0, len(PLACE) - 1), st.integers(0, 7))
def test_a_flipped_bit_in_a_place_is_refused(at, bit):
    wrong = bytearray(PLACE)
    wrong[at] ^= 1 << bit
    with pytest.raises(WireError, match="sum"):
        place_in(bytes(wrong), "plant", KEY.public)


@given(st.integers(0, len(PLACE) - 1))
def test_a_place_cut_short_is_refused(size):
    with pytest.raises(WireError):
        place_in(PLACE[:size], "plant", KEY.public)
