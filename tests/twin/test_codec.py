import math
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.errors import WireError
from edge_agent.model.profile import RegisterPoint
from edge_agent.twin.codec import BlockDecoder, decode, encode, in_range, width

ORDERS = ("ABCD", "BADC", "CDAB", "DCBA")
WHOLE = {
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
NUMBERS = (*WHOLE, "float32", "float64")
FOUR = bytes(range(0xA1, 0xA5))
EIGHT = bytes(range(0xA1, 0xA9))


def point(type_, name="p", function=3, address=0, **rest):
    return RegisterPoint(name=name, function=function, address=address, type=type_, **rest)


def words(raw):
    return list(struct.unpack(f">{len(raw) // 2}H", raw))


# --- what bytes mean


@pytest.mark.parametrize(
    ("order", "wire"),
    [
        ("ABCD", bytes((0xA1, 0xA2, 0xA3, 0xA4))),
        ("BADC", bytes((0xA2, 0xA1, 0xA4, 0xA3))),
        ("CDAB", bytes((0xA3, 0xA4, 0xA1, 0xA2))),
        ("DCBA", bytes((0xA4, 0xA3, 0xA2, 0xA1))),
    ],
)
def test_pain_19_each_byte_order_of_two_registers_is_what_its_letters_say(order, wire):
    assert decode(point("uint32", order=order), words(wire)) == (int.from_bytes(FOUR), "good")
    assert decode(point("float32", order=order), words(wire)) == (struct.unpack(">f", FOUR)[0], "good")


@pytest.mark.parametrize(
    ("order", "wire"),
    [
        ("ABCD", "a1a2a3a4a5a6a7a8"),
        ("BADC", "a2a1a4a3a6a5a8a7"),
        ("CDAB", "a7a8a5a6a3a4a1a2"),
        ("DCBA", "a8a7a6a5a4a3a2a1"),
    ],
)
def test_each_byte_order_of_four_registers_is_what_its_letters_say(order, wire):
    assert decode(point("uint64", order=order), words(bytes.fromhex(wire))) == (int.from_bytes(EIGHT), "good")


@pytest.mark.parametrize(("order", "wanted"), [("ABCD", 0x0102), ("BADC", 0x0201), ("CDAB", 0x0102), ("DCBA", 0x0201)])
def test_in_one_register_only_the_bytes_can_be_swapped(order, wanted):
    assert decode(point("uint16", order=order), [0x0102]) == (wanted, "good")


@pytest.mark.parametrize(
    ("type_", "registers", "wanted"),
    [
        ("int16", [0], 0),
        ("int16", [0xFFFF], -1),
        ("uint16", [0], 0),
        ("uint16", [0xFFFF], 65535),
        ("int32", [0, 0], 0),
        ("int32", [0xFFFF, 0xFFFE], -2),
        ("uint32", [0, 1], 1),
        ("int64", [0, 0, 0, 0], 0),
        ("int64", [0x8000, 0, 0, 0], -(2**63)),
        ("uint64", [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF], 2**64 - 1),
        ("float32", [0, 0], 0.0),
        ("float32", [0x4366, 0x199A], 230.10000610351562),
        ("float64", [0, 0, 0, 0], 0.0),
        ("float64", [0x406C, 0xC333, 0x3333, 0x3333], 230.1),
        ("bool", [0], False),
        ("bool", [1], True),
        ("bool", [0xFFFF], True),
        ("string", [0x4142], "AB"),
    ],
)
def test_every_type_is_read_as_itself(type_, registers, wanted):
    found = decode(point(type_), registers)
    assert found == (wanted, "good")
    assert type(found[0]) is type(wanted)


def test_pain_21_zero_and_false_are_values_whatever_the_type():
    for type_ in NUMBERS:
        for scale in (1.0, 0.1):
            assert decode(point(type_, scale=scale), [0] * width(point(type_))) == (0, "good")
    for function in (1, 2, 3, 4):
        assert decode(point("bool", function=function), [0]) == (False, "good")


# --- scale


@pytest.mark.parametrize(
    ("raw", "scale", "offset", "wanted"),
    [
        (0, 0.1, 0.0, 0.0),
        (2301, 0.1, 0.0, 230.1),
        (3, 0.1, 0.0, 0.3),  # 3 * 0.1 is 0.30000000000000004
        (1234, 0.001, 0.0, 1.234),
        (0xFFFF, 0.1, 0.0, -0.1),
        (732, 0.1, -273.15, -199.95),
        (0, 0.1, -40.0, -40.0),
        (7, 1.0, 0.5, 7.5),
        (7, 10.0, 0.0, 70.0),
        (1, 1e-7, 0.0, 1e-7),
    ],
)
def test_scale_and_offset_are_the_decimals_that_were_written(raw, scale, offset, wanted):
    found = decode(point("int16", scale=scale, offset=offset), [raw])
    assert found == (wanted, "good")
    assert type(found[0]) is float


@given(st.integers(-(2**15), 2**15 - 1), st.integers(1, 9999), st.integers(0, 6))
def test_a_scaled_value_is_the_float_nearest_to_the_decimal(raw, digits, places):
    scale = float(f"{digits}e-{places}")
    found, _ = decode(point("int16", scale=scale), [raw & 0xFFFF])
    assert found == float(f"{raw * digits}e-{places}")


def test_without_scale_whole_numbers_stay_whole_and_floats_stay_the_floats_they_are():
    assert type(decode(point("uint16"), [7])[0]) is int
    assert decode(point("float32", scale=1.0, offset=0.0), [0x3DCC, 0xCCCD]) == (0.10000000149011612, "good")


def test_a_scaled_float_too_large_for_a_float_is_bad_and_no_error():
    registers = words(struct.pack(">d", 1e308))
    assert decode(point("float64", scale=1000.0), registers) == (None, "bad:nan")


# --- what cannot be used


@pytest.mark.parametrize("scale", [1.0, 0.1])
@pytest.mark.parametrize("number", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("type_", "form"), [("float32", ">f"), ("float64", ">d")])
def test_pain_20_a_number_that_is_not_finite_is_bad(type_, form, number, scale):
    registers = words(struct.pack(form, number))
    assert decode(point(type_, scale=scale), registers) == (None, "bad:nan")
    assert decode(point(type_, scale=scale, range=(-math.inf, math.inf)), registers) == (None, "bad:nan")


@pytest.mark.parametrize(
    ("rest", "registers"),
    [
        ({"type_": "int16", "sentinels": (0x8000,)}, [0x8000]),
        ({"type_": "int16", "sentinels": (0x8000,), "scale": 0.1}, [0x8000]),
        ({"type_": "int16", "sentinels": (0x8000,), "order": "BADC"}, [0x0080]),
        ({"type_": "uint16", "sentinels": (0xFFFF, 0xFFFE)}, [0xFFFE]),
        ({"type_": "uint16", "sentinels": (0,)}, [0]),
        ({"type_": "int32", "sentinels": (0x80000000,), "order": "CDAB"}, [0, 0x8000]),
        ({"type_": "float32", "sentinels": (0xFFC00000,)}, [0xFFC0, 0]),
        ({"type_": "float32", "sentinels": (0x80000000,)}, [0x8000, 0]),
        ({"type_": "bool", "sentinels": (0xFFFF,)}, [0xFFFF]),
    ],
)
def test_a_sentinel_is_compared_raw_and_unsigned(rest, registers):
    assert decode(point(**rest), registers) == (None, "bad:sentinel")


def test_beside_its_sentinels_a_point_reads_as_ever():
    assert decode(point("int16", sentinels=(0x8000,), scale=0.1), [0]) == (0.0, "good")
    assert decode(point("float32", sentinels=(0x80000000,)), [0, 0]) == (0.0, "good")  # not minus zero, its sentinel
    assert decode(point("float32", sentinels=(0x80000000,)), [0x7FC0, 0]) == (None, "bad:nan")
    assert decode(point("int16", sentinels=(0x8000,), range=(0, 5)), [6]) == (None, "bad:range")
    assert decode(point("bool", sentinels=(0xFFFF,)), [0]) == (False, "good")


@pytest.mark.parametrize(("raw", "quality"), [(0, "good"), (100, "good"), (101, "bad:range"), (0xFFFF, "bad:range")])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_outside_its_range_a_value_is_bad_and_gone(raw, quality, scale):
    value, found = decode(point("int16", scale=scale, range=(0, 100 * scale)), [raw])
    assert (found, value is None) == (quality, quality != "good")


def test_in_range_judges_a_number_by_itself():
    assert in_range(0, None) == (0, "good")
    assert in_range(0.0, (0, 0)) == (0.0, "good")
    assert in_range(math.nan, None) == (None, "bad:nan")
    assert in_range(2**70, (0, 1)) == (None, "bad:range")


# --- text and bits


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"AB12\0\0\0\0", ("AB12", "good")),
        (b"  AB12\0 ", ("AB12", "good")),
        (b"\0\0\0\0\0\0\0\0", ("", "good")),
        (b"0\0\0\0\0\0\0\0", ("0", "good")),
        (b"A B\0\0\0\0\0", ("A B", "good")),
        (b"AB\xff\0\0\0\0\0", (None, "bad:garbage")),
        (b"AB\0CD\0\0\0", (None, "bad:garbage")),
        (b"AB\x1b[2J\0\0", (None, "bad:garbage")),
        (b"AB\nCD\0\0\0", (None, "bad:garbage")),
    ],
)
def test_text_is_printable_ascii_without_its_padding_or_garbage(text, wanted):
    assert decode(point("string", length=4), words(text)) == wanted


