"""The canonical world state and events hold what the schemas promise, for every world that can be.

The project's own schemas stand in reference/. The originals, which only look like JSON Schema, are read where
they are at hand, and translated here.
"""

import itertools
import json
from pathlib import Path
from typing import get_args

import jsonschema
import msgspec
import pytest
import yaml
from canonical_examples import ADVICE, AFTER, BEFORE, RECORD, REFERENCE, RULE, examples, renewed, stretch_of
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import KEY, values, worlds

from edge_agent.judge.summarize import summarize
from edge_agent.model.action import Action, Checkpoint, Outcome, Plan, Request, Result, Ruling, Stage, Step, Write
from edge_agent.model.assessment import Assessment
from edge_agent.model.checked import plain
from edge_agent.model.finding import Anomaly, Risk
from edge_agent.model.reading import GOOD, bad, uncertain
from edge_agent.model.record import ZERO_DIGEST, Entry, Record, Report
from edge_agent.model.site import AgentSettings, ConditionSettings, Settings, Site, TransitionSettings
from edge_agent.model.world import Delta, Entity, State, Variable, World, replace_world
from edge_agent.seal.canonical import unpack
from edge_agent.seal.digest import state_digest
from edge_agent.seal.records import seal_record, unseal_record
from edge_agent.twin.alias import merge
from edge_agent.twin.diff import UNREAD, apply, diff
from edge_agent.uplink.formats.event import events
from edge_agent.uplink.formats.world_state import Retention, world_state

ORIGINALS = Path(__file__).parent.parent.parent.parent / "shared" / "seed_schemas"
at_hand = pytest.mark.skipif(not ORIGINALS.is_dir(), reason="the originals are not beside this repository")

AT_MS = 1_764_000_000_000


def schema(name):
    return json.loads((REFERENCE / f"{name}.schema.json").read_text("utf-8"))


def validator(of):
    jsonschema.Draft202012Validator.check_schema(of)
    return jsonschema.Draft202012Validator(of)


def translated(node):
    """Turn the originals' dialect into JSON Schema: `nullable`, and references into `types`."""
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        found = {"$ref": node["$ref"].replace("#/types/", "#/$defs/")}
    else:
        found = {key: translated(value) for key, value in node.items() if key not in {"nullable", "properties"}}
        if "properties" in node:
            found["properties"] = {key: translated(value) for key, value in node["properties"].items()}
    return {"anyOf": [found, {"type": "null"}]} if node.get("nullable") else found


def original(name, root):
    text = yaml.safe_load((ORIGINALS / f"{name}.yaml").read_text("utf-8"))
    return validator(translated(text[root]) | {"$defs": {key: translated(each) for key, each in text["types"].items()}})


WORLD_STATE, EVENT = validator(schema("world_state")), validator(schema("event"))
if ORIGINALS.is_dir():
    ORIGINAL_WORLD_STATE = original("world_state_schema", "world_state")
    ORIGINAL_EVENT = original("event_schema", "event")


def exported(world, **facts):
    """Return the canonical form as it leaves: through JSON, which takes no NaN."""
    made = world_state(world, state_digest(world), None, **facts)
    return json.loads(json.dumps(made, allow_nan=False))


def told(record, before, after):
    return json.loads(json.dumps(list(events(stretch_of(record), before, after)), allow_nan=False))


def record_of(before, after, audit=()):
    after = replace_world(after, version=before.version + 1)
    delta = diff(before, after)
    record = Record(
        "w", after.version, ZERO_DIGEST, bytes(16), after.at_ms, 5, False, delta, audit, state_digest(after)
    )
    return record, after


def small(state, unit="degC", **fields):
    """Return a world of one entity with one variable."""
    entity = Entity("w:pump:p1", "pump", **fields)
    variables = {1: Variable(1, entity.id, "t", unit, "gauge", "meter")}
    return World("w", 3, AT_MS, {entity.id: entity}, variables, {entity.id: {1: state}}, {})


