"""What stands in [[sources]] and in a profile becomes sources: devices, topics, files, and who counts more."""

import pytest
from sites import site, written

from edge_agent.config import load
from edge_agent.model.errors import ConfigError
from edge_agent.model.profile import ColumnPoint, MqttAsk, SerialAsk

PROFILE = """
name = "p"
title = "A device"
entity_type = "plug"
[provenance]
source = "made up for this test"
date = "2026-11-25"
verified = true
"""
Z2M = PROFILE.replace(
    "[provenance]",
    'protocol = "mqtt"\ntopic = "z/{device}"\ntime = "$.last_seen"\n'
    'availability = { topic = "{topic}/availability", path = "$.state" }\n'
    'asks = [{ topic = "{topic}/get", send = "{}" }]\n'
    'points = [{ name = "power", path = "$.power" }]\nexamples = []\n[provenance]',
)
PM = PROFILE.replace(
    "[provenance]",
    'protocol = "serial"\nasks = [{ send = "42 4D E2" }]\n'
    'points = [{ name = "pm25", at = 6, type = "uint16", range = [0, 1000] }]\nexamples = []\n'
    'framing = { kind = "length", start = "42 4D", length_at = 2, length_type = "uint16", length_adds = 4 }\n[provenance]',
)
HTTP = PROFILE.replace(
    "[provenance]",
    'protocol = "http"\npath = "/rpc"\ntime = "$.t"\npoints = [{ name = "power", path = "$.p" }]\nexamples = []\n[provenance]',
)


def source(tmp_path, kind, rest, profile=None):
    if profile is not None:
        (tmp_path / "p.toml").write_text(profile)
        (tmp_path / "p.toml").chmod(0o600)
        rest = f'profile = "p.toml"\n{rest}'
    return f'[[sources]]\nname = "s"\nkind = "{kind}"\n{rest}\n'.replace("{", "{{").replace("}", "}}")


def loaded(tmp_path, *args, **rest):
    return site(tmp_path, source(tmp_path, *args, **rest)).sources


def problems(tmp_path, *args, **rest):
    with pytest.raises(ConfigError) as refusal:
        load(written(tmp_path, source(tmp_path, *args, **rest)))
    return [str(problem) for problem in refusal.value.problems]


def test_a_profile_says_what_agent_toml_does_not(tmp_path):
    (found,) = loaded(tmp_path, "mqtt", 'url = "mqtt://h"\ndevice = "lamp"', profile=Z2M)
    settings = found.settings
    assert (settings.topic, settings.device, settings.time) == ("z/{device}", "lamp", "$.last_seen")
    assert settings.availability.path == "$.state"
    assert found.asks == (MqttAsk("{topic}/get", "{}"),)


def test_agent_toml_counts_more_than_the_profile(tmp_path):
    rest = 'url = "mqtt://h"\ndevice = "lamp"\ntopic = "other/{device}"\ntime = "$.t"'
    (found,) = loaded(tmp_path, "mqtt", rest, profile=Z2M)
    assert (found.settings.topic, found.settings.time) == ("other/{device}", "$.t")


def test_one_table_may_stand_for_several_devices(tmp_path):
    rest = 'url = "mqtt://h"\ndevices = { attic = "0x00158d0001", kitchen = "Kitchen Lamp" }'
    found = loaded(tmp_path, "mqtt", rest, profile=Z2M)
    assert [(s.name, s.entity, s.settings.device) for s in found] == [
        ("s-attic", "w:plug:attic", "0x00158d0001"),
        ("s-kitchen", "w:plug:kitchen", "Kitchen Lamp"),
    ]


@pytest.mark.parametrize(
    ("rest", "wanted"),
    [
        ('devices = { Attic = "a" }', "a name for a source"),
        ('device = "a"\ndevices = { attic = "b" }', "got `device` beside `devices`, wanted one of them"),
        ('entity = "a"\ndevices = { attic = "b" }', "got `entity` beside `devices`"),
        ("devices = { attic = 5 }", "text"),
    ],
)
def test_devices_that_cannot_be_are_problems(tmp_path, rest, wanted):
    found = problems(tmp_path, "mqtt", f'url = "mqtt://h"\n{rest}', profile=Z2M)
    assert any(wanted in problem for problem in found), found


def test_devices_of_two_tables_may_not_have_one_name(tmp_path):
    rest = 'url = "mqtt://h"\ndevices = { attic = "a" }\n[[sources]]\nname = "s-attic"\nkind = "mqtt"\n'
    rest += 'url = "mqtt://h"\ntopic = "t"\npoints = [{ name = "p", path = "$" }]'
    assert any("2 sources of this name" in problem for problem in problems(tmp_path, "mqtt", rest, profile=Z2M))


def test_a_serial_profile_brings_framing_and_questions(tmp_path):
    (found,) = loaded(tmp_path, "serial", 'url = "serial:///dev/x"', profile=PM)
    assert found.framing.start == b"BM"
    assert found.asks == (SerialAsk(b"BM\xe2"),)


def test_an_http_profile_brings_its_path(tmp_path):
    (found,) = loaded(tmp_path, "http", 'url = "http://h"', profile=HTTP)
    assert (found.settings.path, found.settings.time) == ("/rpc", "$.t")
    (found,) = loaded(tmp_path, "http", 'url = "http://h"\npath = "/status"', profile=HTTP)
    assert found.settings.path == "/status"


@pytest.mark.parametrize("profile", [PM, Z2M, HTTP])
def test_a_file_takes_the_points_of_any_profile_by_the_names_of_its_columns(tmp_path, profile):
    (tmp_path / "recorded.csv").write_text("timestamp,pm25,power\n")
    (found,) = loaded(tmp_path, "file", 'path = "recorded.csv"', profile=profile)
    (point,) = found.points
    assert type(point) is ColumnPoint
    assert point.column == point.name
    assert point.range == ((0.0, 1000.0) if profile is PM else None)
    assert found.settings.path == str(tmp_path / "recorded.csv")
    assert found.asks == ()


def test_files_that_are_not_there_are_problems(tmp_path):
    assert any(
        "sources.s.path: got" in problem and "a readable file" in problem
        for problem in problems(tmp_path, "file", 'path = "nowhere.csv"', profile=PM)
    )
    access = 'url = "http://h"\naccess = { headers_file = "nowhere" }'
    assert any("sources.s.access.headers_file: got" in p for p in problems(tmp_path, "http", access, profile=HTTP))


def test_a_profile_of_another_kind_is_refused(tmp_path):
    found = problems(tmp_path, "http", 'url = "http://h"', profile=Z2M)
    assert any("got a profile for mqtt, wanted one for http" in problem for problem in found)
