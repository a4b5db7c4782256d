import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.errors import WireError
from edge_agent.model.profile import ObisPoint
from edge_agent.twin.dsmr import find_item, is_undated, obis_value, own_time_ms, parse_telegram

HEAD = "/ISk5\\2MT382-1000\r\n\r\n"
OBJECTS = """\
1-3:0.2.8(50)
0-0:1.0.0(261125172000W)
0-0:96.1.1(4530303334)
1-0:1.8.1(000123.456*kWh)
1-0:1.7.0(00.000*kW)
0-0:96.13.0()
1-0:99.97.0(1)(0-0:96.7.19)(261025030000S)(0000000240*s)
0-1:24.2.1(261125170000W)(00981.443*m3)
0-2:24.2.1(261125171500W)(00002.000*m3)
"""
WHOLE = HEAD + OBJECTS.replace("\n", "\r\n")


def value(obis, text=WHOLE, **rest):
    point = ObisPoint(name="p", obis=obis, **rest)
    return obis_value(point, find_item(point, parse_telegram(text)))


def test_a_telegram_says_what_is_in_it():
    assert value("1.8.1", unit="kWh") == (123.456, "good")
    assert value("1.7.0", unit="kW") == (0.0, "good")
    assert value("1.7.0", unit="W", sent_in="kW", scale=1000.0) == (0.0, "good")
    assert value("1.8.1", unit="Wh", sent_in="kWh", scale=1000.0) == (123456.0, "good")
    assert value("1-3:0.2.8", type="text") == ("50", "good")
    assert value("96.1.1", type="hex") == ("E0034", "good")
    assert value("24.2.1", unit="m3") == (981.443, "good")
    assert value("0-2:24.2.1", unit="m3") == (2.0, "good")


def test_the_same_clock_reading_is_two_instants_in_summer_and_winter():
    """In the hour that comes twice in autumn only the letter behind the time tells which it is."""
    summer, winter = (value("1.0.0", f"{HEAD}0-0:1.0.0(261025023000{letter})\r\n", type="time") for letter in "SW")
    assert summer == (1792888200.0, "good")
    assert winter == (1792891800.0, "good")


@pytest.mark.parametrize(
    ("found", "point", "wanted"),
    [
        ("(00.000*W)", {"unit": "kW"}, (None, "bad:type")),  # a meter in W where kW was expected
        ("(00.000)", {"unit": "kW"}, (None, "bad:type")),
        ("(00.000*kW)", {}, (None, "bad:type")),
        ("(00.000)", {}, (0.0, "good")),
        ("(-1.5*kW)", {"unit": "kW"}, (-1.5, "good")),
        ("()", {"unit": "kW"}, (None, "bad:sentinel")),
        ("(nan*kW)", {"unit": "kW"}, (None, "bad:type")),
        ("(1e9*kW)", {"unit": "kW"}, (None, "bad:type")),
        ("(9999999999999*kW)", {"unit": "kW"}, (None, "bad:type")),
        ("(99.000*kW)", {"unit": "kW", "range": (0.0, 25.0)}, (None, "bad:range")),
        ("(4X)", {"type": "hex"}, (None, "bad:type")),
        ("(0A)", {"type": "hex"}, (None, "bad:garbage")),
        ("(261325172000W)", {"type": "time"}, (None, "bad:type")),
        ("(260230172000W)", {"type": "time"}, (None, "bad:type")),
        ("(261125172000)", {"type": "time"}, (None, "bad:type")),
        ("(261125252000W)", {"type": "time"}, (None, "bad:type")),
    ],
)
def test_a_value_that_is_not_what_the_profile_says_is_bad(found, point, wanted):
    assert value("1.7.0", f"{HEAD}1-0:1.7.0{found}\r\n", **point) == wanted


def test_gas_has_a_time_of_its_own():
    telegram = parse_telegram(WHOLE)
    gas = find_item(ObisPoint(name="g", obis="0-1:24.2.1"), telegram)
    assert own_time_ms(gas) == 1795622400_000
    assert not is_undated(gas)
    assert own_time_ms(find_item(ObisPoint(name="e", obis="1.8.1"), telegram)) is None


def test_gas_of_an_old_meter_has_a_time_that_does_not_tell_summer_from_winter():
    old = parse_telegram(f"{HEAD}0-1:24.3.0(161107190000)(00)(60)(1)(0-1:24.2.1)(m3)\r\n(00001.001)\r\n")
    point = ObisPoint(name="g", obis="24.3.0", unit="m3", sent_in="")
    gas = find_item(point, old)
    assert obis_value(point, gas) == (1.001, "good")
    assert own_time_ms(gas) is None
    assert is_undated(gas)


def test_what_a_telegram_does_not_hold_is_not_found():
    telegram = parse_telegram(WHOLE)
    assert find_item(ObisPoint(name="p", obis="0-3:24.2.1"), telegram) is None
    assert find_item(ObisPoint(name="p", obis="8.1"), telegram) is None


@pytest.mark.parametrize(
    "text",
    ["", "/", "/ISk5 \x01\r\n", HEAD + "1-0:1.8.1", HEAD + "1-0:1.8.1(", HEAD + "1-0:1.8.1(1*kWh)x", HEAD + "1.8.1(1)",
     HEAD + "1-0:1.8(1)", HEAD + "flow,1", "flow,1\r\n" + HEAD, HEAD + "1-0:1.8.1((1))"],
)  # fmt: skip
def test_a_telegram_with_one_line_that_is_none_is_refused_whole(text):
    with pytest.raises(WireError, match="telegram: got"):
        parse_telegram(text)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
def test_any_line_is_an_object_or_refused(line):
    try:
        items = parse_telegram(f"{HEAD}{line}\r\n")
    except WireError:
        return
    assert all(item.groups for item in items)
