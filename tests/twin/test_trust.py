"""Whom to believe: the reference's weights, decay, authorities and tie-breakers, through the whole loop."""

from pathlib import Path

import pytest
from sites import site, written
from test_sync import Bench
from worlds import KEY

from edge_agent.cli.main import main
from edge_agent.judge.findings import ALONE
from edge_agent.model.errors import ConfigError
from edge_agent.model.reading import Anchor, Instant, Reading
from edge_agent.model.site import TRUST_WEIGHTS
from edge_agent.seal.records import unseal_record
from edge_agent.twin.baseline import baseline
from edge_agent.twin.diff import diff
from edge_agent.twin.trust import KIND, stands_for

MODEL = Path(__file__).resolve().parents[3] / "shared" / "seed_schemas" / "authority_trust_model.yaml"
FLOOR = "w:zone:floor"
TWO = """
[[entities]]
id = "floor"
type = "zone"
state = "calm"
[[transitions]]
entity = "floor"
from = "calm"
to = "hot"
when = {{ variable = "floor.temp", is = "above", value = 30 }}
[[sources]]
name = "bms"
kind = "modbus"
url = "tcp://127.0.0.1"
trust = "primary_api"
entity = "floor"
points = [ {{ name = "temp", function = 4, address = 0, type = "float32", unit = "degC" }} ]
[[sources]]
name = "sensor"
kind = "modbus"
url = "tcp://127.0.0.1"
unit = 2
entity = "floor"
points = [ {{ name = "temp", function = 4, address = 0, type = "float32", unit = "degC" }} ]
"""
EQUAL = TWO.replace('trust = "primary_api"\n', "")


class Floor(Bench):
    """Two sources that give one temperature."""

    def hear(self, seconds=1, **values):
        at = Instant(self.now.at_ms + 500, self.now.mono_ns + 500, True)
        readings = [
            Reading(Anchor(source, "fc4", at), "temp", value, "good" if value is not None else "bad:timeout")
            for source, value in values.items()
        ]
        for _ in range(seconds - 1):
            self.turn()
        return self.turn(*readings)

    def entries(self, kind):
        records = [unseal_record(sealed.envelope, KEY.public)[0] for sealed in self.ledger.sealed]
        return [entry for record in records for entry in record.audit if entry.kind == kind]

    @property
    def believed(self):
        number = next(v.number for v in self.standing.world.variables.values() if v.name == "temp")
        return self.standing.world.variables[stands_for(self.standing.world, number)].source


@pytest.mark.skipif(not MODEL.exists(), reason="the reference is not at hand")
def test_the_weights_are_those_of_the_reference():
    for kind, weight in TRUST_WEIGHTS.items():
        assert f"    {kind}: {weight}\n" in MODEL.read_text()


def test_each_source_has_a_variable_of_its_own_and_the_most_trusted_has_the_name(tmp_path):
    world = Floor(tmp_path, TWO).standing.world
    assert {v.source: v.name for v in world.variables.values()} == {"bms": "temp@bms", "sensor": "temp"}


def test_the_more_trusted_source_is_believed_and_the_other_is_kept_as_evidence(tmp_path):
    floor = Floor(tmp_path, TWO)
    for _ in range(12):
        report = floor.hear(bms=31.0, sensor=22.0)
    assert report.status == "synced", "the model decided: nobody is called"
    (entry,) = floor.entries("trust")
    assert (entry.facts["believed"], entry.facts["against"], entry.facts["against_value"]) == ("sensor", "bms", 31.0)
    assert (entry.facts["believed_score"], entry.facts["against_score"]) == (0.95, 0.88)
    assert entry.facts["against_evidence"].startswith("sensor:bms/temp@")
    states = floor.standing.world.states[FLOOR].values()
    assert sorted(state.value for state in states) == [22.0, 31.0]
    assert floor.standing.world.entities[FLOOR].state == "calm", "what is not believed moves nothing"


def test_a_source_that_fails_hands_over_and_takes_back(tmp_path):
    floor = Floor(tmp_path, TWO)
    floor.hear(bms=31.0, sensor=22.0)
    assert floor.believed == "sensor"
    floor.hear(sensor=None)
    assert floor.believed == "bms"
    assert floor.standing.world.entities[FLOOR].attributes == {"temp from": "bms"}
    floor.hear()
    assert floor.standing.world.entities[FLOOR].state == "hot", "rules follow whom one believes"
    floor.hear(sensor=22.0)
    assert (floor.believed, floor.standing.world.entities[FLOOR].attributes) == ("sensor", {})


