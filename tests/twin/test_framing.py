import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.framing import LineFraming
from edge_agent.twin.checksum import xor
from edge_agent.twin.frames import Fault, Frame
from edge_agent.twin.framing import framer

PLAIN = LineFraming(max_length=20)
CHECKED = LineFraming(checksum="xor", max_length=20)


def checked(text):
    return b"%s*%02X" % (text, xor(text))


def fed_whole(framing, stream):
    return framer(framing).feed(stream)


def fed_by_byte(framing, stream):
    each = framer(framing)
    return [found for i in range(len(stream)) for found in each.feed(stream[i : i + 1])]


def said(framing, stream):
    """Feed the stream whole and byte by byte, which must be the same, and return frames as text, faults by reason."""
    found = fed_whole(framing, stream)
    assert found == fed_by_byte(framing, stream)
    return [each.data.decode() if isinstance(each, Frame) else (each.reason,) for each in found]


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
    each, found = framer(framing), []
    edges = [0, *sorted(cuts), len(stream)]
    for begin, end in itertools.pairwise(edges):
        found += each.feed(stream[begin:end])
    assert found == wanted


@given(st.binary(max_size=100), st.lists(st.integers(0, 9999), min_size=1, max_size=5))
def test_after_any_garbage_the_next_line_is_found_and_nothing_is_made_up(garbage, values):
    """What follows a line end is read; of the garbage itself only lines with a true checksum can pass."""
    lines = [b"v,%d" % value for value in values]
    for framing, wrap in ((PLAIN, bytes), (CHECKED, checked)):
        stream = garbage + b"\n" + b"".join(wrap(line) + b"\n" for line in lines)
        assert said(framing, stream)[-len(lines) :] == [line.decode() for line in lines]


def test_a_line_cut_off_by_a_lost_connection_is_never_a_value():
    first = framer(PLAIN)
    assert first.feed(b"\nflow,12") == [Fault("partial", "")]
    assert framer(PLAIN).feed(b".5\n") == [Fault("partial", "")]  # a new framer for the port opened again
    assert first.feed(b".5\n") == [Frame(b"flow,12.5", 11)]


def test_a_fault_shows_how_it_began_escaped_and_cut():
    _, fault = framer(LineFraming(max_length=200)).feed(b"\n\x1b[2J" + b"\xe9" * 150 + b"\n")
    assert fault.reason == "garbage"
    assert fault.excerpt.startswith("\\x1b[2J\\xe9")
    assert len(fault.excerpt) <= 80
    assert fault.excerpt.isascii()
