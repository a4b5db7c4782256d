"""What a person wrote becomes typed nouns, or problems in words: the forms that other tests do not touch."""

import pytest

from edge_agent.model.checked import Hex, check
from edge_agent.model.framing import FixedFraming, Framing, LineFraming
from edge_agent.model.profile import FieldPoint, FramePoint, ObisPoint, SentencePoint, SerialPoint


def checked(raw, wanted):
    problems = []
    return check(raw, wanted, "here: ", problems), [str(problem) for problem in problems]


@pytest.mark.parametrize(("raw", "wanted"), [("42 4D", b"BM"), ("424d", b"BM"), ("", b""), ("00", b"\0")])
def test_bytes_are_written_in_hex(raw, wanted):
    assert checked(raw, Hex) == (wanted, [])


@pytest.mark.parametrize("raw", ["4", "0x42", "zz", 42, None, b"BM"])
def test_what_is_no_hex_is_a_problem(raw):
    found, problems = checked(raw, Hex)
    assert found is None
    assert 'wanted bytes in hex, such as "42 4D"' in problems[0]


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ({"name": "p", "field": "flow"}, FieldPoint),
        ({"name": "p", "at": 0, "type": "uint8"}, FramePoint),
        ({"name": "p", "sentence": "RMC", "says": "speed"}, SentencePoint),
        ({"name": "p", "obis": "96.1.1", "type": "hex"}, ObisPoint),
    ],
)
def test_a_serial_point_is_told_by_the_key_that_only_its_kind_has(raw, kind):
    found, problems = checked(raw, SerialPoint)
    assert problems == []
    assert type(found) is kind


def test_a_table_of_no_kind_or_of_two_says_which_keys_tell():
    keys = "wanted one of the keys field, at, sentence, says, obis"
    assert checked({"name": "p"}, SerialPoint)[1] == [f"here: : got a table without any of them, {keys}"]
    assert checked({"name": "p", "field": "x", "obis": "1.8.1"}, SerialPoint)[1] == [
        f"here: : got `field` and `obis`, {keys}"
    ]
    assert checked([], SerialPoint)[1] == ["here: : got a list, wanted a table"]


def test_a_key_missing_beside_the_telling_one_is_named():
    assert checked({"name": "p", "at": 0}, SerialPoint)[1] == [
        "here: type: got nothing, wanted a value; `type` is required"
    ]


def test_a_framing_takes_the_keys_of_its_kind_only():
    assert checked({"kind": "line"}, Framing) == (LineFraming(), [])
    wanted = FixedFraming(length=10, start=Hex(b"\xaa"))
    assert checked({"kind": "fixed", "length": 10, "start": "AA"}, Framing) == (wanted, [])
    assert "here: length: got an unknown key" in checked({"kind": "line", "length": 10}, Framing)[1][0]
