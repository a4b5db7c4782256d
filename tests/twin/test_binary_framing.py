"""Frames of bytes: found whole and byte by byte, behind garbage, false starts and silences."""

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_agent.model.checked import Hex
from edge_agent.model.framing import Checksum, DelimiterFraming, FixedFraming, LengthFraming
from edge_agent.twin.checksum import checksum
from edge_agent.twin.frames import Frame
from edge_agent.twin.framing import framer, wrong_framing

FIXED = FixedFraming(length=10, start=Hex(b"\xaa\xc0"), end=Hex(b"\xab"), checksum=Checksum("sum8", (2, 7), 8))
"""Nova SDS011."""
LENGTH = LengthFraming(
    start=Hex(b"BM"), length_at=2, length_type="uint16", length_adds=4, max_length=40,
    checksum=Checksum("sum16", (0, -3), -2),
)  # fmt: skip
"""Plantower PMS5003 and its kin."""
ENDED = DelimiterFraming(start=Hex(b"\x02"), end=Hex(b"\x03"), checksum=Checksum("crc8", (1, -3), -2), max_length=20)
BARE_END = DelimiterFraming(end=Hex(b"\r\x03"), max_length=8)
GAPPED = FixedFraming(length=4)
GAPPED_LENGTH = LengthFraming(length_at=0, length_adds=1, max_length=10)


def fixed(payload):
    return b"\xaa\xc0" + payload + bytes((checksum("sum8", payload), 0xAB))


def sized(payload):
    head = b"BM" + (len(payload) + 2).to_bytes(2) + payload
    return head + checksum("sum16", head).to_bytes(2)


def ended(payload):
    return b"\x02" + payload + bytes((checksum("crc8", payload), 3))


def fed(framing, stream, cuts=(), *, quiet=False):
    each, found = framer(framing), []
    for begin, end in itertools.pairwise([0, *sorted(cuts), len(stream)]):
        found += each.feed(stream[begin:end])
    return found + (each.quiet() if quiet else [])


def said(framing, stream, **rest):
    """Feed the stream whole and byte by byte, which must be the same; return frames, and faults by reason."""
    found = fed(framing, stream, **rest)
    assert found == fed(framing, stream, range(1, len(stream)), **rest)
    return [each.data if isinstance(each, Frame) else each.reason for each in found]


ONE, TWO = fixed(b"\xd4\x04\x3a\x0a\xa1\x60"), fixed(b"\0\0\0\0\xa1\x60")
FALSE_START = fixed(b"\xaa\xc0\x01\x02\xaa\xc0")
"""A frame with what looks like starts in its payload."""


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (b"", []),
        (ONE, [ONE]),
        (ONE + TWO, [ONE, TWO]),
        (ONE[:-1], []),
        (b"\x55\xaa" + ONE, ["garbage", ONE]),
        (b"\xaa" + ONE, ["garbage", ONE]),
        (b"\xaa\xc0" + ONE, ["end", ONE]),  # a false start takes the first bytes of a true frame, and gives them back
        (ONE[5:] + TWO, ["garbage", TWO]),
        (ONE[:5] + TWO, ["end", TWO]),
        (FALSE_START + TWO, [FALSE_START, TWO]),
        (FALSE_START[1:] + TWO, ["garbage", "end", "end", TWO]),
        (ONE[:8] + b"\x1e\xab" + TWO, ["checksum", TWO]),
        (b"\0" * 10 + ONE, [ONE]),  # a line that was held low
    ],
)  # fmt: skip
def test_frames_of_fixed_length(stream, wanted):
    assert said(FIXED, stream) == wanted


PM = sized(bytes(range(26)))


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (PM, [PM]),
        (sized(b"") + PM, [sized(b""), PM]),
        (b"B" + PM, ["garbage", PM]),
        (b"BM\xff\xff" + PM, ["length", "garbage", PM]),
        (b"BM\0\0" + PM, ["checksum", PM]),
        (b"BM\0\x10" + PM, ["checksum", PM]),
        (PM[:-1] + b"\0" + PM, ["checksum", PM]),
        (b"BM\0\x24" + PM, []),  # it claims 40 bytes, of which 36 have come: see the silence below
    ],
)
def test_frames_that_say_how_long_they_are(stream, wanted):
    assert said(LENGTH, stream) == wanted