@pytest.mark.parametrize(("order", "wire"), [("BADC", b"BADC"), ("CDAB", b"CDAB"), ("DCBA", b"DCBA")])
def test_text_follows_the_byte_order_too(order, wire):
    assert decode(point("string", length=2, order=order), words(wire)) == ("ABCD", "good")


def test_bits_are_read_from_numbers_and_from_packed_bytes_alike():
    points = [point("bool", f"b{i}", function=1, address=10 + i) for i in (0, 3, 8, 9)]
    decoder = BlockDecoder(points, 1, 10, 10)
    wanted = [(False, "good"), (True, "good"), (False, "good"), (True, "good")]
    assert decoder.decode([0, 0, 0, 1, 0, 0, 0, 0, 0, 1]) == wanted
    assert decoder.decode_bytes(bytes((0b00001000, 0b10))) == wanted


# --- blocks


def test_a_block_of_mixed_orders_types_gaps_and_overlaps_reads_like_its_points():
    registers = [*range(1000, 1040)]
    points = [
        point("float32", "late", address=130),
        point("uint32", "first", address=100, order="CDAB"),
        point("uint16", "half", address=101),
        point("uint16", "same", address=101, order="BADC"),
        point("int64", "long", address=104, order="DCBA", scale=0.01),
        point("string", "text", address=110, length=3),
        point("bool", "bool", address=139),
        point("int16", "none", address=120, sentinels=(1020,)),
    ]
    found = BlockDecoder(points, 3, 100, 40).decode(registers)
    wanted = [decode(p, registers[p.address - 100 : p.address - 100 + width(p)]) for p in points]
    assert found == wanted
    assert found[7] == (None, "bad:sentinel")


