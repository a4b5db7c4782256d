import pytest

from edge_agent.model.profile import Expected, FirmwareRange, Identity
from edge_agent.model.reading import Anchor, Instant, Reading
from edge_agent.twin.admission import Admission, mismatch

ANCHOR = Anchor("m", "x", Instant(0, 0, synced=True))


def reading(point, value=0.0, quality="good"):
    return Reading(ANCHOR, point, value, quality)


IDENTITY = Identity(
    expect=(Expected("model", any_of=(1648, 0)), Expected("serial", begins_with="CG")),
    firmware=FirmwareRange("firmware", "1.2", "1.10"),
)
KNOWN = {"model": 1648, "serial": "CG-1", "firmware": "V1.9.3"}


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, ""),
        ({"model": 0}, ""),
        ({"model": False}, "model is False, wanted 1648 or 0"),
        ({"model": 1649}, "model is 1649, wanted 1648 or 0"),
        ({"serial": "XX"}, 'serial is "XX", wanted a text that begins with "CG"'),
        ({"serial": None}, "serial has not been read"),
        ({"firmware": "1.2"}, ""),
        ({"firmware": "1.10"}, ""),
        ({"firmware": "1.10.7"}, ""),
        ({"firmware": "1.11"}, 'firmware is "1.11", wanted "1.2" to "1.10"'),
        ({"firmware": "1.1.9"}, 'firmware is "1.1.9"'),
        ({"firmware": "2"}, 'firmware is "2"'),
        ({"firmware": ""}, 'firmware is ""'),
        ({"firmware": None}, "firmware has not been read"),
    ],
)
def test_a_device_is_known_by_all_that_it_says(said, wanted):
    found = mismatch(IDENTITY, KNOWN | said)
    assert wanted in found
    assert bool(found) == bool(wanted)


def test_numbers_are_compared_as_numbers():
    identity = Identity(firmware=FirmwareRange("firmware", 0x1000, 0x1FFF))
    assert mismatch(identity, {"firmware": 0x1000}) == ""
    assert mismatch(identity, {"firmware": 0x2000}) == "firmware is 8192, wanted 4096 to 8191"
    assert mismatch(identity, {"firmware": 0}) != ""


def test_pain_25_an_unknown_firmware_is_read_with_doubt_and_cannot_be_written():
    admission = Admission(Identity(firmware=FirmwareRange("fw", "1", "1")))
    assert admission.refusal == "the device has not said yet who it is"
    found = admission.take([reading("w", 0.0), reading("v", None, "bad:nan"), reading("fw", "2.0")])
    assert [(r.point, r.value, r.quality) for r in found] == [
        ("w", 0.0, "uncertain:firmware"),
        ("v", None, "bad:nan"),
        ("fw", "2.0", "good"),
    ]
    assert "wanted" in admission.refusal
    assert [r.quality for r in admission.take([reading("fw", "1.3"), reading("w")])] == ["good", "good"]
    assert admission.refusal == ""


def test_after_a_silence_a_device_must_say_again_who_it_is():
    admission = Admission(Identity(expect=(Expected("model", any_of=(7,)),)))
    assert [r.quality for r in admission.take([reading("model", 7), reading("w")])] == ["good", "good"]
    admission.lost()
    assert admission.refusal != ""
    assert [r.quality for r in admission.take([reading("w")])] == ["uncertain:firmware"]
    assert [r.quality for r in admission.take([reading("model", None, "bad:timeout"), reading("w")])][1] != "good"
    admission.take([reading("model", 7)])
    assert admission.refusal == ""


def test_a_profile_that_asks_for_nothing_doubts_nothing():
    readings = [reading("w")]
    assert Admission(Identity()).take(readings) is readings
    assert Admission(Identity()).refusal == ""