names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,6}", fullmatch=True)
texts = st.text(max_size=6)
known = values.filter(lambda value: value is not None)
facts = st.dictionaries(names, values, max_size=3)
entries = st.builds(
    Entry, st.sampled_from(["start", "turn", "plan", "transition", "identity", "drop", "action", "new"]), facts
)
conditions = st.builds(
    ConditionSettings,
    variable=names,
    is_=st.sampled_from(get_args(ConditionSettings.__annotations__["is_"])),
    value=st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | texts,
    lasting=st.floats(0, 1e6),
)
rules = st.lists(st.builds(TransitionSettings, entity=names, src=names, dst=names, when=conditions), max_size=2)
plans = st.builds(
    Plan,
    names,
    texts,
    st.lists(st.builds(Step, names, names, known, known), max_size=2).map(tuple),
    st.just(("record:3",)),
)
rulings = st.lists(st.builds(Ruling, plans, st.sampled_from(["recommend", "permit", "refuse"]), texts), max_size=2)


@settings(max_examples=60)
@given(worlds(), rules, rulings, st.booleans())
def test_every_world_has_a_canonical_form_that_holds_to_the_schemas(world, rules, rulings, site_known):
    made = exported(
        world, transitions=rules, rulings=rulings, retention=Retention(1 << 28, 8) if site_known else None
    )  # fmt: skip
    WORLD_STATE.validate(made)
    if ORIGINALS.is_dir():
        ORIGINAL_WORLD_STATE.validate(made)


@settings(max_examples=60)
@given(worlds(), worlds(), st.lists(entries, max_size=3).map(tuple))
def test_every_record_has_events_that_hold_to_the_schemas_and_bear_ids_of_their_own(before, after, audit):
    record, after = record_of(before, after, audit)
    made = told(record, before, after)
    for event in made:
        EVENT.validate(event)
        if ORIGINALS.is_dir():
            ORIGINAL_EVENT.validate(event)
    ids = [event["event_id"] for event in made]
    assert len(set(ids)) == len(ids) == len(record.delta.states) + len(record.delta.findings) + len(audit)
    assert made == told(record, before, after)


@at_hand
def test_the_worked_example_holds_to_the_originals():
    ORIGINAL_WORLD_STATE.validate(exported(AFTER, transitions=(RULE,), rulings=(ADVICE,)))
    for event in told(RECORD, BEFORE, AFTER):
        ORIGINAL_EVENT.validate(event)


@at_hand
def test_the_translation_of_the_originals_still_refuses():
    made = exported(AFTER)
    made["state_variables"][0]["value"]["value"] = None
    assert not ORIGINAL_WORLD_STATE.is_valid(made)
    made = exported(AFTER)
    del made["entities"][0]["provenance"][0]["anchors"]
    assert not ORIGINAL_WORLD_STATE.is_valid(made)


@pytest.mark.parametrize("value", [0, 0.0, -0.0, False, "", True, 2**53, 1e300, "a\x00b", "Größe ℃"])
@pytest.mark.parametrize("quality", [GOOD, uncertain("range"), bad("timeout")])
def test_every_value_that_was_read_stands_as_it_was_read(value, quality):
    made = exported(small(State(value, AT_MS - 5, quality)))
    found = made["state_variables"][0]["value"]["value"]
    assert (found, type(found)) == (value, type(value))
    assert made["observations"][0]["payload"]["value"] == value
    assert made["state_variables"][0]["timestamp"] == made["observations"][0]["timestamp"]


@pytest.mark.parametrize(("state", "reason"), [(UNREAD, "unknown"), (State(None, 0, bad("link")), "link")])
def test_what_was_never_read_is_missing_and_not_observed_and_not_dated_1970(state, reason):
    made = exported(small(state))
    variable = made["state_variables"][0]
    assert variable["value"]["value"] == {"missing": True, "reason": reason}
    assert variable["value"]["unit"] == "degC"
    assert variable["value"]["uncertainty"]["confidence"] == 0
    assert variable["timestamp"] == made["meta"]["as_of"]
    assert made["observations"] == []
    assert made["indexes"]["by_time"] == {}


def test_confidence_falls_with_quality():
    states = [State(1.0, AT_MS, quality) for quality in (GOOD, uncertain("range"), bad("timeout"))]
    made = [exported(small(state))["state_variables"][0]["value"]["uncertainty"] for state in (*states, UNREAD)]
    assert [each["confidence"] for each in made] == [0.95, 0.65, 0.25, 0.0]
    assert [each["type"] for each in made] == ["aleatoric", "mixed", "epistemic", "epistemic"]
    assert made[2]["notes"] == "bad:timeout: the device did not answer in time"


