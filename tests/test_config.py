import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sites import METER, site, written

from edge_agent.config import load, load_profile, profile_names
from edge_agent.model.errors import ConfigError
from edge_agent.model.layout import PROFILE_FOLDERS

UPSTREAM = '[upstream]\nurl = "mqtt://127.0.0.1"\n'


def problems(path):
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [str(problem) for problem in caught.value.problems]


def test_a_good_file_is_a_site(tmp_path):
    found = site(tmp_path, UPSTREAM + METER)
    assert found.world_id == "w"
    assert [source.entity for source in found.sources] == ["w:device:meter"]
    assert found.settings.sync.interval == 1.0
    assert len(found.digest) == 64


CASES = [
    ("an unknown key", METER + '\n[sync]\nintervall = "1s"\n', "agent.toml: sync.intervall", 'mean "interval"'),
    ("a duration that does not parse", METER + '\n[sync]\ninterval = "fast"\n', "agent.toml: sync.interval", '"500ms"'),
    ("a bare number for a duration", METER + "\n[sync]\ninterval = 1\n", "sync.interval: got 1", "a duration"),
    ("a beat too short", METER + '\n[sync]\ninterval = "1ms"\n', "agent.toml: sync.interval", "at least 50ms"),
    ("a time zone that nobody lives in", METER + '\n[drift]\ntimezone = "Europe/Berlim"\n', 'drift.timezone: got "Europe/Berlim"', 'mean "Europe/Berlin"'),
    ("a time zone that is a path", METER + '\n[drift]\ntimezone = "../../etc/passwd"\n', "drift.timezone", '"UTC"'),
    ("a size that does not parse", UPSTREAM + 'buffer = {{ max_bytes = "lots" }}\n' + METER, "max_bytes", '"256MiB"'),
    ("a wrong type", METER.replace('"meter"', "5"), "agent.toml: sources[0].name", "a name of the form"),
    ("a name for topics with a slash", METER.replace('"meter"', '"a/b"'), 'got "a/b"', "a name of the form"),
    ("a kind that is not served", METER.replace('"modbus"', '"modbsu"'), "sources.meter.kind", 'mean "modbus"'),
    ("two sources of one name", METER + METER, "agent.toml: sources.meter: got 2 sources", "one name"),
    ("a missing profile", METER + 'profile = "eastron-sdm631"', "sources.meter.profile", 'mean "eastron-sdm630"'),
    ("a function that reads nothing", METER.replace("function = 4", "function = 9"), "points.volts.function", "one of 1, 2, 3, 4"),
    ("a unit beyond the bus", METER + "unit = 300\n", "agent.toml: sources.meter.unit", "<= 255"),
    ("no points", METER.split("points")[0], "agent.toml: sources.meter: got no points", "a profile"),
    ("a table that is a list", METER + "\n[[sync]]\n", "agent.toml: sync: got a list", "a table"),
    ("a relationship to nobody", METER + '\n[[relationships]]\nfrom="meter"\nto="metre"\nrelation="feeds"\n', "relationships[0].to", 'mean "meter"'),
    ("a transition on nothing", METER + '\n[[transitions]]\nentity="meter"\nfrom="a"\nto="b"\nwhen={{variable="meter.volt",is="above",value=1}}\n', "transitions[0].when.variable", 'mean "meter.volts"'),
    ("a password file that is not there", '[upstream]\nurl="mqtt://h"\npassword_file="nowhere"\n' + METER, "upstream.password_file", "a readable file"),
    ("two passwords", '[upstream]\nurl="mqtt://h"\npassword_file="agent.toml"\npassword_env="P"\n' + METER, "upstream.password_env: got password_file and password_env", "one of them"),
    ("a password where its variable is named", '[upstream]\nurl="mqtt://h"\npassword_env="hunter 2"\n' + METER, "upstream.password_env", "matching regex"),
    ("a release by nobody", '[upstream]\nurl="mqtt://h"\nrelease="mirror"\n' + METER, "upstream.mirror_key: got nothing", "receipts"),
    ("a mirror's key that is none", '[upstream]\nurl="mqtt://h"\nmirror_key="agent.toml"\n' + METER, "upstream.mirror_key", "an OpenSSH ed25519 public key"),
    ("a private key alone", '[upstream]\nurl="mqtts://h"\nkey_file="agent.toml"\n' + METER, "upstream.cert_file", "the certificate of key_file"),
    ("a table left out", "", "agent.toml: sources: got nothing", "required"),
    ("not TOML", METER + "\n[sync", "agent.toml", "wanted TOML"),
    ("curly quotes", METER.replace('"meter"', "“meter”"), 'got "name = “meter”", wanted TOML', "straight quotes"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "place", "wanted"), CASES, ids=[case[0] for case in CASES])
