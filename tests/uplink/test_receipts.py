"""Receipts: what the mirror signed for a record of ours counts, and nothing else that comes on its topic."""

import logging

import pytest
from fake_gateway import OTHER_KEY, Gateway
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.layout import RECEIPT_TYPE, SNAPSHOT_TYPE
from edge_agent.mqtt import Message
from edge_agent.seal.canonical import pack, unpack
from edge_agent.seal.envelope import seal
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.receipts import Receipt, opened_receipt, seal_receipt
from edge_agent.uplink.receipts import Receipts

MIRROR = PrivateKey.from_seed(b"\x03" * 32)


def gateway_of(records):
    gateway = Gateway()
    for n in range(records - 1):
        gateway.measure(flow=n)
    return gateway


@pytest.fixture
def gateway():
    return gateway_of(20)


@pytest.fixture
def receipts(gateway):
    return Receipts("plant", MIRROR.public, gateway, 0.0)


def signed(gateway, seq, *, first=1, world="plant", head=None, key=MIRROR):
    return seal_receipt(Receipt(world, first, seq, head or gateway.digest_of(seq) or bytes(32)), key)


def take(receipts, payload, now_s=0.0, retain=False):
    return receipts.take(Message("edge/v1/plant/ack", payload, retain), now_s)


def other_fields(gateway, **fields):
    return seal(
        RECEIPT_TYPE,
        pack({"v": 1, "world": "plant", "from": 1, "seq": 5, "head": gateway.digest_of(5)} | fields),
        MIRROR,
    )


def test_a_receipt_for_a_record_of_ours_holds_and_newer_ones_follow(gateway, receipts):
    assert receipts.last is None
    assert not receipts.confirms(1)
    assert take(receipts, signed(gateway, 5)) == Receipt("plant", 1, 5, gateway.digest_of(5))
    assert [receipts.confirms(seq) for seq in (1, 5, 6)] == [True, True, False]
    assert take(receipts, signed(gateway, 20)).seq == 20
    assert receipts.confirms(20)
    assert receipts.counts == {"taken": 2}
    assert receipts.take_notes() == []


