"""NMEA sentences and DSMR telegrams as frames: found whole and byte by byte, behind garbage and halves."""

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_agent.model.checked import Seconds
from edge_agent.model.framing import DsmrFraming, LineFraming, NmeaFraming
from edge_agent.twin.checksum import checksum, xor
from edge_agent.twin.frames import Frame
from edge_agent.twin.framing import framer

NMEA, DSMR = NmeaFraming(), DsmrFraming(max_length=200)
OLD_DSMR = DsmrFraming(checksum="none")
RMC = "GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W"


def sentence(text):
    return b"$%s*%02X\r\n" % (text.encode(), xor(text.encode()))


def telegram(*objects):
    body = "\r\n".join(["/ISk5\\2MT382-1000", "", *objects, "!"]).encode()
    return body + b"%04X\r\n" % checksum("crc16-arc", body)


def fed(framing, stream, cuts=(), *, quiet=False):
    each, found = framer(framing), []
    for begin, end in itertools.pairwise([0, *sorted(cuts), len(stream)]):
        found += each.feed(stream[begin:end])
    return found + (each.quiet() if quiet else [])


def said(framing, stream):
    found = fed(framing, stream)
    assert found == fed(framing, stream, range(1, len(stream)))
    return [each.data.decode() if isinstance(each, Frame) else (each.reason,) for each in found]


def test_a_published_sentence_is_a_frame():
    assert said(NMEA, b"$" + RMC.encode() + b"*6A\r\n") == [RMC]


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (b"", []),
        (sentence("A,0"), ["A,0"]),
        (sentence("A,0").replace(b"\r", b""), ["A,0"]),
        (sentence("A,0")[:-1], []),
        (sentence("A,0")[1:] + sentence("B,0"), [("garbage",), "B,0"]),
        (sentence("A,0")[:3] + sentence("B,0"), [("cut",), "B,0"]),
        (b"\xff\0" * 200 + sentence("B,0"), [("garbage",)] * 5 + ["B,0"]),
        (b"$" + b"x" * 90 + sentence("B,0"), [("length",), ("garbage",), "B,0"]),
        (sentence("A,0").replace(b"A", b"B") + sentence("B,0"), [("checksum",), "B,0"]),
        (b"$A,0\r\n" + sentence("B,0"), [("checksum",), "B,0"]),
        (b"$A\xff*%02X\r\n" % xor(b"A\xff"), [("garbage",)]),
        (b"\r\n\r\n" + sentence("A,0") + b"\r\n", ["A,0"]),
    ],
)
def test_sentences_among_garbage(stream, wanted):
    assert said(NMEA, stream) == wanted


ONE, TWO = telegram("1-0:1.7.0(00.000*kW)"), telegram("1-0:1.7.0(02.027*kW)")


def text_of(whole):
    return whole[: whole.index(b"!")].decode()


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (ONE + TWO, [text_of(ONE), text_of(TWO)]),
        (ONE[20:] + TWO, [("garbage",), text_of(TWO)]),
        (ONE[:-9] + TWO, [("cut",), text_of(TWO)]),
        (ONE.replace(b"0.0", b"1.0") + TWO, [("checksum",), text_of(TWO)]),
        (ONE[:-6] + b"\r\n" + TWO, [("checksum",), text_of(TWO)]),  # its checksum is missing
        (b"/" + b"x" * 300 + TWO, [("length",), ("garbage",), text_of(TWO)]),
        (ONE[:-4].lower() + ONE[-4:], [("checksum",)]),
    ],
)
def test_telegrams_among_garbage(stream, wanted):
    assert said(DSMR, stream) == wanted


def test_a_meter_from_before_dsmr_4_sends_no_checksum():
    old = ONE[:-6] + b"\r\n"
    assert said(OLD_DSMR, old + ONE) == [text_of(ONE), text_of(ONE)]


@pytest.mark.parametrize(("framing", "half"), [(NMEA, sentence("A,0")[:5]), (DSMR, ONE[:40])])
def test_half_a_frame_is_given_up_after_a_silence(framing, half):
    each = framer(framing)
    assert each.feed(half) == []
    assert [fault.reason for fault in each.quiet()] == ["gap"]
    assert each.quiet() == []


def test_half_a_line_is_given_up_after_a_silence_only_when_the_profile_says_so():
    patient, brisk = framer(LineFraming(checksum="xor")), framer(LineFraming(gap=Seconds(1)))
    brisk.quiet()
    assert brisk.feed(b"flow,1") == patient.feed(b"flow,0*") == []
    assert patient.quiet() == []
    assert patient.feed(b"%02X\n" % xor(b"flow,0")) == [Frame(b"flow,0", 10)]
    assert [fault.reason for fault in brisk.quiet()] == ["gap"]  # the device started anew in the middle
    assert brisk.feed(b"flow,2\n") == [Frame(b"flow,2", 13)]


@pytest.mark.parametrize("kind", ["crc16-modbus", "sum8"])
def test_lines_may_have_any_checksum_behind_any_mark(kind):
    framing = LineFraming(checksum=kind, mark=";")
    digits = b"%0*X" % (4 if kind == "crc16-modbus" else 2, checksum(kind, b"flow,1"))
    assert said(framing, b"flow,1;" + digits + b"\n") == ["flow,1"]
    assert said(framing, b"flow,2;" + digits + b"\n") == [("checksum",)]


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"$", b"/", b"!", b"\n", b"*00", b"!\r\n"]), min_size=1, max_size=5),
       st.sampled_from(["nmea", "dsmr"]), st.lists(st.integers(0, 300), max_size=6))  # fmt: skip
def test_garbage_around_texts_never_makes_a_frame_and_never_takes_one(noise, kind, cuts):
    framing, good = (NMEA, sentence("GPGGA,0")) if kind == "nmea" else (DSMR, ONE)
    stream = b"".join(part + good for part in noise)
    assume(not any(isinstance(each, Frame) for part in noise for each in fed(framing, part + b"!\n\n")))
    found = fed(framing, stream, [cut for cut in cuts if cut < len(stream)], quiet=True)
    assert found == fed(framing, stream, range(1, len(stream)), quiet=True)
    assert sum(isinstance(each, Frame) for each in found) == len(noise)