def test_a_problem_says_where_and_what_was_wanted(tmp_path, name, text, place, wanted):
    found = problems(written(tmp_path, text))
    assert any(place in problem and wanted in problem for problem in found), found


TEXT = '[agent]\nworld_id = "w"\ndata_dir = "data"\n' + METER.replace("{{", "{").replace("}}", "}")
OTHER_BYTES = [
    ("UTF-16", TEXT.encode("utf-16"), "agent.toml: got text in UTF-16, wanted TOML in UTF-8", "save it as"),
    ("UTF-16 without a mark", TEXT.encode("utf-16-le"), "agent.toml: line 1: got NUL bytes", "UTF-16"),
    ("what a power cut leaves", TEXT.encode() + bytes(512), "got NUL bytes", "write it anew"),
    ("Latin-1", "[agent] # ä\n# ü".encode("latin-1"), "agent.toml: line 1: got the byte 0xe4", "save it as"),
    ("nothing", b"", "agent.toml: got an empty file", "agent.toml is one to begin with"),
    ("lists in lists", b"x = " + b"[" * 9000, "agent.toml: got maximum recursion depth exceeded", "wanted TOML"),
    ("a number without end", b"x = " + b"9" * 9000, "agent.toml: got Exceeds the limit", "wanted TOML"),
]


@pytest.mark.parametrize(("name", "text", "place", "wanted"), OTHER_BYTES, ids=[case[0] for case in OTHER_BYTES])
def test_a_file_in_another_code_is_told_as_a_person_wants_to_know_it(tmp_path, name, text, place, wanted):
    path = written(tmp_path, METER)
    path.write_bytes(text)
    (found,) = problems(path)
    assert place in found
    assert wanted in found


@pytest.mark.parametrize(
    "way", [("\n", "\r\n"), (" = ", "\t=\t"), ("[agent]", "\ufeff[agent]")], ids=["CRLF", "tabs", "BOM"]
)
def test_what_windows_editors_write_is_read(tmp_path, way):
    path = written(tmp_path, METER)
    path.write_bytes(TEXT.replace(*way).encode())
    assert load(path).world_id == "w"


@pytest.mark.parametrize(
    ("asked", "hint"), [("", "did you mean {}/agent.toml?"), ("agnet.toml", "did you mean {}/agent.toml?")]
)
def test_a_folder_or_a_name_that_is_not_there_leads_to_the_file(tmp_path, asked, hint):
    written(tmp_path, METER)
    (tmp_path / "plant.toml").touch()
    (found,) = problems(tmp_path / asked)
    assert found.endswith(f"wanted a readable file ({hint.format(tmp_path)})")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("closed", ["folder", "file"])
