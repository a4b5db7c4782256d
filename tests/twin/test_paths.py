import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.errors import WireError
from edge_agent.model.profile import PathPoint
from edge_agent.model.strict_json import MAX_DEPTH, MAX_ELEMENTS
from edge_agent.twin.paths import (
    MAX_BYTES,
    MISSING,
    compile_path,
    find,
    own_time_ms,
    parse_message,
    path_value,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$", ()),
        ("$.a", ("a",)),
        ("$.a.b", ("a", "b")),
        ("$.ENERGY.Power", ("ENERGY", "Power")),
        ("$.list[0]", ("list", 0)),
        ("$[0][10]", (0, 10)),
        ("$['odd key']", ("odd key",)),
        ("$['a.b'].c", ("a.b", "c")),
        ("$['switch:0'].apower", ("switch:0", "apower")),
        ("$.a-b_c1", ("a-b_c1",)),
        ("$['0']", ("0",)),
    ],
)
def test_a_path_is_compiled_to_its_steps(text, wanted):
    assert compile_path(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "a", ".a", "$a", "$.", "$..a", "$.a.", "$[", "$[]", "$[-1]", "$[01]", "$[1.5]", "$['']", "$['a]", '$["a"]',
     "$.*", "$[*]", "$[0:1]", "$.a b", "$.0", " $", "$ ", "$['a'b']", "$[999999]", "$[?(@.a)]"],
)  # fmt: skip
def test_what_is_no_path_is_refused_with_what_was_wanted(text):
    with pytest.raises(ValueError, match=r"wanted a path such as \$"):
        compile_path(text)


MESSAGE = {"a": {"b": 0, "n": None, "f": False, "e": ""}, "list": [0, [1]], "0": "key"}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("$.a.b", 0),
        ("$.a.n", None),
        ("$.a.f", False),
        ("$.a.e", ""),
        ("$.list[0]", 0),
        ("$.list[1][0]", 1),
        ("$['0']", "key"),
        ("$", MESSAGE),
        ("$.x", MISSING),
        ("$.a.x", MISSING),
        ("$.a.b.c", MISSING),
        ("$.list[2]", MISSING),
        ("$.list.a", MISSING),
        ("$[0]", MISSING),
        ("$.a[0]", MISSING),
    ],
)
def test_a_path_finds_what_stands_there_and_zero_is_not_missing(path, wanted):
    found = find(compile_path(path), MESSAGE)
    assert found == wanted
    assert type(found) is type(wanted)


# --- messages


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        (b"0", 0),
        (b"-0.0", 0.0),
        (b"21.5", 21.5),
        (b" 21.5\n", 21.5),
        (b"true", True),
        (b"false", False),
        (b"null", None),
        (b'""', ""),
        (b'"on"', "on"),
        (b"{}", {}),
        (b"[]", []),
        (b'{"a": [1, {"b": "\\u00e9[[[[{{"}]}', {"a": [1, {"b": "\u00e9[[[[{{"}]}),
        (b"Online", "Online"),
        (b"12abc", "12abc"),
        ("21 \u00b0C".encode(), "21 \u00b0C"),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"18446744073709551615", 2**64 - 1),
        (b"1e308", 1e308),
    ],
)
def test_a_message_is_json_or_plain_text(payload, wanted):
    found = parse_message(payload)
    assert found == wanted
    assert type(found) is type(wanted)


def test_brackets_in_text_are_not_levels():
    assert parse_message(json.dumps(["[" * 100, '"' * 50 + "[" * 50, "\\" * 7]).encode())[0] == "[" * 100


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        (b"", "got 0 bytes"),
        (b'"' + b"x" * MAX_BYTES + b'"', "got 65538 bytes, wanted 1 to 65536"),
        (b"\xff", "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "more than 16 levels"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"0" + b"}" * (MAX_DEPTH + 1), "more than 16 levels"),
        (b"[" * 60000, "more than 16 levels"),
        (b"[0" + b",0" * MAX_ELEMENTS + b"]", "more than 10000 elements"),
        (b"[" + b"[]," * 6000 + b"0]", "more than 10000 elements"),
        (b'{"a": 1, "a": 2}', "a key twice"),
        (b'{"o": {"a": 1, "\\u0061": 2}}', "a key twice"),
        (b"NaN", "got NaN"),
        (b'{"a": NaN}', "got NaN"),
        (b"[Infinity]", "got Infinity"),
        (b"-Infinity", "got -Infinity"),
        (b"1e999", "not finite"),
        (b'{"a": -1e999}', "not finite"),
        (b"18446744073709551616", "fits 64 bits"),
        (b"-9223372036854775809", "fits 64 bits"),
        (b"9" * 60000, "60000 digits"),
        (b'{"a":', "broken JSON"),
        (b"[1,]", "broken JSON"),
        (b'{"a":1} x', "broken JSON"),
        (b'{"a":1}{"a":2}', "broken JSON"),
        (b'"on', "broken JSON"),
        (b"{'a':1}", "broken JSON"),
        (b'"a\nb"', "broken JSON"),
        (b"On\nline", "broken JSON"),
        (b"\x1b[2J", "broken JSON"),
        (b"\xef\xbb\xbf{}", "broken JSON"),
        (b"ab\0", "broken JSON"),
        ("a\u202eb".encode(), "broken JSON"),
    ],
)
def test_a_message_that_is_none_or_too_much_is_refused(payload, wanted):
    with pytest.raises(WireError, match=wanted) as refusal:
        parse_message(payload)
    assert refusal.value.reason == "garbage"
    assert len(str(refusal.value)) < 200