def test_labels_of_any_script_stay_as_they_are():
    made = exported(small(UNREAD, labels=("泵", "насос", "مضخة"), aliases=("P-1",)))
    assert made["entities"][0]["labels"] == ["泵", "насос", "مضخة"]


def test_an_entity_that_is_gone_is_referred_to_without_a_type():
    made = exported(small(UNREAD, relations=(("feeds", "w:tank:away"),)))
    assert made["relationships"][0]["dst"] == {"entity_id": "w:tank:away", "alias": "away"}


def test_a_device_that_named_itself_is_surer_than_one_that_was_configured():
    itself, configured = (
        exported(small(UNREAD, attributes=a))["entities"][0]["uncertainty"]
        for a in ({"serial": "4711"}, {"profile": "x"})
    )
    assert itself["confidence"] > configured["confidence"]


@settings(max_examples=30)
@given(worlds())
def test_every_pointer_of_the_indexes_leads_to_what_it_says(world):
    made = exported(world)

    def at(pointer):
        _, part, place = pointer.split("/")
        return made[part][int(place)]

    for entity, pointers in made["indexes"]["by_entity"].items():
        for found in map(at, pointers):
            assert entity in (
                found.get("id"),
                found.get("src", {}).get("entity_id"),
                found.get("subject", {}).get("entity_id"),
            )
    for name, pointers in made["indexes"]["by_variable"].items():
        assert {at(pointer)["name"] for pointer in pointers} == {name}
    for hour, pointers in made["indexes"]["by_time"].items():
        assert {at(pointer)["timestamp"][:13] for pointer in pointers} == {hour[:13]}
    assert sum(map(len, made["indexes"]["by_variable"].values())) == len(made["state_variables"])
    assert sum(map(len, made["indexes"]["by_time"].values())) == len(made["observations"])


@settings(max_examples=30)
@given(worlds(), worlds())
def test_an_observation_embeds_the_canonical_fields_of_its_event(before, after):
    record, after = record_of(before, after)
    observed = {each["payload"]["number"]: each["payload"] for each in exported(after)["observations"]}
    for event in told(record, before, after):
        if event["event_type"] == "observation.changed" and event["canonical"]["value"] is not None:
            assert observed[event["canonical"]["number"]] == event["canonical"]


@settings(max_examples=30)
@given(worlds(), worlds(), st.lists(entries, max_size=2).map(tuple))
def test_raw_is_what_stands_in_the_sealed_bytes(before, after, audit):
    record, after = record_of(before, after, audit)
    sealed = seal_record(record, KEY)
    payload = unpack(unpack(sealed.envelope)["payload"])
    stored, _ = unseal_record(sealed.envelope, KEY.public)
    made = told(stored, before, apply(before, stored.delta, stored.seq, stored.at_ms))
    assert made == told(record, before, after)
    rows = {
        number: (group[0], group[1]) for group in payload["delta"].get("states", []) for number in numbers(group[2])
    }
    found = {e["raw"]["number"]: (e["raw"]["age"], e["raw"]["quality"]) for e in made if "number" in e["raw"]}
    assert found == rows
    findings = {e["raw"]["id"]: e["raw"]["row"] for e in made if "row" in e["raw"]}
    assert findings == payload["delta"].get("findings", {})
    assert [[e["raw"]["kind"], e["raw"]["facts"]] for e in made if "facts" in e["raw"]] == payload["audit"]


def numbers(gaps):
    return [sum(gaps[: i + 1]) for i in range(len(gaps))]


def only(before, after, audit=()):
    record, after = record_of(before, after, audit)
    (event,) = told(record, before, after)
    return event


def test_a_value_that_turned_bad_keeps_its_time_and_the_turning_has_its_own():
    before = small(State(1.0, AT_MS - 60_000, GOOD))
    event = only(before, small(State(1.0, AT_MS - 60_000, bad("timeout"))))
    assert event["timestamp"] == "2025-11-24T16:00:00.000Z"
    assert event["canonical"]["at"] == "2025-11-24T15:59:00.000Z"
    assert event["severity"] == "error"