def test_who_may_not_read_a_configuration_is_told_to_be_somebody_who_may(closed):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        path = written(Path(folder), METER)
        Path(folder).chmod(0o750 if closed == "folder" else 0o755)
        path.chmod(0o600 if closed == "file" else 0o644)
        ask = f"from edge_agent.config import load; from pathlib import Path; load(Path({str(path)!r}))"
        words = [
            sys.executable,
            "-c",
            f"import os; import edge_agent.config; os.setgid(65534); os.setuid(65534); {ask}",
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    told = done.stderr.splitlines()[-1]
    assert told.endswith("got Permission denied, wanted a readable file (sudo, or as a user who may read it)")


def test_a_profile_that_came_with_the_agent_is_read_whatever_the_umask_was_and_ones_own_is_not(tmp_path, monkeypatch):
    profile = tmp_path / "mine.toml"
    profile.write_text((PROFILE_FOLDERS[-1] / "line-sensor.toml").read_text())
    profile.chmod(0o664)
    monkeypatch.setattr("edge_agent.config.PROFILE_FOLDERS", (tmp_path,))
    assert load_profile("mine").name == "line-sensor"
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="chmod go-w"):
        load_profile("mine.toml", tmp_path)


def test_files_stand_beside_the_configuration_wherever_the_agent_is_started(tmp_path, monkeypatch):
    (tmp_path / "ca.crt").write_text("")
    source = '[[sources]]\nname = "r"\nkind = "mqtt"\nurl = "mqtt://h"\ntopic = "t"\nprofile = "json-climate"\n'
    access = 'access = {{ password_file = "ca.crt" }}\n'
    path = written(tmp_path, UPSTREAM + 'ca_file = "ca.crt"\n' + source + access)
    monkeypatch.chdir(tmp_path.parent)
    found = load(path)
    assert found.settings.upstream.ca_file == str(tmp_path / "ca.crt")
    assert found.sources[0].settings.access.password_file == str(tmp_path / "ca.crt")


def test_what_systemd_hands_over_stands_in_its_folder_and_is_not_missed_where_there_is_no_systemd(
    tmp_path, monkeypatch
):
    path = written(tmp_path, UPSTREAM + 'password_file = "$CREDENTIALS_DIRECTORY/broker"\n' + METER)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert load(path).settings.upstream.password_file == "$CREDENTIALS_DIRECTORY/broker"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert 'got "$CREDENTIALS_DIRECTORY/broker", wanted a readable file' in problems(path)[0]
    (tmp_path / "broker").write_text("secret")
    assert load(path).settings.upstream.password_file == str(tmp_path / "broker")


def test_a_site_without_sources_is_refused(tmp_path):
    path = written(tmp_path, "")
    path.write_text("sources = []\n" + path.read_text())
    assert any("agent.toml: sources: got none, wanted at least one" in problem for problem in problems(path))


def test_all_problems_are_listed_and_not_the_first(tmp_path):
    text = (
        METER.replace("function = 4", "function = 9").replace('"float32"', '"flot32"')
        + 'colour = "red"\n[sync]\ninterval = 3\n'
    )
    found = problems(written(tmp_path, text))
    for place in (
        "points.volts.function",
        "points.serial_number.function",
        "points.volts.type",
        "colour",
        "sync.interval",
    ):
        assert any(place in problem for problem in found), place


def test_a_file_that_others_may_write_is_refused(tmp_path):
    path = written(tmp_path, METER)
    path.chmod(0o666)
    assert any("mode 0666" in problem and "chmod" in problem for problem in problems(path))


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert "No such file" in problems(tmp_path / "nowhere.toml")[0]


@pytest.mark.parametrize(
    "change", [lambda t: t.replace("\n", "\r\n"), lambda t: "\ufeff" + t, lambda t: t.replace(" ", "\t")]
)
def test_windows_line_ends_a_byte_order_mark_and_tabs_are_read(tmp_path, change):
    path = written(tmp_path, METER)
    path.write_text(change(path.read_text()), newline="")
    assert load(path).world_id == "w"


def test_one_variable_from_two_sources_is_refused(tmp_path):
    second = METER.replace('name = "meter"', 'name = "other"\nentity = "meter"')
    assert any("meter.volts from meter and from other" in p for p in problems(written(tmp_path, METER + second)))


