import hashlib
import math

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sites import site

from edge_agent.model.checked import plain as as_plain
from edge_agent.model.errors import WireError
from edge_agent.seal.actions import settings_digest
from edge_agent.seal.canonical import pack, split, unpack

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        | st.dictionaries(st.integers(-9, 300), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(plain)
def test_what_was_packed_is_unpacked(value):
    data = pack(value)
    assert pack(unpack(data)) == data


@given(st.dictionaries(st.text(max_size=6), st.integers(0, 9), max_size=6))
def test_the_order_in_which_a_map_was_made_does_not_show(value):
    assert pack(dict(reversed(list(value.items())))) == pack(value)


@pytest.mark.parametrize("value", [0, 0.0, -0.0, False, "", b"", [], {}, None])
def test_zero_and_empty_are_values(value):
    found = unpack(pack(value))
    assert (found, type(found)) == (value, type(value))
    assert not isinstance(value, float) or math.copysign(1, found) == math.copysign(1, value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"a": [math.inf]}])
def test_a_number_that_is_not_finite_is_never_packed(value):
    with pytest.raises(ValueError, match="not finite"):
        pack(value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x82\xa1b\x01\xa1a\x02", "keys out of order"),
        (b"\x82\xa1a\x01\xa1a\x02", "a key twice"),
        (b"\x82\xa1a\x01\x01\x02", "keys of two types"),
        (b"\x81\xc4\x01a\x01", "a binary key"),
        (b"\xcd\x00\x01", "an integer longer than needed"),
        (b"\xd9\x01a", "a text longer than needed"),
        (b"\xca\x3f\x80\x00\x00", "single precision"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "NaN"),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "infinity"),
        (b"\xd4\x01\x00", "an extension type"),
        (b"\xd6\xff\x00\x00\x00\x00", "a timestamp"),
        (b"\x92\x01", "cut short"),
        (b"\x01\x01", "something behind"),
        (b"", "nothing"),
        (b"\xc1", "a byte that means nothing"),
        (b"\xa1\xff", "text that is not UTF-8"),
        (b"\x91" * 40 + b"\x01", "forty levels deep"),
        (b"\x91" * 5000 + b"\x01", "five thousand levels deep"),
        (b"\xdd\xff\xff\xff\xff", "an array of four thousand million"),
    ],
)
def test_other_forms_are_refused(data, why):
    with pytest.raises(WireError):
        unpack(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_canonical(data):
    try:
        value = unpack(data)
    except WireError:
        return
    assert pack(value) == data


def test_too_many_bytes_are_refused_unread():
    with pytest.raises(WireError, match="at most 10"):
        unpack(pack("x" * 100), max_bytes=10)


@given(st.lists(plain, max_size=5))
def test_values_back_to_back_are_split_where_they_were_joined(parts):
    packed = [pack(value) for value in parts]
    assert split(b"".join(packed)) == packed


def test_a_value_cut_short_behind_a_whole_one_is_refused():
    with pytest.raises(WireError, match="no whole value"):
        split(pack("whole") + pack("not whole")[:-1])


def test_more_values_than_a_message_may_hold_are_refused():
    with pytest.raises(WireError, match="more than 3"):
        split(msgpack.packb(0) * 4, max_items=3)


def test_the_digest_of_settings_taken_piece_by_piece_is_that_of_their_canonical_bytes(tmp_path):
    found = site(tmp_path)
    tables = {"policy": found.settings.policy, "playbooks": found.settings.playbooks, "sources": found.sources}
    whole = msgspec.json.decode(msgspec.json.encode(as_plain(tables)))  # lists in place of tuples
    assert settings_digest(tables) == hashlib.sha256(pack(whole)).digest()
    assert settings_digest(tables) != settings_digest(tables | {"sources": ()})
