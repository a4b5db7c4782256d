import pytest

from edge_agent.model.errors import WireError
from edge_agent.model.profile import SentencePoint
from edge_agent.twin.nmea import Sentence, parse_sentence, sentence_value

RMC = "GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W"
GGA = "GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"


def changed(text, place, field):
    fields = text.split(",")
    fields[place] = field
    return ",".join(fields)


def test_a_sentence_says_what_is_in_it():
    said = parse_sentence(RMC).said
    assert said == {
        "valid": True, "time": 3920186119.0, "latitude": pytest.approx(48.1173, abs=1e-9),
        "longitude": pytest.approx(11.516666666, abs=1e-8), "speed": 22.4, "course": 84.4,
    }  # fmt: skip
    said = parse_sentence(GGA).said
    assert said["latitude"] == pytest.approx(48.1173)
    assert (said["quality"], said["satellites"], said["hdop"], said["altitude"]) == (1.0, 8.0, 0.9, 545.4)


def test_south_and_west_are_negative_and_zero_is_a_place():
    text = changed(changed(RMC, 4, "S"), 6, "W")
    assert parse_sentence(text).said["latitude"] == pytest.approx(-48.1173)
    assert parse_sentence(text).said["longitude"] == pytest.approx(-11.5166667)
    equator = changed(changed(RMC, 3, "0000.000"), 5, "00000.000")
    assert (parse_sentence(equator).said["latitude"], parse_sentence(equator).said["longitude"]) == (0.0, 0.0)


@pytest.mark.parametrize("mode", ["", ",A", ",A,V"])
def test_newer_receivers_add_fields(mode):
    assert parse_sentence(RMC + mode).said["valid"] is True


@pytest.mark.parametrize("talker", ["GP", "GN", "GL", "GA", "GB", "BD", "QZ", "GQ", "GI"])
def test_the_talker_does_not_matter(talker):
    assert parse_sentence(talker + RMC[2:]) == parse_sentence(RMC)


@pytest.mark.parametrize("text", ["", "GPGSV,1,1,00", "PMTK001,0", "GPRMCX,1", "XXRMC,1"])
def test_other_sentences_are_not_ours(text):
    assert parse_sentence(text) is None


def test_without_a_fix_a_position_has_no_value():
    lost = parse_sentence("GPRMC,,V,,,,,,,,,,N")
    assert lost == Sentence("RMC", {"valid": False})
    blind = parse_sentence("GPGGA,123519,,,,,0,00,,,,,,,")
    assert blind.said == {"quality": 0.0, "satellites": 0.0}
    # What an invalid sentence still holds may be the last position, and is not taken.
    assert parse_sentence(changed(RMC, 2, "V")).said == {"valid": False}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (RMC[:-2], "11 or 12 or 13 fields"),
        (RMC + ",A,V,x", "11 or 12 or 13 fields"),
        (GGA + ",", "14 fields"),
        (changed(RMC, 1, "253519"), "a time"),
        (changed(RMC, 1, "12351"), "a time"),
        (changed(RMC, 1, ""), "time, date, latitude"),
        (changed(RMC, 2, "X"), "A or V"),
        (changed(RMC, 2, ""), "A or V"),
        (changed(RMC, 3, "9100.000"), "at most 90 degrees"),
        (changed(RMC, 3, "4860.000"), "degrees and minutes"),
        (changed(RMC, 3, "807.038"), "degrees and minutes"),
        (changed(RMC, 3, "48o7.038"), "degrees and minutes"),
        (changed(RMC, 3, ""), "degrees and minutes"),
        (changed(RMC, 4, "X"), "one of NS"),
        (changed(RMC, 4, "E"), "one of NS"),
        (changed(RMC, 4, ""), "one of NS"),
        (changed(RMC, 4, "NS"), "one of NS"),
        (changed(RMC, 5, "18100.000"), "at most 180"),
        (changed(RMC, 7, "-1"), "a number from 0 to 2000"),
        (changed(RMC, 7, "nan"), "a number from 0"),
        (changed(RMC, 7, "1e3"), "a number from 0"),
        (changed(RMC, 8, "361"), "a number from 0 to 360"),
        (changed(RMC, 9, "300294"), "the calendar"),
        (changed(RMC, 9, "230013"), "the calendar"),
        (changed(RMC, 9, "2303"), "a date"),
        (changed(GGA, 6, ""), "a fix quality"),
        (changed(GGA, 6, "9"), "a number from 0 to 8"),
        (changed(GGA, 7, "100"), "a number from 0 to 99"),
        (changed(GGA, 10, "F"), "an altitude in M"),
        (changed(changed(GGA, 2, ""), 3, ""), "latitude and longitude"),
    ],
)
def test_pain_29_a_sentence_that_passed_its_weak_checksum_is_refused_whole_for_one_wrong_field(text, wanted):
    with pytest.raises(WireError, match=wanted) as refusal:
        parse_sentence(text)
    assert len(str(refusal.value)) < 250


def value(says, text=RMC, **rest):
    point = SentencePoint(name="p", sentence="RMC", says=says, **rest)
    return sentence_value(point, parse_sentence(text).said)


def test_points_of_a_sentence():
    assert value("valid") == (True, "good")
    assert value("speed") == (22.4, "good")
    assert value("speed", scale=1.852) == (41.4848, "good")
    assert value("speed", range=(0.0, 10.0)) == (None, "bad:range")
    assert value("speed", changed(RMC, 7, "0")) == (0.0, "good")
    assert value("course", changed(RMC, 8, "")) == (None, "bad:sentinel")  # a receiver that stands still
    assert value("latitude", changed(RMC, 2, "V")) == (None, "bad:sentinel")
    assert value("valid", changed(RMC, 2, "V")) == (False, "good")