REFUSED = {
    "key": lambda g: signed(g, 5, key=OTHER_KEY),
    "signature": lambda g: pack(unpack(signed(g, 5)) | {"payload": unpack(signed(g, 6))["payload"]}),
    "type": lambda g: seal(SNAPSHOT_TYPE, unpack(signed(g, 5))["payload"], MIRROR),
    "world": lambda g: signed(g, 5, world="elsewhere"),
    "envelope": lambda _: b"junk",
    "size": lambda _: bytes(1025),
    "form": lambda g: other_fields(g, at=1),
    "beyond": lambda g: signed(g, 21),
    "fork": lambda g: signed(g, 5, head=b"\x01" * 32),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_any_other_does_nothing_and_is_counted_by_its_reason(gateway, receipts, reason):
    assert take(receipts, REFUSED[reason](gateway)) is None
    assert receipts.counts == {reason: 1}
    assert receipts.last is None
    assert not receipts.confirms(1)


@pytest.mark.parametrize(
    "fields",
    [{"v": 2}, {"seq": 0}, {"seq": -1}, {"seq": "5"}, {"head": b"short"}, {"world": 5}, {"from": 0}, {"from": 7}],
)
def test_what_the_mirror_signed_in_another_form_is_no_receipt(gateway, receipts, fields):
    assert take(receipts, other_fields(gateway, **fields)) is None
    assert receipts.counts == {"form": 1}


def test_a_retained_receipt_is_refused_before_it_is_read_and_a_replayed_one_does_nothing(gateway, receipts):
    assert take(receipts, signed(gateway, 5), retain=True) is None
    assert take(receipts, signed(gateway, 9)).seq == 9
    assert take(receipts, signed(gateway, 9)) is None
    assert take(receipts, signed(gateway, 5)) is None
    assert receipts.counts == {"retained": 1, "taken": 1, "repeated": 2}
    assert receipts.last.seq == 9


def test_a_flood_costs_no_signature_check_and_ends_with_it(gateway, receipts, monkeypatch):
    checked = []
    monkeypatch.setattr(
        "edge_agent.uplink.receipts.opened_receipt", lambda e, k: checked.append(1) or opened_receipt(e, k)
    )
    for _ in range(1000):
        take(receipts, b"junk", now_s=1.0)
    assert len(checked) == 10
    assert receipts.counts["rate"] == 990
    assert take(receipts, signed(gateway, 5), now_s=2.0).seq == 5


def test_upstream_on_another_chain_is_told_once_and_no_replay_makes_it_forgotten(gateway, receipts, caplog):
    take(receipts, signed(gateway, 5))
    other = signed(gateway, 12, head=b"\x01" * 32)
    with caplog.at_level(logging.ERROR):
        take(receipts, other)
        take(receipts, other)
    assert [r.levelname for r in caplog.records] == ["ERROR"]
    assert "another record 12 than ours" in caplog.text
    (entry,) = receipts.take_notes()
    assert (entry.kind, entry.facts) == ("receipt", {"fault": "fork", "seq": 12, "head": "01" * 32})
    take(receipts, signed(gateway, 11))
    assert receipts.fault == "fork"
    assert not receipts.confirms(1)
    take(receipts, signed(gateway, 13))
    assert receipts.fault == ""
    assert receipts.confirms(13)
    assert receipts.take_notes() == []


def test_after_an_older_image_was_restored_nothing_of_the_past_confirms_this_run(gateway):
    restored = Receipts("plant", MIRROR.public, gateway, 0.0)
    started_at = gateway.head_seq + 1
    past = [signed(gateway, seq) for seq in (5, 20)]
    ahead = gateway_of(20)
    for n in range(5):
        ahead.measure(flow=100 + n)
    gateway.measure(flow=50)  # the start record of the restored image
    for envelope in (*past, signed(ahead, 25), signed(ahead, 21)):
        take(restored, envelope)
    assert not restored.confirms(started_at)
    assert restored.fault == "fork"
    assert restored.counts == {"taken": 2, "beyond": 1, "fork": 1}


def test_a_receipt_within_a_squashed_range_and_before_the_oldest_record(gateway, receipts):
    heads = {seq: gateway.digest_of(seq) for seq in (2, 5, 7)}
    gateway.squash(3, 8)
    assert {seq: gateway.digest_of(seq) for seq in heads} == heads
    assert take(receipts, signed(gateway, 5, head=heads[5])).seq == 5
    assert take(receipts, signed(gateway, 7, head=heads[7])).seq == 7
    assert take(receipts, signed(gateway, 8, head=b"\x02" * 32)) is None
    del gateway.kept[:5]
    assert take(receipts, signed(gateway, 9, head=b"\x02" * 32)) is None
    assert receipts.counts == {"taken": 2, "fork": 1, "unknown": 1}


@given(st.binary(max_size=300))
def test_any_bytes_are_a_receipt_or_a_word(junk):
    assert isinstance(opened_receipt(junk, MIRROR.public), str)


@given(st.integers(0), st.integers(1, 255))
def test_one_flipped_bit_is_refused(place, bits):
    envelope = bytearray(seal_receipt(Receipt("plant", 3, 7, b"\x05" * 32), MIRROR))
    envelope[place % len(envelope)] ^= bits
    assert isinstance(opened_receipt(bytes(envelope), MIRROR.public), str)


def test_a_mirror_that_began_anew_may_sign_for_earlier_records_later(gateway, receipts):
    assert take(receipts, signed(gateway, 15, first=16)).first == 16
    assert take(receipts, signed(gateway, 9, first=4)) == Receipt("plant", 4, 9, gateway.digest_of(9))
    assert receipts.last.seq == 15, "what upstream's world is did not change"
    assert take(receipts, signed(gateway, 15, first=11)).first == 11
    assert receipts.last == Receipt("plant", 11, 15, gateway.digest_of(15))
    for again in (signed(gateway, 15, first=11), signed(gateway, 11, first=12), signed(gateway, 12, first=13)):
        assert take(receipts, again) is None
    assert receipts.counts == {"taken": 2, "earlier": 1, "repeated": 3}


def test_no_earlier_records_count_while_upstream_holds_another_chain(gateway, receipts):
    take(receipts, signed(gateway, 15, first=16))
    take(receipts, signed(gateway, 17, first=16, head=b"\x01" * 32))
    assert take(receipts, signed(gateway, 9, first=4)) is None
    assert (receipts.fault, receipts.counts) == ("fork", {"taken": 1, "fork": 1, "repeated": 1})