@given(st.data())
def test_a_block_reads_like_its_points_one_by_one(data):
    types = st.sampled_from((*NUMBERS, "bool", "string"))
    points = [
        point(
            data.draw(types), f"p{i}", address=data.draw(st.integers(0, 20)), order=data.draw(st.sampled_from(ORDERS))
        )
        for i in range(data.draw(st.integers(1, 8)))
    ]
    registers = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=24, max_size=24))
    found = BlockDecoder(points, 3, 0, 24).decode(registers)
    assert found == [decode(p, registers[p.address : p.address + width(p)]) for p in points]
    assert found == BlockDecoder(points, 3, 0, 24).decode_bytes(struct.pack(">24H", *registers))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_answer_of_another_length_is_a_mismatch(count):
    for function, type_ in ((3, "float32"), (1, "bool")):
        decoder = BlockDecoder([point(type_, function=function)], function, 0, 2)
        with pytest.raises(WireError) as refusal:
            decoder.decode([0] * count)
        assert refusal.value.reason == "mismatch"
    for size in (2 * count, 5):
        with pytest.raises(WireError):
            BlockDecoder([point("float32")], 3, 0, 2).decode_bytes(bytes(size))
    with pytest.raises(WireError):
        BlockDecoder([point("bool", function=1)], 1, 0, 9).decode_bytes(bytes(count))


# --- writing


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("type_", WHOLE)
@given(data=st.data())
def test_whole_numbers_read_back_as_they_were_written(type_, order, data):
    value = data.draw(st.integers(*WHOLE[type_]))
    registers = encode(point(type_, order=order), value)
    assert len(registers) == width(point(type_))
    assert decode(point(type_, order=order), registers) == (value, "good")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("type_", "bits"), [("float32", 32), ("float64", 64)])
