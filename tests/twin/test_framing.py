import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.errors import WireError
from edge_agent.model.framing import LineFraming
from edge_agent.model.profile import FieldPoint
from edge_agent.twin.framing import Fault, Frame, Line, LineFramer, field_value, parse_line, xor

PLAIN = LineFraming(max_length=20)
CHECKED = LineFraming(checksum="xor", max_length=20)


def checked(text):
    return b"%s*%02X" % (text, xor(text))


def fed_whole(framing, stream):
    return LineFramer(framing).feed(stream)


def fed_by_byte(framing, stream):
    framer = LineFramer(framing)
    return [found for i in range(len(stream)) for found in framer.feed(stream[i : i + 1])]


def said(framing, stream):
    """Feed the stream whole and byte by byte, which must be the same, and return frames as text, faults by reason."""
    found = fed_whole(framing, stream)
    assert found == fed_by_byte(framing, stream)
    return [each.text if isinstance(each, Frame) else (each.reason,) for each in found]


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (b"", []),
        (b"flow,1", []),
        (b"flow,1\n", [("partial",)]),
        (b"\n", [("partial",)]),
        (b"low,1\nflow,2\n", [("partial",), "flow,2"]),
        (b"\nflow,0\n", [("partial",), "flow,0"]),
        (b"\nflow,0\r\n", [("partial",), "flow,0"]),
        (b"\na,1\nb,2\n", [("partial",), "a,1", "b,2"]),
        (b"\n\r\n\n\r\na,1\n", [("partial",), "a,1"]),
        (b"\na,1\nb,2", [("partial",), "a,1"]),
        (b"\na\0,1\nb,2\n", [("partial",), ("garbage",), "b,2"]),
        (b"\na\xff,1\nb,2\n", [("partial",), ("garbage",), "b,2"]),
        (b"\na\x1b[2J\nb,2\n", [("partial",), ("garbage",), "b,2"]),
        (b"\n" + b"x" * 20 + b"\nb,2\n", [("partial",), "x" * 20, "b,2"]),
        (b"\n" + b"x" * 20 + b"\r\nb,2\n", [("partial",), "x" * 20, "b,2"]),
        (b"\n" + b"x" * 20 + b"\ry\nb,2\n", [("partial",), ("length",), "b,2"]),
        (b"\n" + b"x" * 21 + b"\nb,2\n", [("partial",), ("length",), "b,2"]),
        (b"\n" + b"x" * 500 + b"\nb,2\n", [("partial",), ("length",), "b,2"]),
        (b"\n" + b"x" * 500, [("partial",), ("length",)]),
        (b"x" * 500 + b"\nb,2\n", [("partial",), "b,2"]),
    ],
)
def test_lines_without_checksum(stream, wanted):
    assert said(PLAIN, stream) == wanted


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (b"", []),
        (b"flow,1*", []),
        (checked(b"flow,0") + b"\n", ["flow,0"]),
        (checked(b"flow,0").lower() + b"\r\n", ["flow,0"]),
        (checked(b"flow,0")[1:] + b"\n" + checked(b"flow,1") + b"\n", [("checksum",), "flow,1"]),
        (b"flow,1\n", [("checksum",)]),
        (b"flow,1*\n", [("checksum",)]),
        (b"flow,1*0\n", [("checksum",)]),
        (b"flow,1*000\n", [("checksum",)]),
        (b"flow,1*GG\n", [("checksum",)]),
        (checked(b"flow,1").replace(b"1*", b"7*") + b"\n", [("checksum",)]),
        (checked(b"a*b,1") + b"\n", ["a*b,1"]),
        (checked(b"a\0b") + b"\n", [("garbage",)]),
        (checked(b"a\xff,1") + b"\n", [("garbage",)]),
        (b"\n\r\n" + checked(b"a,1") + b"\n", ["a,1"]),
        (b"x" * 21 + b"\n" + checked(b"a,1") + b"\n", [("length",), "a,1"]),
        (b"\xff\0\xfe*" * 9 + b"\n" + checked(b"a,1") + b"\n", [("length",), "a,1"]),
    ],
)
def test_lines_with_checksum(stream, wanted):
    assert said(CHECKED, stream) == wanted


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8), st.sampled_from((PLAIN, CHECKED)))
def test_frames_do_not_depend_on_how_the_bytes_were_cut_up(stream, cuts, framing):
    wanted = fed_whole(framing, stream)
    assert fed_by_byte(framing, stream) == wanted
    framer, found = LineFramer(framing), []
    edges = [0, *sorted(cuts), len(stream)]
    for begin, end in itertools.pairwise(edges):
        found += framer.feed(stream[begin:end])
    assert found == wanted