def test_a_false_start_that_claims_more_than_comes_is_given_up_after_a_silence():
    """The frame that came meanwhile is found, and is dated by its own last byte."""
    each = framer(LENGTH)
    assert each.feed(b"BM\0\x24") + each.feed(PM) == []
    fault, frame = each.quiet()
    assert (fault.reason, frame) == ("gap", Frame(PM, 4 + len(PM)))
    assert each.feed(PM) == [Frame(PM, 4 + 2 * len(PM))]


def test_a_device_whose_lengths_are_known_is_not_misled_by_others():
    known = LengthFraming(start=Hex(b"BM"), length_at=2, length_type="uint16", length_adds=4, max_length=40,
                          lengths=(28,), checksum=Checksum("sum16", (0, -3), -2))  # fmt: skip
    assert said(known, b"BM\0\x24" + PM) == ["length", "garbage", PM]


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (ended(b"hello"), [ended(b"hello")]),
        (b"x\x03" + ended(b"1") + ended(b""), ["garbage", ended(b"1"), "checksum"]),
        (b"\x02ab" + ended(b"1"), ["checksum", ended(b"1")]),
        (b"\x02" + b"x" * 30 + ended(b"1"), ["length", "garbage", ended(b"1")]),
    ],
)
def test_frames_between_a_start_and_an_end(stream, wanted):
    assert said(ENDED, stream) == wanted


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (b"ab\r\x03cd\r\x03", ["partial", b"cd\r\x03"]),
        (b"\r\x03\r\x03\r\x03a\r\x03", ["partial", b"a\r\x03"]),
        (b"\r\x03a\x03b\rc\r\x03", ["partial", b"a\x03b\rc\r\x03"]),
        (b"\r\x03" + b"x" * 8 + b"\r\x03", ["partial", b"x" * 8 + b"\r\x03"]),
        (b"\r\x03" + b"x" * 9 + b"\r\x03a\r\x03", ["partial", "length", b"a\r\x03"]),
        (b"\r\x03" + b"x" * 99 + b"\r", ["partial", "length"]),
    ],
)
def test_frames_with_an_end_alone(stream, wanted):
    assert said(BARE_END, stream) == wanted


def test_without_start_or_checksum_a_frame_begins_after_a_silence_only():
    each = framer(GAPPED)
    assert [fault.reason for fault in each.feed(b"\3\4\1\2\3\4")] == ["partial"]
    assert each.quiet() == []
    assert each.feed(b"\1\2") == []
    assert each.feed(b"\3\4\5\6\7\0") == [Frame(b"\1\2\3\4", 10), Frame(b"\5\6\7\0", 14)]
    assert each.feed(b"\1\2\3") == []
    assert [fault.reason for fault in each.quiet()] == ["gap"]
    assert each.feed(b"\0\0\0\0") == [Frame(b"\0\0\0\0", 21)]


def test_after_a_frame_that_cannot_be_nothing_is_believed_until_the_next_silence():
    each = framer(GAPPED_LENGTH)
    each.quiet()
    assert each.feed(b"\1a\2bc") == [Frame(b"\1a", 2), Frame(b"\2bc", 5)]
    assert [fault.reason for fault in each.feed(b"\xff\1a\1b")] == ["length"]
    assert each.feed(b"\1c") == []
    assert each.quiet() == []
    assert each.feed(b"\1d") == [Frame(b"\1d", 14)]


def test_half_a_frame_is_given_up_after_a_silence_and_its_rest_is_garbage():
    each = framer(FIXED)
    assert each.feed(ONE[:6]) == []
    assert [fault.reason for fault in each.quiet()] == ["gap"]
    found = each.feed(ONE[6:] + TWO)
    assert [each.data if isinstance(each, Frame) else each.reason for each in found] == ["garbage", TWO]