@given(data=st.data())
def test_floats_read_back_as_they_were_written(type_, bits, order, data):
    value = data.draw(st.floats(width=bits, allow_nan=False, allow_infinity=False))
    assert decode(point(type_, order=order), encode(point(type_, order=order), value)) == (value, "good")


@pytest.mark.parametrize("order", ORDERS)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8))
def test_text_reads_back_as_it_was_written(order, text):
    text_point = point("string", length=4, order=order)
    assert decode(text_point, encode(text_point, text)) == (text, "good")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("function", [1, 2, 3, 4])
@pytest.mark.parametrize("value", [False, True])
def test_bools_read_back_as_they_were_written(value, function, order):
    bool_point = point("bool", function=function, order=order)
    (register,) = encode(bool_point, value)
    assert decode(bool_point, [register]) == (value, "good")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("type_", WHOLE)
@given(raw=st.data(), scale=st.sampled_from((0.1, 0.01, 0.5, 10.0)), offset=st.sampled_from((0.0, -40.0, 273.15)))
def test_a_scaled_value_that_was_read_can_be_written(type_, order, raw, scale, offset):
    low, high = WHOLE[type_]
    # Beyond this a float cannot tell two raw values apart.
    number = raw.draw(st.integers(max(low, -(2**40)), min(high, 2**40)))
    plain, scaled = point(type_, order=order), point(type_, order=order, scale=scale, offset=offset)
    registers = encode(plain, number)
    value, quality = decode(scaled, registers)
    assert quality == "good"
    assert encode(scaled, value) == registers


@given(st.lists(st.integers(0, 0xFFFF), min_size=4, max_size=4), st.sampled_from(NUMBERS), st.sampled_from(ORDERS))
def test_pain_19_whatever_reads_as_good_can_be_written_and_reads_the_same(registers, type_, order):
    number = point(type_, order=order)
    value, quality = decode(number, registers[: width(number)])
    if quality == "good":
        assert decode(number, encode(number, value)) == (value, "good")


def test_pain_21_writing_zero_writes_zero():
    assert encode(point("uint16"), 0) == [0]
    assert encode(point("float32"), 0.0) == [0, 0]
    assert encode(point("bool", function=1), value=False) == [0]
    assert encode(point("string", length=2), "") == [0, 0]


@pytest.mark.parametrize(
    ("rest", "value"),
    [
        ({"type_": "uint16"}, -1),
        ({"type_": "uint16"}, 65536),
        ({"type_": "int16"}, 32768),
        ({"type_": "uint16"}, 1.5),
        ({"type_": "uint16"}, True),
        ({"type_": "uint16"}, "7"),
        ({"type_": "uint16"}, None),
        ({"type_": "uint16"}, math.nan),
        ({"type_": "uint16", "scale": 0.1}, 0.05),
        ({"type_": "uint16", "range": (0, 100)}, 101),
        ({"type_": "uint16", "sentinels": (0xFFFF,)}, 65535),
        ({"type_": "float32"}, 1e39),
        ({"type_": "float32"}, math.inf),
        ({"type_": "float32"}, -math.nan),
        ({"type_": "float64", "scale": 1e-10}, 1e300),
        ({"type_": "bool"}, 0),
        ({"type_": "bool"}, 1.0),
        ({"type_": "bool", "function": 1}, None),
        ({"type_": "string", "length": 2}, "ABCDE"),
        ({"type_": "string", "length": 2}, "A\u00e9"),
        ({"type_": "string", "length": 2}, "A\n"),
        ({"type_": "string", "length": 2}, " A"),
        ({"type_": "string", "length": 2}, 7),
    ],
)
def test_what_does_not_fit_is_not_written(rest, value):
    with pytest.raises(ValueError, match=r"^p: got "):
        encode(point(**rest), value)


def test_a_block_of_plain_floats_costs_well_under_a_microsecond_a_point():
    """A guard against the hot path being lost, not a benchmark: measured are 0.09 µs on a PC."""
    points = [point("float32", f"p{i}", address=2 * i, range=(-1e6, 1e6)) for i in range(62)]
    decoder, answer = BlockDecoder(points, 3, 0, 124), struct.pack(">62f", *range(62))
    best = math.inf
    for _ in range(20):
        begin = time.perf_counter()
        for _ in range(20):
            decoder.decode_bytes(answer)
        best = min(best, time.perf_counter() - begin)
    assert best / 20 / 62 < 1e-6


