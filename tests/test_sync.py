"""The loop: the order of its steps, its report, and the gates that nothing may pass."""

import ast
import asyncio
import inspect
import json
from pathlib import Path

import pytest
from sites import METER, site
from worlds import KEY

import edge_agent.sync as loop
from edge_agent.desk import Post
from edge_agent.judge.watch import Watch
from edge_agent.model.checked import plain
from edge_agent.model.errors import StoreError
from edge_agent.model.finding import Acknowledgement
from edge_agent.model.reading import Anchor, Instant, Reading
from edge_agent.model.record import ZERO_DIGEST, Entry
from edge_agent.seal.digest import entity_digests, state_digest
from edge_agent.seal.records import unseal_record, unseal_snapshot
from edge_agent.twin.baseline import baseline, empty_world
from edge_agent.twin.diff import apply, diff

STEPS = [
    "receive", "transform", "integrate", "resolve_identity", "world_state", "diff", "transition", "detect_anomaly",
    "estimate_risk", "forecast_risk", "plan", "constrain", "checkpoint", "act", "verify", "audit", "rollback", "summarize",
]  # fmt: skip
REPORT = {
    "workflow_id": None, "world_id": None, "sync_timestamp": None, "status": None,
    "twin_snapshot": {"version", "state", "hash", "evidence_anchors"},
    "drift_report": {"anomalies_detected", "severity", "triggers", "evidence_anchors"},
    "risk_assessment": {"current_risk", "forecasted_risk", "risk_factors", "evidence_anchors"},
    "actions": {"executed", "plan_summary", "changes", "safety_gates_passed", "evidence_anchors"},
    "verification": {"result", "criteria_met", "evidence_anchors"},
    "audit": {"log_path", "provenance_chain", "evidence_anchors"},
    "rollback": {"available", "executed", "restore_point", "command"},
    "next_sync": {"recommended_interval", "triggers"},
    "confidence": None, "evidence_anchors": None, "assumptions": None,
}  # fmt: skip


class FakeLedger:
    """Keeps what a disk would keep, and fails when it is told to."""

    def __init__(self):
        self.sealed = []
        self.snapshots = []
        self.journal = []
        self.broken = False

    async def commit(self, sealed):
        if self.broken:
            raise StoreError("the disk is full")
        self.sealed.append(sealed)
        self.journal += [f"record {entry.kind}" for entry in unseal_record(sealed.envelope, KEY.public)[0].audit]

    async def keep(self, snapshot, envelope):
        self.snapshots.append(unseal_snapshot(envelope, KEY.public))
        self.journal.append(f"snapshot {snapshot.reason}")


class FakePlant:
    """Points that are never touched here; tests/test_acting.py touches them."""

    def __init__(self, journal):
        self.journal = journal

    async def write(self, source, point, value, hold_s):
        self.journal.append(f"write {point}={value}")


class Bench:
    """A loop on a bench: a real world, real seals, a fake disk and a fake plant."""

    def __init__(self, tmp_path, text=METER):
        self.site = site(tmp_path, text)
        start = empty_world("w")
        world = baseline(self.site, start)
        self.ground = loop.ground(self.site, world, watch_of(self.site, world), KEY, b"b" * 16)
        self.ledger = FakeLedger()
        self.plant = FakePlant(self.ledger.journal)
        standing = loop.Standing(start, entity_digests(start), ZERO_DIGEST, {}, frozenset())
        self.now = Instant(1_700_000_000_000, 1_000_000_000, True)
        self.standing = asyncio.run(
            loop.commit(standing, world, diff(start, world), (Entry("start", {}),), self.ground, self.ledger, self.now)
        )

    def turn(self, *readings, notes=()):
        self.now = Instant(self.now.at_ms + 1000, self.now.mono_ns + 1_000_000_000, True)
        self.standing, report = asyncio.run(
            loop.sync(self.standing, readings, self.ground, self.ledger, self.plant, self.now, notes)
        )
        return report

    def reading(self, point, value, quality="good"):
        return Reading(
            Anchor("meter", "fc4", Instant(self.now.at_ms + 500, self.now.mono_ns + 500, True)), point, value, quality
        )


def watch_of(found, world):
    return Watch(found.settings.drift, world, found)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_the_steps_are_called_in_the_order_of_the_specification():
    called = []
    for function in (loop.sync, loop.assess, loop.carry_out):
        tree = ast.parse(inspect.getsource(function))
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        calls.sort(key=lambda n: (n.end_lineno, n.end_col_offset))
        called.append([c.func.id for c in calls if c.func.id in {*STEPS, "assess", "carry_out", "commit"}])
    turn, assess, act = called
    assert turn == ["receive", "assess", "commit", "carry_out", "summarize"]
    first_time = list(dict.fromkeys([turn[0], *assess, *act, turn[-1]]))
    assert first_time == STEPS


def test_assess_touches_nothing_but_its_arguments():
    tree = ast.parse(inspect.getsource(loop.assess))
    assert not [n for n in ast.walk(tree) if isinstance(n, (ast.Await, ast.AsyncFunctionDef))]


def test_the_report_has_exactly_the_fields_of_the_specification(bench):
    report = plain(bench.turn(bench.reading("volts", 230.0)))
    assert {k: set(v) if isinstance(v, dict) else None for k, v in report.items()} == REPORT
    json.dumps(report, allow_nan=False)
    assert report["status"] == "synced"
    assert report["verification"]["result"] == "SKIPPED"
    assert report["confidence"] == 1.0


