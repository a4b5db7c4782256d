import pytest

from edge_agent.model.errors import WireError
from edge_agent.model.profile import FieldPoint
from edge_agent.twin.lines import Line, field_value, parse_line


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