def test_a_profile_of_ones_own_is_given_by_path(tmp_path):
    text = """
protocol = "modbus"
name = "mine"
title = "Mine"
entity_type = "meter"
provenance = { source = "the label", date = "2026-01-01", verified = true }
points = [{ name = "x", function = 3, address = 0, type = "uint16" }]
examples = [{ function = 3, address = 0, registers = [0], values = { x = 0 } }]
"""
    (tmp_path / "mine.toml").write_text(text)
    (tmp_path / "mine.toml").chmod(0o600)
    source = METER.split("points")[0] + 'profile = "mine.toml"\n'
    assert site(tmp_path, source).sources[0].entity == "w:meter:meter"


def test_a_profile_for_another_protocol_is_refused(tmp_path):
    assert any("a profile for serial" in p for p in problems(written(tmp_path, METER + 'profile = "line-sensor"')))


def test_every_profile_that_came_along_loads():
    assert "eastron-sdm630" in profile_names()
    for name in profile_names():
        assert load_profile(name).name == name


def test_a_wrong_table_hides_nothing_that_is_wrong_in_another(tmp_path):
    text = (
        '[sync]\ninterval = "fast"\n'
        '[upstream]\nurl = "mqtt://h"\nca_file = "nowhere"\n'
        + METER.split("points")[0].replace('"meter"', '"one"')
        + 'profile = "eastron-sdm631"\n'
        + METER.replace('"meter"', '"two"').replace("function = 4", "function = 9")
        + METER.split("points")[0].replace('"meter"', '"three"')
    )
    found = problems(written(tmp_path, text))
    for place in (
        "sync.interval",
        "upstream.ca_file",
        "sources.one.profile",
        "sources.two.points",
        "sources.three: got no points",
    ):
        assert any(place in problem for problem in found), (place, found)


def test_a_wrong_source_is_not_told_again_as_missing(tmp_path):
    text = (
        METER.replace("unit", "unitt").replace('unitt = "V"', 'unitt = "V"')
        + '\n[[relationships]]\nfrom="meter"\nto="meter"\nrelation="is"\n'
    )
    assert not any("relationships" in problem for problem in problems(written(tmp_path, text)))


def test_unverified_facts_never_make_a_point_writable(tmp_path):
    text = """
protocol = "modbus"
name = "mine"
title = "Mine"
entity_type = "meter"
provenance = { source = "a forum", date = "2026-01-01", verified = false }
points = [{ name = "x", function = 3, address = 0, type = "uint16", write = { range = [0, 1] } }]
examples = [{ function = 3, address = 0, registers = [0], values = { x = 0 } }]
"""
    (tmp_path / "mine.toml").write_text(text)
    (tmp_path / "mine.toml").chmod(0o600)
    source = METER.split("points")[0] + 'profile = "mine.toml"\n'
    assert any("writable point x" in problem for problem in problems(written(tmp_path, source)))


def test_the_readmes_own_configuration_is_good_and_its_own_mistakes_are_found(tmp_path):
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    text = re.search(r"```toml\n(.*?)```", readme, re.DOTALL)[1]
    path = tmp_path / "agent.toml"
    path.write_text(text)
    path.chmod(0o600)
    assert [source.name for source in load(path).sources] == ["meter", "tank", "room-boiler-room", "room-attic", "plug"]
    path.write_text(text.replace("sdm630", "sdm631") + '[sync]\ninterval = "fast"\n')
    for problem in problems(path):
        assert problem in readme


def test_a_data_folder_stands_beside_its_configuration(tmp_path, monkeypatch):
    path = tmp_path / "agent.toml"
    path.write_text('[agent]\nworld_id = "w"\ndata_dir = "state"\n' + METER.format(port=1))
    path.chmod(0o600)
    monkeypatch.chdir("/")
    assert load(path).settings.agent.data_dir == str(tmp_path / "state")