# --- parts, names, digits


@pytest.mark.parametrize(
    ("rest", "registers", "wanted"),
    [
        ({"type_": "uint16", "bits": (0, 7)}, [0x12FF], 0xFF),
        ({"type_": "uint16", "bits": (8, 15)}, [0x12FF], 0x12),
        ({"type_": "int16", "bits": (0, 7)}, [0x12FF], -1),
        ({"type_": "int16", "bits": (0, 7)}, [0xFF00], 0),
        ({"type_": "int16", "bits": (8, 15), "scale": 0.5}, [0x0300], 1.5),
        ({"type_": "uint32", "bits": (31, 31)}, [0x8000, 0], 1),
        ({"type_": "uint16", "bits": (0, 0)}, [0xFFFE], 0),
        ({"type_": "bool", "bits": (3, 3)}, [0b1000], True),
        ({"type_": "bool", "bits": (3, 3)}, [0b0111], False),
        ({"type_": "bool", "bits": (20, 20)}, [0], False),
        ({"type_": "uint16", "enum": {"0": "off", "2": "on"}}, [0], "off"),
        ({"type_": "int16", "enum": {"-1": "fault"}}, [0xFFFF], "fault"),
        ({"type_": "uint16", "enum": {"0": "off", "3": "on"}, "bits": (4, 5)}, [0x30], "on"),
        ({"type_": "uint16", "flags": {"0": "door", "15": "load"}}, [0], ""),
        ({"type_": "uint16", "flags": {"0": "door", "15": "load"}}, [0x8001], "door+load"),
        ({"type_": "uint16", "flags": {"0": "door"}}, [0b101], "door+bit2"),
        ({"type_": "uint32", "flags": {"16": "high"}, "order": "CDAB"}, [0, 1], "high"),
        ({"type_": "bcd16"}, [0x0000], 0),
        ({"type_": "bcd16"}, [0x1234], 1234),
        ({"type_": "bcd32", "order": "CDAB"}, [0x5678, 0x1234], 12345678),
        ({"type_": "bcd64"}, [0, 0, 0, 0x0099], 99),
        ({"type_": "bcd16", "scale": 0.1}, [0x1234], 123.4),
        ({"type_": "string", "length": 3, "characters": "low"}, [0x41, 0x42, 0], "AB"),
        ({"type_": "string", "length": 2, "characters": "high"}, [0x4100, 0x4200], "AB"),
        ({"type_": "string", "length": 2, "characters": "low", "order": "BADC"}, [0x4100, 0x4200], "AB"),
    ],
)
def test_parts_names_and_digits_are_read_as_what_they_mean(rest, registers, wanted):
    found = decode(point(length=rest.pop("length", 1), **rest), registers)
    assert found == (wanted, "good")
    assert type(found[0]) is type(wanted)


@pytest.mark.parametrize(
    ("rest", "registers", "quality"),
    [
        ({"type_": "bcd16"}, [0x123A], "bad:garbage"),
        ({"type_": "bcd16", "sentinels": (0xFFFF,)}, [0xFFFF], "bad:sentinel"),
        ({"type_": "uint16", "enum": {"0": "off"}}, [1], "bad:unlisted"),
        ({"type_": "uint16", "enum": {"0": "off"}, "sentinels": (0xFFFF,)}, [0xFFFF], "bad:sentinel"),
        ({"type_": "uint16", "bits": (0, 7), "sentinels": (0xFFFF,)}, [0xFFFF], "bad:sentinel"),
        ({"type_": "uint16", "bits": (0, 7), "range": (0, 100)}, [0xFF], "bad:range"),
        ({"type_": "uint16", "flags": {"0": "door"}, "sentinels": (0xFFFF,)}, [0xFFFF], "bad:sentinel"),
    ],
)
def test_parts_names_and_digits_that_mean_nothing_are_bad(rest, registers, quality):
    assert decode(point(**rest), registers) == (None, quality)


@given(st.integers(0, 9999), st.sampled_from(ORDERS))
def test_digits_read_back_as_they_were_written(value, order):
    digits = point("bcd16", order=order)
    assert decode(digits, encode(digits, value)) == (value, "good")


@given(st.integers(0, 2**16 - 1))
def test_flags_read_back_as_they_were_written_named_or_not(raw):
    flags = point("uint16", flags={"0": "a", "3": "b", "15": "c"})
    said, _ = decode(flags, [raw])
    assert encode(flags, said) == [raw]


