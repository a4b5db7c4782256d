"""Alarms of one entity become one finding: what it says, how grave it is, when it is quiet, and when it ends."""

import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.judge.findings import acknowledge, alarms_of, endings, group, loud
from edge_agent.judge.playbooks import _alarm_causes
from edge_agent.judge.severity import weighed
from edge_agent.model.finding import SEVERITIES, Acknowledgement, Anomaly
from edge_agent.model.world import Entity, Variable, World

AT_MS = 1_700_000_000_000
DAY_MS = 86_400_000
PUMP, METER = "w:pump:pump", "w:meter:meter"
NAMES = ("bearing_temp", "vibration", "speed", "current", "flow")
VARIABLES = {n: Variable(n, PUMP, name, None, "gauge", "pump") for n, name in enumerate(NAMES, 1)} | {
    9: Variable(9, METER, "volts", "V", "gauge", "meter")
}
WORLD = World(
    "w", 1, AT_MS, {e: Entity(e, e.split(":")[1]) for e in (PUMP, METER)}, VARIABLES, {PUMP: {}, METER: {}}, {}
)
WEIGHT = dict.fromkeys(VARIABLES, 0.5)


def alarm(number, kind="shift", severity="medium", since_ms=AT_MS, sentence=None):
    v = VARIABLES[number]
    path = f"{v.entity.rpartition(':')[2]}.{v.name}"
    told = sentence or f"{path} is 3.4 sigma above its baseline since 22:13:20 UTC"
    return Anomaly(
        f"{path}/{kind}", number, kind, severity, told, since_ms, 0.6, 0.9, (f"sensor:{v.source}/{v.name}@1",)
    )


def grouped(*alarms, known=None, at_ms=AT_MS, weight=WEIGHT):
    return group({a.id: a for a in alarms}, known or {}, WORLD, at_ms, weight)


def test_an_alarm_alone_is_the_finding():
    assert grouped(alarm(1)) == {"pump.bearing_temp/shift": alarm(1)}


def test_alarms_of_one_entity_are_one_finding_and_the_others_agree():
    findings = grouped(alarm(1), alarm(2, severity="low", since_ms=AT_MS + 5), alarm(9))
    assert findings.keys() == {"pump.bearing_temp/shift", "meter.volts/shift"}
    found = findings["pump.bearing_temp/shift"]
    assert found.sentence == "pump.bearing_temp is 3.4 sigma above its baseline since 22:13:20 UTC; vibration agrees"
    assert [w.number for w in found.witnesses] == [1, 2]
    assert found.anchors == ("sensor:pump/bearing_temp@1", "sensor:pump/vibration@1")


def test_the_gravest_alarm_leads_and_the_id_stays():
    first = grouped(alarm(1, severity="low"))
    both = grouped(alarm(1, severity="low"), alarm(2, severity="high", since_ms=AT_MS + 9), known=first)
    assert list(both) == list(first)
    (found,) = both.values()
    assert (found.severity, found.since_ms) == ("high", AT_MS)
    assert found.sentence.startswith("pump.vibration")
    assert found.sentence.endswith("bearing_temp agrees")
    (rest,) = grouped(alarm(2, severity="high", since_ms=AT_MS + 9), known=both).values()
    assert (rest.id, rest.since_ms, rest.severity) == (found.id, AT_MS, "high")


def test_it_never_becomes_milder_while_it_lasts():
    high = grouped(alarm(1, severity="high"))
    (found,) = grouped(alarm(1, severity="low"), known=high).values()
    assert found.severity == "high"


def test_most_of_a_devices_variables_failing_at_once_is_the_device():
    (found,) = grouped(*(alarm(n, "missing", "high") for n in (1, 2, 3))).values()
    assert found.kind == "device"
    assert found.sentence == (
        "pump: 3 of the 5 variables that pump gives fail since 22:13:20 UTC: bearing_temp, speed and vibration;"
        " the device, not the process"
    )


def test_few_failing_variables_and_many_that_changed_are_not_the_device():
    few = grouped(*(alarm(n, "missing") for n in (1, 2)))
    changed_ = grouped(*(alarm(n, "shift") for n in (1, 2, 3, 4, 5)))
    assert [f.kind for f in (*few.values(), *changed_.values())] == ["missing", "shift"]


def test_a_process_change_and_a_failing_sensor_of_one_entity_are_two_findings():
    assert sorted(f.kind for f in grouped(alarm(1), alarm(2, "stuck")).values()) == ["shift", "stuck"]


