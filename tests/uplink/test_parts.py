"""Parts: an envelope too large for one message comes out as it went in, and nothing else does."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.errors import WireError
from edge_agent.seal.canonical import pack, unpack
from edge_agent.uplink import parts as parts_module
from edge_agent.uplink.parts import Assembly, in_parts


@given(st.binary(min_size=1, max_size=5000), st.integers(100, 3000), st.randoms(use_true_random=False))
def test_whatever_goes_in_parts_comes_out_whole_in_whatever_order_and_however_often(envelope, limit, rng):
    envelope = b"\x83" + envelope
    pieces = in_parts(envelope, limit)
    assert all(len(piece) <= limit for piece in pieces)
    arriving = pieces + rng.choices(pieces, k=2)
    rng.shuffle(arriving)
    assembly = Assembly()
    found = [whole for piece in arriving if (whole := assembly.take(piece)) is not None]
    assert set(found) == {envelope}


def test_parts_of_several_envelopes_may_come_mixed():
    envelopes = [bytes([n]) * 4000 for n in (1, 2, 3)]
    mixed = [piece for envelope in envelopes for piece in in_parts(envelope, 500)]
    random.Random(1).shuffle(mixed)
    assembly = Assembly()
    assert sorted(w for piece in mixed if (w := assembly.take(piece)) is not None) == envelopes
    assert assembly._bytes == len(assembly._pieces) == 0


def test_what_is_put_together_is_bounded_and_the_oldest_gives_way(monkeypatch):
    monkeypatch.setattr(parts_module, "MOST_BYTES", 10_000)
    assembly = Assembly()
    for n in range(50):
        for piece in in_parts(bytes([n]) * 4000, 500)[:-1]:
            assert assembly.take(piece) is None
            assert assembly._bytes <= 10_000
    assert len(assembly._pieces) <= 3
    for piece in in_parts(b"\x83" * 20_000, 500):
        assert assembly.take(piece) is None, "more than there may be"
    assert [assembly.take(piece) for piece in in_parts(b"\x84" * 4000, 500)][-1] == b"\x84" * 4000


@pytest.mark.parametrize(
    "wrong", [{"of": 0}, {"of": -1}, {"part": 9}, {"part": -1}, {"bytes": b""}, {"bytes": 5}, {"sum": "x"}, {"a": 1}]
)
def test_a_part_that_says_what_cannot_be_is_refused(wrong):
    piece = unpack(in_parts(bytes(2000), 500)[0]) | wrong
    with pytest.raises(WireError):
        Assembly().take(b"\x84\xa5bytes" + pack(piece)[7:])


def test_parts_that_make_another_envelope_than_they_say_are_refused_and_forgotten():
    first, second = in_parts(bytes(800), 500)
    assembly = Assembly()
    assert assembly.take(pack(unpack(first) | {"bytes": b"x" * 436})) is None
    with pytest.raises(WireError, match="not what they say"):
        assembly.take(second)
    assert assembly._bytes == 0


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message_a_part_or_refused(junk):
    for message in (junk, b"\x84\xa5bytes" + junk):
        try:
            found = Assembly().take(message)
        except WireError:
            continue
        assert found is None or found == message or hashlib.sha256(found).digest() in message
