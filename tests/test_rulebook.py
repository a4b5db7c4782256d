"""What is wrong with playbooks, policy and approvers is said by `check`, with its place; a good one is told in words."""

import pytest
from acting import KEYS, config
from sites import written

from edge_agent.config import examine
from edge_agent.judge.rulebook import rulebook_in_words

ANNA = KEYS["anna"].public.to_text("anna").decode().strip()
WRONG = [
    ('point = "meter.relay", value', 'point = "meter.relais", value', 'did you mean "meter.relay"?'),
    ('point = "meter.relay", value = true', 'point = "meter.volts", value = 1.0', "does not make writable"),
    ('point = "meter.relay", value = true', 'point = "meter.level", value = 600.0', "0 to 500, as policy says"),
    ('point = "meter.relay", value = true', 'point = "meter.level", value = 6000.0', "0 to 1000"),
    ('state = "hot" }}\nsteps', 'state = "hot", risk_above = 0.5 }}\nsteps', "none of the three, or several"),
    ('on = {{ entity = "meter", state = "hot" }}', 'on = {{ anomaly = "any", variable = "meter.volt" }}', "meter.volts"),
    ('on = {{ entity = "meter"', 'on = {{ entity = "metre"', 'did you mean "meter"?'),
    ("expect = false }}", 'expect = false, hold = "5s" }}', "takes nothing back by itself"),
    ('deadline = "2s"', 'deadline = "10ms"', "twice what settles"),
    ('deadline = "2s"', 'deadline = "2s"\ncriteria = [{{ variable = "meter.volts", is = "below", value = 9.0 }}]', None),
    ('unit = "V", range', 'every = 30, unit = "V", range', None),
    ("risk = 0.2", "risk = 2.0", "playbooks.open-relay.risk"),
    ("range = [0, 1]\nmin", "range = [0, 2]\nmin", "the profile's own"),
    ('min_interval = "1s"\ndaily_writes = 10\n[[policy.points]]', 'min_interval = "1ms"\n[[policy.points]]', "at least 1 s"),
    ("daily_writes = 10\n[[policy.points]]", "daily_writes = 1\n[[policy.points]]", "a write and its inverse"),
    ('request_ttl = "60s"', 'request_ttl = "1s"', "at least 10 s to answer in"),
    (ANNA, "ssh-ed25519 AAAA", "approvers.anna.key"),
    (ANNA, "ssh-rsa AAAAB3NzaC1yc2E", "approvers.anna.key"),
    (ANNA, KEYS["bert"].public.to_text("x").decode().strip(), "a key of its own for each approver"),
    ('name = "anna"\n', 'name = "anna"\nrevoked = true\n', None),
    ('steps = [{{ point = "meter.relay"', 'on_failure = "inverse"\nsteps = [{{ point = "meter.relay"', "playbooks.open-relay.inverse"),
]  # fmt: skip


@pytest.mark.parametrize(("was", "now", "told"), WRONG)
def test_what_is_wrong_is_said_before_anything_runs(tmp_path, was, now, told):
    text = config()
    assert was in text
    found = examine(written(tmp_path, text.replace(was, now, 1)))
    lines = "\n".join(map(str, found.problems))
    if told is None:
        assert found.site is not None, lines
    else:
        assert told in lines, lines
        assert found.site is None


def test_criteria_that_are_not_read_again_in_time_are_refused(tmp_path):
    criteria = 'criteria = [{{ variable = "meter.volts", is = "below", value = 9.0 }}]\n'
    text = config(book=criteria).replace('unit = "V", range', 'every = 30, unit = "V", range')
    told = "\n".join(map(str, examine(written(tmp_path, text)).problems))
    assert "2 s, wanted more than the 3 s after which meter.volts is read" in told


def test_a_playbook_that_nobody_may_approve_is_refused(tmp_path):
    found = examine(written(tmp_path, config(risk=0.9).split('[[approvers]]\nname = "bert"')[0]))
    assert "1 who may approve it" in "\n".join(map(str, found.problems))


def test_a_key_of_small_order_is_refused(tmp_path):
    import base64

    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + b"\x01" + bytes(31)
    line = "ssh-ed25519 " + base64.b64encode(blob).decode()
    found = examine(written(tmp_path, config().replace(ANNA, line)))
    assert "small order" in "\n".join(map(str, found.problems))


def test_each_playbook_is_told_from_its_trigger_to_its_end(tmp_path):
    lock = '[[policy.interlocks]]\nvariable = "meter.level"\nis = "below"\nvalue = 50.0\nreason = "the tank is full"'
    site = examine(written(tmp_path, config(policy=lock))).site
    told = "\n".join(rulebook_in_words(site.settings))
    for words in (
        "when meter is hot, ask to open the relay", "1 of anna, bert must approve within 60 s",
        "then meter.relay = True, if False stands there", "within 2 s", "what stood before is written and read back",
        "the tank is full",
    ):  # fmt: skip
        assert words in told


PROFILE = """
name = "box"
title = "A box of our own"
protocol = "modbus"
entity_type = "box"
examples = []
[provenance]
source = "this test"
date = "2026-11-25"
verified = {verified}
[[points]]
name = "mode"
function = 3
address = 11
type = "uint16"
kind = "state"
drift = false
write = {{ range = [0, 1] }}
"""
BOX = """
[[sources]]
name = "box"
kind = "modbus"
url = "tcp://127.0.0.1:502"
profile = "box.toml"
[policy]
[[policy.points]]
point = "box.mode"
range = [0, 1]
"""


@pytest.mark.parametrize("verified", [True, False])
def test_without_verified_facts_nothing_of_a_profile_is_writable(tmp_path, verified):
    (tmp_path / "box.toml").write_text(PROFILE.format(verified=str(verified).lower()))
    (tmp_path / "box.toml").chmod(0o644)
    found = examine(written(tmp_path, BOX))
    told = "\n".join(map(str, found.problems))
    if verified:
        assert found.site is not None, told
    else:
        assert "policy.points.box.mode: got a point that its profile does not make writable" in told
        assert "verified = true in the [provenance]" in told