@pytest.mark.parametrize(
    ("severity", "lasted_s", "criticality", "expected"),
    [("medium", 0, 0.5, "medium"), ("medium", 0, 0.8, "high"), ("medium", 0, 0.2, "low"), ("medium", 86_400, 0.5, "high"),
     ("high", 0, 1.0, "high"), ("high", 86_400, 1.0, "critical"), ("critical", 0, 0.0, "high"), ("low", 0, 0.0, "low"),
     ("critical", 0, 0.5, "critical")],
)  # fmt: skip
def test_severity_weighs_duration_and_criticality(severity, lasted_s, criticality, expected):
    assert weighed(severity, lasted_s, criticality) == expected


def test_weighing_does_not_add_up_over_turns_nor_over_a_restart():
    heavy = dict.fromkeys(VARIABLES, 1.0)
    known = {}
    for _ in range(4):
        known = grouped(*(alarms_of(known) or {"a": alarm(1, severity="low")}).values(), known=known, weight=heavy)
    assert [f.severity for f in known.values()] == ["medium"]


def test_what_was_acknowledged_is_quiet_until_it_changes():
    known, _ = acknowledge(grouped(alarm(1)), [Acknowledgement("pump.bearing_temp/shift", "os:anna")])
    same = grouped(alarm(1), known=known)
    assert not loud(same.values())
    for news in ([alarm(1), alarm(2)], [alarm(1, severity="high")], [alarm(1, sentence="it rose on")]):
        assert loud(grouped(*news, known=same).values())
    assert loud(grouped(alarm(1), known=same, at_ms=AT_MS + DAY_MS).values())


def test_a_witness_that_ends_makes_no_noise():
    known, _ = acknowledge(grouped(alarm(1), alarm(2)), [Acknowledgement("pump.bearing_temp/shift", "os:anna")])
    assert not loud(grouped(alarm(1), known=known).values())


def test_an_acknowledgement_is_audited_also_when_nothing_is_open():
    _, entries = acknowledge(
        grouped(alarm(1)), [Acknowledgement("pump.bearing_temp/shift", "os:anna"), Acknowledgement("x", "os:bo")]
    )
    assert [(e.kind, e.facts["finding"], e.facts["by"], e.facts["open"]) for e in entries] == [
        ("acknowledge", "pump.bearing_temp/shift", "os:anna", True),
        ("acknowledge", "x", "os:bo", False),
    ]


def test_the_end_says_from_when_to_when():
    (entry,) = endings(grouped(alarm(1)), {}, AT_MS + 60_000)
    assert (entry.kind, entry.facts["since"], entry.facts["until"]) == ("ended", AT_MS, AT_MS + 60_000)


alarms = st.builds(alarm, st.sampled_from([*range(1, 6), 9]), st.sampled_from(["shift", "limit", "missing", "stuck", "difference"]),
                   st.sampled_from(SEVERITIES), st.integers(AT_MS - DAY_MS, AT_MS))  # fmt: skip


@given(st.lists(st.lists(alarms, max_size=6, unique_by=lambda a: a.id), min_size=1, max_size=4))
def test_no_alarm_is_lost_or_told_twice(turns):
    known = {}
    for at_ms, raised in enumerate(turns, AT_MS):
        found = grouped(*raised, known=known, at_ms=at_ms)
        assert alarms_of(found) == {a.id: a for a in raised}
        assert sum(len(f.witnesses or (f,)) for f in found.values()) == len(raised)
        for key in found.keys() & known.keys():
            assert SEVERITIES.index(found[key].severity) >= SEVERITIES.index(known[key].severity)
        known = found


def test_the_order_of_alarms_does_not_matter():
    raised = [alarm(n, severity=random.Random(n).choice(SEVERITIES), since_ms=AT_MS + n) for n in VARIABLES]
    mixed = random.Random(3).sample(raised, len(raised))
    assert grouped(*raised) == grouped(*mixed)


@pytest.mark.parametrize(
    ("variable", "expected"), [("pump.bearing_temp", []), ("pump.vibration", ["pump.vibration/limit"])]
)
def test_a_playbook_is_triggered_by_an_alarm_and_never_by_a_mixture_of_two(variable, expected):
    (found,) = grouped(alarm(1, "shift", "low"), alarm(2, "limit", "high", AT_MS + 1)).values()
    assert (found.number, found.kind) == (1, "limit")
    book = SimpleNamespace(on=SimpleNamespace(variable=variable, anomaly="limit", severity="low"))
    causes = _alarm_causes(book, WORLD, found)
    assert [cause.occurrence.rpartition("-")[0] for cause in causes] == expected
