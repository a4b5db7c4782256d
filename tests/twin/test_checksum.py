import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.framing import Checksum
from edge_agent.twin.checksum import CRCS, checksum, holds, width, xor

PUBLISHED = {
    # The "check" of the catalogue of parametrised CRC algorithms: the result for the bytes "123456789".
    "crc8": 0xF4,
    "crc8-maxim": 0xA1,
    "crc16-modbus": 0x4B37,
    "crc16-arc": 0xBB3D,
    "crc16-ccitt-false": 0x29B1,
    "crc16-xmodem": 0x31C3,
    "crc16-kermit": 0x2189,
    "crc16-x25": 0x906E,
}


def test_every_crc_has_a_published_check():
    assert CRCS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize(("kind", "wanted"), PUBLISHED.items())
def test_a_crc_gives_its_published_check(kind, wanted):
    assert checksum(kind, b"123456789") == wanted


@pytest.mark.parametrize(
    ("kind", "data", "wanted"),
    [
        ("sum8", b"", 0),
        ("sum8", b"\xff\x02", 0x01),
        ("sum8-inverted", b"\xff\x02", 0xFE),
        ("sum8-negated", b"\xff\x02", 0xFF),
        ("sum8-negated", b"", 0),
        ("sum16", b"\xff" * 300, 0x2AD4),
        ("xor", b"flow,1", 0x0F),
        ("xor", b"AA", 0),
        ("xor", b"", 0),
        # Modbus ASCII, "F7031389000A" is followed by 60 (Modbus over Serial Line 1.02, appendix B).
        ("sum8-negated", bytes.fromhex("F7031389000A"), 0x60),
    ],
)
def test_sums_and_the_exclusive_or(kind, data, wanted):
    assert checksum(kind, data) == wanted


@pytest.mark.parametrize(("kind", "wanted"), [("sum8", 1), ("sum16", 2), ("xor", 1), ("crc8", 1), ("crc16-arc", 2)])
def test_a_checksum_knows_its_width(kind, wanted):
    assert width(kind) == wanted


SDS = Checksum(kind="sum8", over=(2, 7), at=8)


@pytest.mark.parametrize(
    ("rule", "frame", "wanted"),
    [
        (SDS, bytes.fromhex("AAC0D4043A0AA1601DAB"), True),
        (SDS, bytes.fromhex("AAC0D4043A0AA1601EAB"), False),
        (SDS, bytes.fromhex("AAC0"), False),
        (SDS, b"", False),
        (Checksum("sum16", (0, -3), -2), b"\x01\x02\x03\x00\x06", True),
        (Checksum("sum16", (0, -3), -2, "low_first"), b"\x01\x02\x03\x06\x00", True),
        (Checksum("sum16", (0, -3), -2), b"\x01\x02\x03\x06\x00", False),
        (Checksum("xor", (1, -4), -3, form="hex"), b"\x02AAB42\x03", True),
        (Checksum("crc16-modbus", (0, -3), -2, "low_first"), b"123456789\x37\x4b", True),
        (Checksum("sum16", (0, -3), -2), b"\0\0", False),  # nothing is covered
        (Checksum("sum8", (-9, -2), -1), b"\0\0", False),
    ],
)
def test_a_checksum_is_found_where_the_profile_says(rule, frame, wanted):
    assert holds(rule, frame) is wanted


@given(st.binary(min_size=1, max_size=40), st.integers(0, 319), st.sampled_from(sorted(CRCS)))
def test_no_single_flipped_bit_passes_a_crc(data, bit, kind):
    at = bit // 8 % len(data)
    flipped = bytearray(data)
    flipped[at] ^= 1 << bit % 8
    assert checksum(kind, data) != checksum(kind, bytes(flipped))


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_the_exclusive_or_of_two_halves_is_that_of_the_whole(one, other):
    assert xor(one + other) == xor(one) ^ xor(other)