@pytest.mark.parametrize(
    ("quality", "severity"),
    [(GOOD, "info"), (uncertain("range"), "warn"), (bad("nan"), "error"), (bad("unknown"), "info")],
)
def test_severity_of_a_reading_follows_its_quality(quality, severity):
    assert only(small(State(1.0, AT_MS, GOOD)), small(State(2.0, AT_MS, quality)))["severity"] == severity


@pytest.mark.parametrize(("value", "metric"), [(0, True), (0.0, True), (False, False), ("", False), (None, False)])
def test_only_a_number_is_a_metric(value, metric):
    event = only(small(State(5, AT_MS, GOOD)), small(State(value, AT_MS, bad("link") if value is None else GOOD)))
    assert ("metric" in event) == metric
    assert event["canonical"]["value"] == value


def test_a_wall_clock_that_was_not_set_is_told():
    assert "clock:unsynced" in only(small(State(5, AT_MS, GOOD)), small(State(6, AT_MS, GOOD)))["tags"]


@pytest.mark.parametrize(
    ("entry", "severity"),
    [
        (Entry("turn", {"status": "synced"}), "info"),
        (Entry("turn", {"status": "drift_detected"}), "warn"),
        (Entry("plan", {"verdict": "refuse"}), "warn"),
        (Entry("plan", {"verdict": "recommend"}), "info"),
        (Entry("identity", {"swapped": False}), "info"),
        (Entry("identity", {"swapped": True}), "warn"),
        (Entry("drop", {"reason": "unknown point", "count": 3}), "error"),
        (Entry("rebaseline", {"reason": "x"}), "error"),
        (Entry("action", {"to": "verified"}), "info"),
        (Entry("action", {"to": "unknown"}), "critical"),
        (Entry("action", {"to": "rolled_back"}), "error"),
        (Entry("action", {}), "info"),
        (Entry("never heard of", {}), "info"),
    ],
)
def test_severity_of_an_audit_entry_follows_its_deciding_fact(entry, severity):
    world = small(UNREAD)
    event = only(world, world, (entry,))
    assert (event["severity"], event["event_type"]) == (severity, f"audit.{entry.kind}")


def test_a_finding_is_opened_then_updated_then_closed():
    still = small(State(1.0, AT_MS, GOOD))
    first, second = (
        Anomaly("p1.t/shift", 1, "shift", s, "it rose", AT_MS, 0.5, 0.9, ()) for s in ("medium", "critical")
    )
    worlds = [
        still,
        replace_world(still, findings={first.id: first}),
        replace_world(still, findings={second.id: second}),
        still,
    ]
    made = [only(*pair) for pair in itertools.pairwise(worlds)]
    assert [(e["event_type"], e["severity"]) for e in made] == [
        ("finding.opened", "warn"), ("finding.updated", "critical"), ("finding.closed", "info"),
    ]  # fmt: skip
    assert made[2]["canonical"]["finding"] == "p1.t/shift"
    assert made[2]["raw"] == {"id": "p1.t/shift", "row": None}


def test_a_finding_that_nobody_saw_open_is_not_told_closed():
    world = small(UNREAD)
    record, after = record_of(world, world)
    record = msgspec.structs.replace(record, delta=Delta({}, {}, {}, {"p1.t/shift": None}))
    assert told(record, world, after) == []


def test_a_refused_plan_is_no_action():
    plan = Plan("p", "close the valve", (Step("valve", "open", value=False, expect=True),), ())
    made = [exported(AFTER, rulings=(Ruling(plan, verdict, "because"),))["actions"] for verdict in ("permit", "refuse")]
    assert [each["changes"] for each in made[0]] == [["valve.open: true -> false"]]
    assert made[1] == []


def test_own_schemas_refuse_a_field_nobody_described():
    made = exported(AFTER)
    assert WORLD_STATE.is_valid(made)
    made["meta"]["more"] = 1
    assert not WORLD_STATE.is_valid(made)
    event = told(RECORD, BEFORE, AFTER)[0]
    assert EVENT.is_valid(event)
    event["canonical"]["more"] = 1
    assert not EVENT.is_valid(event)