def test_what_is_just_within_the_caps_passes():
    assert parse_message(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
    assert len(parse_message(b"[0" + b",0" * (MAX_ELEMENTS - 1) + b"]")) == MAX_ELEMENTS
    assert len(parse_message(b'"' + b"x" * (MAX_BYTES - 2) + b'"')) == MAX_BYTES - 2


@pytest.mark.parametrize(
    "payload",
    [b'"\\' * 32768, b'"' + b'\\"' * 32767, b'"' * 65536, b"[" * 65536, b'"\\""' * 16384, b"\\" * 65535 + b"\n", b'["' * 32768],
)  # fmt: skip
def test_no_payload_takes_long_to_refuse(payload):
    """Quadratic scanning would take many seconds; this bound holds on a busy machine."""
    begin = time.perf_counter()
    with pytest.raises(WireError):
        parse_message(payload)
    assert time.perf_counter() - begin < 1


PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TREES = st.recursive(
    PLAIN | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(TREES)
def test_what_was_written_as_json_is_read_as_it_was(tree):
    text = json.dumps(tree)
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        assert parse_message(text.encode()) == tree


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(payload):
    try:
        found = parse_message(payload)
    except WireError:
        return
    assert not isinstance(found, float) or math.isfinite(found)


# --- values


def point(**rest):
    return PathPoint(name="p", path="$", **rest)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (0, (0.0, "good")),
        (0.0, (0.0, "good")),
        (21, (21.0, "good")),
        (True, (None, "bad:type")),
        (False, (None, "bad:type")),
        ("21.5", (None, "bad:type")),
        ("", (None, "bad:type")),
        ([], (None, "bad:type")),
        ({}, (None, "bad:type")),
        (None, (None, "bad:sentinel")),
        (101, (None, "bad:range")),
        (-1, (None, "bad:range")),
    ],
)
@pytest.mark.parametrize("kind", ["gauge", "counter"])
def test_a_gauge_or_counter_is_a_number_within_its_range(found, wanted, kind):
    value, quality = path_value(point(kind=kind, range=(0.0, 100.0)), found)
    assert (value, quality) == wanted
    assert value is None or type(value) is float


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (0, (0, "good")),
        (False, (False, "good")),
        (True, (True, "good")),
        ("", ("", "good")),
        ("on", ("on", "good")),
        ("K\u00fcche", ("K\u00fcche", "good")),
        ("\ud800", (None, "bad:garbage")),
        ("a\nb", (None, "bad:garbage")),
        ("a\u202eb", (None, "bad:garbage")),
        ("x" * 256, ("x" * 256, "good")),
        ("x" * 257, (None, "bad:garbage")),
        (None, (None, "bad:sentinel")),
        ([0], (None, "bad:type")),
    ],
)
def test_a_state_is_a_number_a_text_or_a_truth(found, wanted):
    value, quality = path_value(point(kind="state"), found)
    assert (value, quality) == wanted
    assert type(value) is type(wanted[0])


def test_identity_is_text_or_a_number():
    assert path_value(point(identity="firmware"), "1.0") == ("1.0", "good")
    assert path_value(point(identity="firmware"), 0) == (0, "good")
    assert path_value(point(identity="firmware"), found=False) == (None, "bad:type")


ON_OFF = {"ON": True, "OFF": False}


@pytest.mark.parametrize(
    ("values", "kind", "found", "wanted"),
    [
        (ON_OFF, "state", "ON", (True, "good")),
        (ON_OFF, "state", "OFF", (False, "good")),
        (ON_OFF, "state", "TOGGLE", (None, "bad:unlisted")),
        (ON_OFF, "state", "", (None, "bad:unlisted")),
        (ON_OFF, "state", True, (None, "bad:unlisted")),
        (ON_OFF, "state", None, (None, "bad:sentinel")),
        (ON_OFF, "state", ["ON"], (None, "bad:type")),
        (ON_OFF, "gauge", "ON", (None, "bad:type")),
        ({"ON": 1, "OFF": 0}, "gauge", "OFF", (0.0, "good")),
        ({"true": "open", "false": "shut"}, "state", False, ("shut", "good")),
        ({"0": "off", "1": "heating"}, "state", 0, ("off", "good")),
        ({"0": "off"}, "state", 0.0, (None, "bad:unlisted")),
    ],
)
def test_a_text_means_what_its_point_lists(values, kind, found, wanted):
    value, quality = path_value(point(kind=kind, values=values), found)
    assert (value, quality) == wanted
    assert type(value) is type(wanted[0])


def test_a_number_is_scaled_as_the_decimals_that_were_written():
    assert path_value(point(scale=0.1), 3) == (0.3, "good")
    assert path_value(point(scale=0.1, offset=-40), 400) == (0.0, "good")
    assert path_value(point(scale=0.001, range=(0, 1)), 1001) == (None, "bad:range")
    assert path_value(point(scale=1e300), 1e300) == (None, "bad:nan")


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("2026-11-25T17:20:00Z", 1795627200_000),
        ("2026-11-25T17:20:00", None),  # a local time without a zone, such as Tasmota's
        (1795627200, 1795627200_000),
        (1795627200.25, 1795627200_250),
        (1795627200_000, 1795627200_000),
        (0, 0),
        (-1, None),
        (1e300, None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_a_device_says_when_in_seconds_milliseconds_or_words(found, wanted):
    assert own_time_ms(("t",), {"t": found}) == wanted
    assert own_time_ms(("t",), {}) is None
