"""Rotation as the code reads it: tests/seal/test_stranger.py has the same from the page alone."""

import json

import msgspec
import pytest
from golden import KEY, NEXT_KEY, ROTATION_PATH

from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.record import Entry, Record
from edge_agent.model.world import Delta
from edge_agent.seal.canonical import pack, unpack
from edge_agent.seal.keyring import Keyring
from edge_agent.seal.keys import PrivateKey, PublicKey
from edge_agent.seal.records import seal_record, seal_snapshot, unseal_record, unseal_rotation, unseal_snapshot
from edge_agent.seal.squash import merge, seal_stretch, unseal_stretch
from edge_agent.twin.diff import compose
from edge_agent.uplink.follower import Follower

VECTORS = json.loads(ROTATION_PATH.read_text())
RECORDS = [bytes.fromhex(each["envelope"]) for each in VECTORS["records"]]
ROTATING = RECORDS[2]
THIRD_KEY = PrivateKey.from_seed(bytes(range(64, 96)))
RING = Keyring.around(KEY.public, ROTATING)
SMALL_ORDER = "01" + 31 * "00"
SECOND = unseal_record(RECORDS[1], RING)[0]
FORKED_2 = seal_record(msgspec.structs.replace(SECOND, prev=bytes(32)), KEY).envelope
FOREIGN_2 = seal_record(msgspec.structs.replace(SECOND, world_id="elsewhere"), KEY).envelope


def rotating(key, successor, was=None, to=None, seq=9, entries=None):
    facts = {"was": was or key.public.raw.hex(), "key": to or successor.public.raw.hex()}
    audit = (Entry("rotate", facts),) if entries is None else entries
    record = Record("boiler-house", seq, bytes(32), bytes(16), 0, 0, True, Delta({}, {}, {}, {}), audit, bytes(32))
    return seal_record(record, key, successor).envelope


def test_each_key_of_a_gateway_and_its_rotating_records_lead_to_all_of_them():
    rows = ROTATING + rotating(NEXT_KEY, THIRD_KEY)
    for known in (KEY, NEXT_KEY, THIRD_KEY):
        ring = Keyring.around(known.public, rows)
        assert [key.raw for key in ring.keys] == [key.public.raw for key in (KEY, NEXT_KEY, THIRD_KEY)]
        assert ring.keyid == THIRD_KEY.public.keyid
    stranger = PrivateKey.from_seed(bytes(32)).public
    assert Keyring.around(stranger, rows).keys == (stranger,)


def test_the_old_key_speaks_up_to_its_last_record_and_the_new_one_of_everything():
    for envelope in RECORDS:
        unseal_record(envelope, RING)
    unseal_stretch(bytes.fromhex(VECTORS["squashed_1_to_3"]), RING)
    assert unseal_snapshot(bytes.fromhex(VECTORS["snapshot"]), RING).world.version == 4
    with pytest.raises(TrustError, match="replaced in record 3"):
        unseal_record(bytes.fromhex(VECTORS["record_4_by_the_old_key"]), RING)
    late = merge(RECORDS, RING, compose)
    with pytest.raises(TrustError, match="replaced in record 3"):
        unseal_stretch(seal_stretch(late, KEY), RING)


@pytest.mark.parametrize(
    ("envelope", "why"),
    [
        (rotating(KEY, None, to=NEXT_KEY.public.raw.hex()), "signed by"),
        (rotating(KEY, THIRD_KEY, to=NEXT_KEY.public.raw.hex()), "signed by"),
        (rotating(KEY, NEXT_KEY, was=THIRD_KEY.public.raw.hex()), "signed by"),
        (rotating(KEY, NEXT_KEY, entries=()), "0 entries"),
        (rotating(KEY, NEXT_KEY, entries=(Entry("rotate", {"key": "00"}),)), "wanted one"),
        (rotating(KEY, NEXT_KEY, to="nonsense"), "hexadecimal"),
        (rotating(KEY, NEXT_KEY, to="00"), "32"),
        (rotating(KEY, NEXT_KEY, to=SMALL_ORDER), "small order"),
    ],
)
def test_a_rotation_that_is_not_whole_is_refused(envelope, why):
    with pytest.raises((TrustError, WireError), match=why):
        unseal_record(envelope, KEY.public)


def test_a_rotation_whose_second_signature_is_of_other_bytes_is_refused():
    found = unpack(ROTATING)
    found["signatures"][1]["sig"] = NEXT_KEY.sign(b"something else")
    for known in (KEY.public, NEXT_KEY.public):
        with pytest.raises(TrustError, match="does not hold"):
            unseal_rotation(pack(found), known)