def test_the_report_schema_has_exactly_the_fields_of_the_report():
    found = schema("report")
    validator(found)
    fields = [field.name for field in msgspec.structs.fields(Report)]
    assert found["required"] == list(found["properties"]) == fields
    assert found["properties"]["status"]["enum"] == list(get_args(Report.__annotations__["status"]))
    nested = [each for each in found["properties"].values() if each.get("type") == "object"]
    assert all(
        each["required"] == list(each["properties"]) and each["additionalProperties"] is False for each in nested
    )


SITE = Site(Settings(agent=AgentSettings(world_id="w", data_dir="/var/lib/edge-agent"), sources=()), (), "00")
WRITE = Plan("p", "close the valve", (Step("valve", "open", value=False, expect=True),), ("record:2",))
REQUEST = Request("w", "k", bytes(16), bytes(32), b"", bytes(32), 2, bytes(32), b"", b"", 1, "operator", 60)
DONE = Action(
    bytes(16).hex(), "verified", REQUEST, WRITE, bytes(16), 5, AT_MS, "every target reads back", (("anna", "0a"),),
    Checkpoint(2, bytes(32)), (True,), {}, (False,), (Write("valve", "open", AT_MS, bytes(16), 5),),
)  # fmt: skip


@pytest.mark.parametrize("stage", get_args(Stage))
def test_every_stage_of_an_action_holds_to_the_world_schema(stage):
    action = msgspec.structs.replace(DONE, stage=stage)
    made = exported(replace_world(AFTER, actions={action.id: action}), rulings=(Ruling(WRITE, "wait", "because"),))
    WORLD_STATE.validate(made)
    (told,) = made["actions"]
    assert told["actor"] == "human:anna"
    assert told["verification"][0].startswith(stage)
    assert told["changes"] == ["valve.open: true -> false"]


@pytest.mark.parametrize(
    "outcomes",
    [
        (),
        *((Outcome(DONE, result, "because"),) for result in get_args(Result)),
        (Outcome(msgspec.structs.replace(DONE, checkpoint=None), "failed", "x"),),
    ],
)
@pytest.mark.parametrize("findings", [{}, AFTER.findings])
def test_every_report_holds_to_its_schema(findings, outcomes):
    world = replace_world(small(State(0, AT_MS, GOOD)), findings=findings)
    risk = Risk(0.25, ("pump.bearing_temp drifts",), ("sensor:pump/bearing_temp",))
    rulings = (Ruling(WRITE, "permit", "within policy"),) if outcomes else ()
    found = Assessment(world, Delta({}, {}, {}, {}), (), {}, {}, 0, 0, risk, risk, rulings, ("sensor:meter/*@5",))
    report = summarize(found, outcomes, world, bytes(32), bytes(32), SITE, (1.5, ("a finding opens",)))
    validator(schema("report")).validate(json.loads(json.dumps(plain(report), allow_nan=False)))


@pytest.mark.parametrize("page", ["world-state.md", "events.md"])
def test_the_examples_in_the_reference_are_what_the_code_makes(page):
    text = (REFERENCE / page).read_text("utf-8")
    made, names = renewed(text)
    assert names, f"{page} has no example"
    assert set(names) <= examples().keys()
    assert text == made, f"reference/{page}: run python tests/uplink/canonical_examples.py"


def test_every_example_stands_on_a_page():
    pages = "".join((REFERENCE / page).read_text("utf-8") for page in ("world-state.md", "events.md"))
    assert set(renewed(pages)[1]) == examples().keys()


def test_entities_that_are_one_leave_as_one():
    kept = next(e for e in AFTER.entities.values() if e.type == "pump")
    twin = "boiler-house:pump:zz"
    other = Entity(twin, "pump", ("spare",), ("source:zz",), {"model": "ALPHA", "serial": kept.attributes["serial"]})
    world = merge(
        replace_world(AFTER, entities={**AFTER.entities, twin: other}, states={**AFTER.states, twin: {}}), kept.id, twin
    )
    made = exported(world)
    WORLD_STATE.validate(made)
    (whole,) = (e for e in made["entities"] if e["id"] == kept.id)
    assert twin not in {e["id"] for e in made["entities"]}
    assert whole["aliases"] == [*kept.aliases, twin, "source:zz"]
    assert whole["attributes"] == {"model": "ALPHA"} | kept.attributes
    assert "same_as" not in {edge["relation"] for edge in made["relationships"]}