@pytest.mark.parametrize("characters", ["both", "low", "high"])
@pytest.mark.parametrize("order", ORDERS)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=4))
def test_text_of_one_or_two_characters_a_register_reads_back(characters, order, text):
    text_point = point("string", length=4, order=order, characters=characters)
    assert decode(text_point, encode(text_point, text)) == (text, "good")


@pytest.mark.parametrize(
    ("rest", "value", "wanted"),
    [
        ({"type_": "uint16", "enum": {"0": "off"}}, "on", "wanted one of off"),
        ({"type_": "uint16", "enum": {"0": "off"}}, 0, "wanted one of off"),
        ({"type_": "uint16", "flags": {"0": "a"}}, "b", "wanted names of bits"),
        ({"type_": "uint16", "flags": {"0": "a"}}, 1, "wanted names of bits"),
        ({"type_": "uint16", "flags": {"0": "a"}}, "bit63", "does not fit"),
        ({"type_": "bcd16"}, 10000, "does not fit"),
        ({"type_": "bcd16"}, -1, "does not fit"),
        ({"type_": "uint16", "bits": (0, 7)}, 1, "wanted one to whole registers"),
        ({"type_": "string", "length": 2, "characters": "low"}, "ABC", "at most 2 characters"),
        ({"type_": "int16", "scale_point": "sf"}, 1, "without its scale, which stands in sf"),
    ],
)
def test_names_and_digits_that_do_not_fit_are_refused(rest, value, wanted):
    with pytest.raises(ValueError, match=wanted):
        encode(point(**rest), value)


# --- scale points


def scaled(name="w", address=0, type_="int16", **rest):
    return point(type_, name, address=address, scale_point="sf", **rest)


SF = point("int16", "sf", address=9, sentinels=(0x8000,))


def in_block(values, exponent, registers):
    decoder = BlockDecoder([*values, SF], 3, 0, 10)
    return decoder.decode([*registers, *[0] * (9 - len(registers)), exponent & 0xFFFF])[:-1]


@pytest.mark.parametrize(
    ("exponent", "raw", "wanted"),
    [
        (0, 1234, 1234),
        (-1, 1234, 123.4),
        (-3, 0xFFFF, -0.001),
        (2, 5, 500.0),
        (-10, 3, 3e-10),
        (10, 1, 1e10),
        (-2, 0, 0),
    ],
)
def test_a_value_is_scaled_by_what_its_scale_point_says_in_the_same_answer(exponent, raw, wanted):
    assert in_block([scaled()], exponent, [raw]) == [(wanted, "good")]


@pytest.mark.parametrize("exponent", [0x8000, 11, -11, 0x7FFF, 100])
def test_a_value_without_its_scale_is_bad_and_never_wrong_by_a_power_of_ten(exponent):
    assert in_block([scaled()], exponent, [1234]) == [(None, "bad:scale")]
    assert BlockDecoder([scaled()], 3, 0, 1).decode([1234]) == [(None, "bad:scale")]


def test_beside_a_scale_point_sentinels_ranges_and_zero_are_what_they_are():
    values = [scaled("a", 0, sentinels=(0x8000,)), scaled("b", 1, range=(0, 5)), scaled("c", 2)]
    assert in_block(values, -1, [0x8000, 51, 0]) == [(None, "bad:sentinel"), (None, "bad:range"), (0.0, "good")]


@given(st.integers(-(2**15), 2**15 - 1), st.integers(-10, 10))
def test_a_scaled_value_that_was_read_can_be_written_with_the_same_scale(raw, exponent):
    value, quality = decode(scaled(), [raw & 0xFFFF], exponent)
    assert (value, quality) == (float(f"{raw}e{exponent}"), "good")
    assert encode(scaled(), value, exponent) == [raw & 0xFFFF]


@given(st.binary(min_size=20, max_size=20), st.sampled_from((*NUMBERS, "bcd16", "bcd32")), st.sampled_from(ORDERS))
def test_nothing_that_a_device_sends_raises(answer, type_, order):
    points = [point(type_, order=order), scaled("s", 4), point("uint16", "f", address=5, flags={"1": "x"}), SF]
    for value, quality in BlockDecoder(points, 3, 0, 10).decode_bytes(answer):
        assert (value is None) == (quality != "good")