def test_a_turn_that_changed_something_is_one_record_that_leads_to_the_world(bench):
    before = bench.standing.world
    bench.turn(bench.reading("volts", 230.0), bench.reading("relay", False))
    record, sealed = unseal_record(bench.ledger.sealed[-1].envelope, KEY.public)
    assert len(bench.ledger.sealed) == 2
    assert record.prev == bench.ledger.sealed[0].digest
    after = apply(before, record.delta, record.seq, record.at_ms)
    assert state_digest(after) == record.state == state_digest(bench.standing.world)
    assert bench.standing.head == sealed.digest


def test_a_turn_that_changed_nothing_leaves_no_record(bench):
    bench.turn(bench.reading("volts", 230.0))
    count = len(bench.ledger.sealed)
    bench.turn(bench.reading("volts", 230.0))
    bench.turn()
    assert len(bench.ledger.sealed) == count


def test_readings_of_links_that_finished_late_are_put_in_order(bench):
    old = bench.reading("volts", 1.0)
    bench.now = Instant(bench.now.at_ms + 5, bench.now.mono_ns + 5, True)
    bench.turn(bench.reading("volts", 2.0), old)
    assert bench.standing.world.state_of(1).value == 2.0


def test_failed_readings_lower_the_confidence_and_are_said(bench):
    report = bench.turn(bench.reading("volts", None, "bad:timeout"), bench.reading("relay", None, "bad:timeout"))
    assert report.confidence == 0.0
    assert any("2 of 2" in line for line in report.assumptions)


def test_a_record_that_cannot_be_kept_changes_nothing(bench):
    standing = bench.standing
    bench.ledger.broken = True
    with pytest.raises(StoreError):
        bench.turn(bench.reading("volts", 230.0))
    assert bench.standing is standing


def test_notes_of_the_service_stand_in_the_record(bench):
    bench.turn(notes=(Entry("stop", {"reason": "asked"}),))
    record, _ = unseal_record(bench.ledger.sealed[-1].envelope, KEY.public)
    assert [entry.kind for entry in record.audit] == ["turn", "stop"]


def test_nothing_is_written_without_a_policy(bench):
    bench.turn(*[bench.reading("volts", 230.0)] * 50)
    assert not [line for line in bench.ledger.journal if line.startswith("write")]


def test_the_loop_reads_no_clock_and_no_disk():
    source = Path(loop.__file__).read_text()
    for word in ("import time", "datetime", "open(", "asyncio"):
        assert word not in source


DRIFTING = METER.replace('unit = "V",', 'unit = "V", alarm_above = 250, deadband = 5,')


def test_delta_only_tells_what_changed_and_weighs_nothing(tmp_path):
    bench = Bench(tmp_path, '[sync]\nmode = "delta_only"\n' + DRIFTING)
    report = bench.turn(bench.reading("volts", 251.0))
    assert (report.status, report.drift_report["anomalies_detected"]) == ("drift_detected", 1)
    assert (report.risk_assessment["current_risk"], report.risk_assessment["forecasted_risk"]) == (0.0, 0.0)
    assert report.actions["plan_summary"] == "nothing to do"
    assert "delta_only: risk was not estimated and nothing was planned" in report.assumptions


@pytest.mark.parametrize(("mode", "value"), [("full", 232.0), ("incremental", 230.0)])
def test_full_takes_every_reading_as_it_was_read(tmp_path, mode, value):
    bench = Bench(tmp_path, f'[sync]\nmode = "{mode}"\n' + DRIFTING)
    bench.turn(bench.reading("volts", 230.0))
    bench.turn(bench.reading("volts", 232.0))
    assert bench.standing.world.state_of(1).value == value


def test_an_acknowledged_finding_is_quiet_and_stays_open(tmp_path):
    bench = Bench(tmp_path, DRIFTING)
    (trigger,) = bench.turn(bench.reading("volts", 251.0)).drift_report["triggers"]
    bench.now = Instant(bench.now.at_ms + 1000, bench.now.mono_ns + 10**9, True)
    ask = Acknowledgement("meter.volts/limit", "os:anna")
    turn = loop.sync(
        bench.standing,
        [bench.reading("volts", 252.0)],
        bench.ground,
        bench.ledger,
        bench.plant,
        bench.now,
        (),
        Post(acknowledged=(ask,)),
    )
    bench.standing, report = asyncio.run(turn)
    assert (report.status, report.drift_report["triggers"]) == ("synced", [])
    assert report.twin_snapshot["state"] | {"condition": "drifting", "findings": 1} == report.twin_snapshot["state"]
    assert report.risk_assessment["current_risk"] > 0, "what is known is still so"
    record, _ = unseal_record(bench.ledger.sealed[-1].envelope, KEY.public)
    assert [e.kind for e in record.audit] == ["turn", "acknowledge"]
    assert record.delta.findings["meter.volts/limit"].acknowledged == "os:anna"
    for _ in range(12):
        report = bench.turn(bench.reading("volts", 230.0))
    record, _ = unseal_record(bench.ledger.sealed[-1].envelope, KEY.public)
    (ended,) = [e for e in record.audit if e.kind == "ended"]
    assert ended.facts["sentence"] == trigger