def test_a_snapshot_that_the_old_key_signed_beyond_its_last_record_is_refused():
    world = unseal_snapshot(bytes.fromhex(VECTORS["snapshot"]), RING)
    assert world.world.version == 4
    with pytest.raises(TrustError, match=r"record 4: signed by key .* which was replaced in record 3"):
        unseal_snapshot(seal_snapshot(world, KEY), RING)
    follower = Follower("boiler-house", KEY.public)
    with pytest.raises(TrustError, match="replaced in record 3"):
        follower.take_snapshot(ROTATING + seal_snapshot(world, KEY))
    assert follower.seq == 0


def test_only_what_follows_from_one_another_becomes_one_range():
    one, two, three, _ = RECORDS
    for rows in ([one, three], [two, one], [two, two], [one, FORKED_2], [one, FOREIGN_2]):
        with pytest.raises(TrustError, match="does not name record"):
            merge(rows, RING, compose)
    assert merge([one, two, three], RING, compose).last == 3


def test_a_range_is_synced_only_when_every_record_of_it_was():
    first = unseal_record(RECORDS[0], RING)[1]
    for synced in (True, False):
        record = msgspec.structs.replace(unseal_record(RECORDS[1], RING)[0], prev=first.digest, synced=synced)
        assert merge([RECORDS[0], seal_record(record, KEY).envelope], RING, compose).synced is synced


def test_a_second_rotation_by_the_old_key_and_one_back_to_it_are_refused():
    with pytest.raises(TrustError, match="fork"):
        RING.turned(unseal_rotation(rotating(KEY, THIRD_KEY), KEY.public))
    with pytest.raises(TrustError, match="older key"):
        RING.turned(unseal_rotation(rotating(NEXT_KEY, KEY), NEXT_KEY.public))
    with pytest.raises(TrustError, match="older record"):
        RING.turned(unseal_rotation(rotating(NEXT_KEY, THIRD_KEY, seq=2), NEXT_KEY.public))


def test_a_follower_goes_from_the_old_key_to_the_new_one_by_itself():
    follower = Follower("boiler-house", KEY.public)
    for envelope in RECORDS:
        follower.take(envelope)
    assert (follower.seq, follower.state.hex()) == (4, VECTORS["state"])
    assert follower.take(RECORDS[1]) == []
    follower.take_snapshot(ROTATING + bytes.fromhex(VECTORS["snapshot"]))


def test_a_follower_that_begins_at_a_snapshot_learns_the_keys_in_front_of_it():
    follower = Follower("boiler-house", KEY.public)
    with pytest.raises(TrustError, match="signed by key"):
        follower.take_snapshot(bytes.fromhex(VECTORS["snapshot"]))
    follower.take_snapshot(ROTATING + bytes.fromhex(VECTORS["snapshot"]))
    assert follower.seq == 4


def test_a_follower_takes_a_range_of_the_new_key_once_it_knows_it():
    follower = Follower("boiler-house", KEY.public)
    squashed = bytes.fromhex(VECTORS["squashed_1_to_3"])
    with pytest.raises(TrustError, match="signed by key"):
        follower.take(squashed)
    follower.take(RECORDS[0])
    follower.take_snapshot(ROTATING + bytes.fromhex(VECTORS["snapshot"]))
    follower.take(squashed)
    assert follower.seq in (3, 4)


def test_a_rotation_at_a_record_that_was_verified_without_one_is_a_lie():
    follower = Follower("boiler-house", KEY.public)
    for envelope in RECORDS[:2]:
        follower.take(envelope)
    forged = rotating(KEY, THIRD_KEY, seq=1)
    with pytest.raises(TrustError, match="fork"):
        follower.take_snapshot(forged + bytes.fromhex(VECTORS["snapshot"]))
    assert follower.lied


def test_every_door_by_which_a_key_comes_in_refuses_small_order():
    with pytest.raises(TrustError, match="small order"):
        PublicKey(bytes.fromhex(SMALL_ORDER))
    with pytest.raises(TrustError, match="small order"):
        unseal_record(rotating(KEY, NEXT_KEY, to=SMALL_ORDER), KEY.public)
    with pytest.raises(TrustError, match="small order"):
        unseal_rotation(rotating(KEY, NEXT_KEY, was=SMALL_ORDER), NEXT_KEY.public)