@given(st.binary(max_size=100), st.lists(st.integers(0, 9999), min_size=1, max_size=5))
def test_after_any_garbage_the_next_line_is_found_and_nothing_is_made_up(garbage, values):
    """What follows a line end is read; of the garbage itself only lines with a true checksum can pass."""
    lines = [b"v,%d" % value for value in values]
    for framing, wrap in ((PLAIN, bytes), (CHECKED, checked)):
        stream = garbage + b"\n" + b"".join(wrap(line) + b"\n" for line in lines)
        assert said(framing, stream)[-len(lines) :] == [line.decode() for line in lines]


def test_a_line_cut_off_by_a_lost_connection_is_never_a_value():
    framer = LineFramer(PLAIN)
    assert framer.feed(b"\nflow,12") == [Fault("partial", "")]
    assert LineFramer(PLAIN).feed(b".5\n") == [Fault("partial", "")]  # a new framer for the port opened again
    assert framer.feed(b".5\n") == [Frame("flow,12.5")]


def test_a_fault_shows_how_it_began_escaped_and_cut():
    _, fault = LineFramer(LineFraming(max_length=200)).feed(b"\n\x1b[2J" + b"\xe9" * 150 + b"\n")
    assert fault.reason == "garbage"
    assert fault.excerpt.startswith("\\x1b[2J\\xe9")
    assert len(fault.excerpt) <= 80
    assert fault.excerpt.isascii()


@pytest.mark.parametrize(("data", "wanted"), [(b"", 0), (b"\0", 0), (b"A", 0x41), (b"AA", 0), (b"flow,1", 0x0F)])
def test_the_checksum_is_the_exclusive_or_of_all_bytes(data, wanted):
    assert xor(data) == wanted


# --- the convention


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("flow,0", Line("flow", ("0",))),
        ("flow,1.5,2", Line("flow", ("1.5", "2"))),
        (" flow , 1.5 ", Line("flow", ("1.5",))),
        ("flow,", Line("flow", ("",))),
        ("#id,sketch,1.0", Line("#id", ("sketch", "1.0"))),
        ("a" + ",0" * 64, Line("a", ("0",) * 64)),
    ],
)
def test_a_line_is_a_name_and_its_values(text, wanted):
    assert parse_line(text) == wanted


@pytest.mark.parametrize("text", ["", "flow", ",1", " ,1", "a" + ",0" * 65, "a" + "," * 2000])
def test_what_is_no_such_line_is_refused(text):
    with pytest.raises(WireError, match="wanted name,value") as refusal:
        parse_line(text)
    assert len(str(refusal.value)) < 200


def point(**rest):
    return FieldPoint(name="p", field="v", **rest)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0", (0.0, "good")),
        ("-0.0", (0.0, "good")),
        ("12", (12.0, "good")),
        ("+1.5e-3", (0.0015, "good")),
        (".5", (0.5, "good")),
        ("5.", (5.0, "good")),
        ("", (None, "bad:missing")),
        ("nan", (None, "bad:nan")),
        ("NaN", (None, "bad:nan")),
        ("-inf", (None, "bad:nan")),
        ("ovf", (None, "bad:nan")),
        ("1e999", (None, "bad:nan")),
        ("abc", (None, "bad:type")),
        ("1_000", (None, "bad:type")),
        ("0x10", (None, "bad:type")),
        ("1.2.3", (None, "bad:type")),
        ("1 2", (None, "bad:type")),
        ("\u0661", (None, "bad:type")),
        ("9" * 41, (None, "bad:type")),
        ("true", (None, "bad:type")),
    ],
)
def test_a_gauge_is_a_finite_number_or_bad(text, wanted):
    value, quality = field_value(point(), Line("v", (text,)))
    assert (value, quality) == wanted
    assert value is None or type(value) is float


def test_a_value_outside_the_range_is_bad_and_zero_is_judged_like_any_other():
    bounded = point(range=(0.0, 10.0))
    assert field_value(bounded, Line("v", ("0",))) == (0.0, "good")
    assert field_value(bounded, Line("v", ("10.1",))) == (None, "bad:range")
    assert field_value(point(range=(1.0, 2.0)), Line("v", ("0",))) == (None, "bad:range")


def test_a_point_finds_its_value_by_index():
    line = Line("v", ("1", "0"))
    assert field_value(point(index=1), line) == (0.0, "good")
    assert field_value(point(index=2), line) == (None, "bad:missing")


def test_identity_is_text_and_a_state_is_a_number_or_text():
    assert field_value(point(identity="firmware"), Line("#id", ("1.0",))) == ("1.0", "good")
    assert field_value(point(identity="firmware"), Line("#id", ("",))) == (None, "bad:missing")
    assert field_value(point(kind="state"), Line("v", ("open",))) == ("open", "good")
    assert field_value(point(kind="state"), Line("v", ("0",))) == (0.0, "good")
    assert field_value(point(kind="state"), Line("v", ("nan",))) == (None, "bad:nan")