KINDS = {"fixed": (FIXED, fixed, 6), "length": (LENGTH, sized, 8), "ended": (ENDED, ended, 5)}
NOISE = st.lists(st.sampled_from(b"\xaa\xc0\xabBM\x02\x03\x00\x08\x0a") | st.integers(0, 255), max_size=30).map(bytes)


@given(st.lists(NOISE, min_size=1, max_size=4), st.binary(min_size=32, max_size=32), st.sampled_from(sorted(KINDS)),
       st.lists(st.integers(0, 200), max_size=6))  # fmt: skip
def test_garbage_around_frames_never_makes_a_frame_and_never_takes_one(noise, payloads, kind, cuts):
    """What is found is exactly what was sent, unless the garbage holds a true checksum by chance."""
    framing, wrap, size = KINDS[kind]
    good = [wrap(payloads[size * i : size * i + size]) for i in range(len(noise))]
    if kind == "ended":
        assume(all(frame.count(3) == 1 for frame in good))  # the end stands nowhere else: the contract of an end
    stream = b"".join(part for pair in zip(noise, good, strict=True) for part in pair)
    assume(true_frames(framing, stream) == good)
    found = fed(framing, stream, [cut for cut in cuts if cut < len(stream)], quiet=True)
    assert [each.data for each in found if isinstance(each, Frame)] == good
    assert found == fed(framing, stream, range(1, len(stream)), quiet=True)


def true_frames(framing, stream):
    """Return every stretch of the stream that is a frame by itself, by trying all of them."""
    found = []
    for begin in range(len(stream)):
        for end in range(begin + 4, min(len(stream), begin + 40) + 1):
            part = stream[begin:end]
            if part.startswith(framing.start) and fed(framing, part) == [Frame(part, len(part))]:
                found.append(part)
    return found


@given(st.binary(max_size=400), st.sampled_from([FIXED, LENGTH, ENDED, BARE_END, GAPPED, GAPPED_LENGTH]),
       st.lists(st.integers(0, 400), max_size=8))  # fmt: skip
def test_frames_and_faults_do_not_depend_on_how_the_bytes_were_cut_up(stream, framing, cuts):
    wanted = fed(framing, stream)
    assert fed(framing, stream, range(1, len(stream))) == wanted
    assert fed(framing, stream, [cut for cut in cuts if cut < len(stream)]) == wanted


@given(st.binary(min_size=300, max_size=300), st.sampled_from([FIXED, LENGTH, ENDED, BARE_END, GAPPED]))
def test_a_port_that_says_only_rubbish_keeps_no_more_than_one_frame(chunk, framing):
    each = framer(framing)
    for _ in range(5):
        each.feed(chunk)
        assert len(each._buffer) <= 41
    each.quiet()
    assert len(each._buffer) == 0


@pytest.mark.parametrize(
    ("framing", "wanted"),
    [
        (FixedFraming(length=4, gap=None), "f: got no gap, and no start with a checksum"),
        (LengthFraming(length_at=0, start=Hex(b"A"), gap=None), "f: got no gap, and no start with a checksum"),
        (DelimiterFraming(end=Hex()), "f.end: got no bytes"),
        (FixedFraming(length=2, start=Hex(b"AB"), end=Hex(b"C")), "f.length: got 2, wanted room for start and end"),
        (FixedFraming(length=4, checksum=Checksum("sum8", (0, 9), 3)), "f.checksum.over: got [0, 9]"),
        (FixedFraming(length=4, checksum=Checksum("sum8", (0, 3), 3)), "wanted bytes beside the checksum itself"),
        (
            FixedFraming(length=4, checksum=Checksum("sum16", (0, 2), 3)),
            "f.checksum.at: got 3, wanted room for 2 bytes",
        ),
    ],
)
def test_what_cannot_work_is_a_problem_in_words(framing, wanted):
    assert any(wanted in str(problem) for problem in wrong_framing(framing, "f"))


@pytest.mark.parametrize("framing", [FIXED, LENGTH, ENDED, BARE_END, GAPPED, GAPPED_LENGTH])
def test_what_can_work_is_none(framing):
    assert list(wrong_framing(framing, "f")) == []