def test_sources_that_agree_or_disagree_for_a_moment_are_no_dispute(tmp_path):
    floor = Floor(tmp_path, EQUAL)
    floor.hear(bms=22.0, sensor=22.3)
    floor.hear(seconds=20)
    floor.hear(bms=25.0)
    floor.hear(seconds=5)
    floor.hear(sensor=25.0)
    floor.hear(seconds=20)
    assert not floor.standing.world.findings
    assert not floor.entries("trust")


def test_what_the_model_cannot_decide_calls_a_person(tmp_path):
    floor = Floor(tmp_path, EQUAL)
    floor.hear(bms=25.3, sensor=22.1)
    report = floor.hear(seconds=12)
    (trigger,) = report.drift_report["triggers"]
    assert trigger.startswith("floor.temp: bms says 25.3 degC and sensor says 22.1 degC since ")
    assert trigger.endswith("; neither is more to be trusted, a person must decide")
    assert KIND in ALONE
    assert {a.split("@")[0] for a in report.drift_report["evidence_anchors"]} == {
        "sensor:bms/temp",
        "sensor:sensor/temp",
    }
    assert floor.hear(bms=26.0).drift_report["triggers"] == [trigger], "it is said once"
    assert floor.hear(bms=22.1).drift_report["triggers"] == []
    assert [e.facts["finding"] for e in floor.entries("ended")] == ["floor.temp/conflict"]


def test_an_authority_for_the_field_breaks_the_tie_and_outweighs(tmp_path):
    fields = '[[trust.fields]]\nfield = "temp"\nauthorities = ["primary_api", "hardware_sensor"]\n'
    floor = Floor(tmp_path, TWO + fields)
    for _ in range(12):
        floor.hear(bms=31.0, sensor=22.0)
    assert floor.believed == "bms"
    assert floor.standing.world.entities[FLOOR].state == "hot"


def test_trust_in_what_nothing_confirms_decays_to_its_floor(tmp_path):
    floor = Floor(tmp_path, TWO.replace('trust = "primary_api"', 'trust = "human_note"'))
    floor.hear(bms=31.0, sensor=22.0)
    floor.hear(sensor=None, bms=None)
    assert floor.believed == "sensor", "both are silent: the better source's last value"
    floor.now = Instant(floor.now.at_ms + 14 * 86_400_000, floor.now.mono_ns + 14 * 86_400 * 10**9, True)
    floor.hear(bms=31.0)
    floor.hear(bms=None)
    assert floor.believed == "bms", "an old reading of the better one weighs less than a fresh one of the other"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [(TWO.replace('trust = "primary_api"\nentity = "floor"', 'trust = "primary_api"').replace('name = "bms"', 'name = "floor"'),
      "or `entity` in both"),
     (TWO.replace('unit = "degC" }} ]\n', 'unit = "K" }} ]\n', 1), "one unit and kind"),
     (TWO.replace('"primary_api"', '"hearsay"'), '"primary_api"')],
)  # fmt: skip
def test_two_sources_for_one_variable_must_be_meant(tmp_path, text, wanted):
    with pytest.raises(ConfigError, match=wanted):
        site(tmp_path, text)


def test_a_restart_changes_no_names_and_nobody_is_believed_anew(tmp_path):
    floor = Floor(tmp_path, TWO)
    floor.hear(bms=31.0, sensor=None)
    assert not diff(floor.standing.world, baseline(floor.site, floor.standing.world))


def test_whoever_is_configured_no_longer_is_no_longer_believed(tmp_path):
    floor = Floor(tmp_path, TWO)
    floor.hear(bms=31.0, sensor=None)
    alone = site(tmp_path, TWO.replace('name = "bms"', 'name = "dcs"'))
    assert baseline(alone, floor.standing.world).entities[FLOOR].attributes == {}


def test_entities_that_are_one_have_one_variable_between_them(tmp_path):
    text = (
        TWO.replace('unit = 2\nentity = "floor"', "unit = 2")
        + '[[relationships]]\nfrom = "sensor"\nrelation = "same_as"\nto = "floor"\n'
    )
    floor = Floor(tmp_path, text)
    assert [v.name for v in floor.standing.world.variables.values()] == ["temp", "temp"]
    for _ in range(12):
        floor.hear(bms=31.0, sensor=22.0)
    assert floor.believed == "sensor"
    assert floor.standing.world.entities[FLOOR].state == "calm"
    assert [entry.facts["believed"] for entry in floor.entries("trust")] == ["sensor"]


def test_check_says_whom_the_name_means(tmp_path, capsys):
    assert main(["check", str(written(tmp_path, TWO))]) == 0
    told = capsys.readouterr().out
    assert (
        "floor.temp is given by sensor (hardware_sensor 0.95), bms (primary_api 0.88): the trust model decides" in told
    )
