"""A day in a minute: 24 hours of a plant of 200 variables through the real agent, by a clock that jumps.

Real are the agent with its loop, runners, Modbus engine, statistics, log and snapshots on disk, the publisher, the
mirror, and an approval signed from what the mirror shows. The wire and the broker live in the loop, for they would
take real time; a real mosquitto carries the morning after. The test knows what it did, and holds every figure of
every report, of the audit trail and of the status against it.

    00:00 start        04:00 no link        04:30 power cut      05:00 link         11:00 east is silent
    11:10 another device answers in its place     13:00 the mirror is away for an hour     17:00 south.g7 warms up
    (found) somebody approves, the valve opens    20:00 no link for twenty minutes         24:00 stop
"""

import asyncio
import contextlib
import gc
import random
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from day_plant import PER_STATION, POLL_S, STATIONS, Plant, configuration
from fake_broker import FakeBroker
from fake_time import FakeClock, run
from peers import Broker

from edge_agent.cli.main import main
from edge_agent.config import load
from edge_agent.model.layout import record_ref
from edge_agent.model.reading import GOOD, iso_utc
from edge_agent.seal.approvals import answer, seal_approval
from edge_agent.seal.digest import state_digest
from edge_agent.seal.keys import PrivateKey
from edge_agent.service.agent import Agent
from edge_agent.store.keys import load_public
from edge_agent.uplink.follower import AuditTold, DetailMissed
from edge_agent.uplink.mirror import Mirror

START_MS = 1_700_000_000_000
HOUR_S = 3600.0
ANNA = PrivateKey.from_seed(b"\x05" * 32)
VARIABLES = len(STATIONS) * PER_STATION
SILENT_S, SWAPPED_S, WARM_S = 11 * HOUR_S, 11 * HOUR_S + 600, 17 * HOUR_S


class Day:
    """The gateway, its plant, its broker and its mirror, and what is known of them."""

    def __init__(self, folder, broker_url):
        self.data = folder / "data"
        self.path = folder / "agent.toml"
        self.path.write_text(configuration(self.data, ANNA.public.to_text("anna").decode().strip(), broker_url))
        self.path.chmod(0o600)
        self.broker, self.plant, self.clock = FakeBroker(), Plant(), FakeClock(START_MS)
        self.received = self.taken = self.good = 0
        """Readings: put into an inbox, taken by a turn, and of those the good ones."""
        self.lost = 0
        """Readings that no turn had taken when the power failed."""
        self.looks = self.asked_before = self.durable = 0
        """What an action read for itself; requests answered, and the last record, before the power cut."""
        self.reports = Counter()
        self.told = {}
        """Each trigger's subject, and from when to when it was told."""
        self.executed = []
        self.audit, self.missed = Counter(), 0
        self.sealed_readings = 0
        self.entries = []
        """What the audit trail says beside the turns."""
        self.footprint = {}
        self.open()

    # ---- the gateway

    def open(self):
        """Start the agent on what stands in its folder."""
        self.agent = Agent(load(self.path), self.clock)
        for runner in self.agent.runners:
            runner.link._exchange = self.plant.exchange_of(self.clock)
        turn, take, look = self.agent.turn, self.agent.inbox.take, self.agent._hands.read

        def counted_look(source, point):
            self.looks += 1
            return look(source, point)

        def counted_take():
            readings, entries = take()
            self.now_taken = (len(readings), sum(reading.quality == GOOD for reading in readings))
            return readings, entries

        async def told_turn(notes=()):
            report = await turn(notes)
            self.hold(report)
            return report

        self.agent.inbox.take, self.agent.turn, self.agent._hands.read = counted_take, told_turn, counted_look

    def serve(self):
        self.stop = asyncio.Event()
        self.serving = asyncio.create_task(self.agent.run(self.stop, lambda: None))

    async def power_cut(self):
        """Drop the agent as it stands, and start another on what was durable at that moment."""
        durable = self.data.with_name("durable")
        shutil.copytree(self.data, durable, ignore=shutil.ignore_patterns("status*"))
        self.durable, self.asked_before = self.agent.standing.world.version, self.plant.asked.total()
        self.received += self.agent.inbox.received
        self.lost += len(self.agent.inbox.take()[0])
        self.serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.serving
        self.agent.close()
        shutil.rmtree(self.data)
        durable.rename(self.data)
        self.open()
        self.serve()

    # ---- what is held against it

    def hold(self, report):
        """Hold every figure of a report against what the test knows."""
        world, now_s = self.agent.standing.world, asyncio.get_running_loop().time()
        taken, good = self.now_taken
        self.taken, self.good = self.taken + taken, self.good + good
        self.reports[report.status] += 1
        drift, actions, seq = report.drift_report, report.actions, record_ref(world.version)
        assert report.world_id == "plant"
        assert report.workflow_id == f"digital_twin_sync_loop:plant:{world.at_ms}"
        assert report.sync_timestamp == iso_utc(world.at_ms)
        assert report.twin_snapshot["version"] == str(world.version)
        assert report.twin_snapshot["evidence_anchors"] == [seq]
        assert report.twin_snapshot["state"]["variables"] == VARIABLES
        assert report.twin_snapshot["state"]["entities"] == len(STATIONS)
        assert report.audit["log_path"] == f"{self.data}/log"
        assert report.audit["provenance_chain"] == [f"sha256:{self.agent.standing.head.hex()}"]
        assert report.confidence == (round(good / taken, 3) if taken else report.confidence)
        assert drift["anomalies_detected"] == len(drift["triggers"]) == len(world.findings)
        assert (report.risk_assessment["current_risk"] > 0) == bool(drift["triggers"])
        executed = bool(actions["changes"])
        assert actions["executed"] == executed
        assert actions["safety_gates_passed"] is True
        assert report.rollback["executed"] is False
        if executed:
            self.executed.append((now_s, report))
        for trigger in drift["triggers"]:
            subject = trigger.split()[0].rstrip(":")
            first, _ = self.told.get(subject, (now_s, now_s))
            self.told[subject] = (first, now_s)
        if self.reports.total() % 60 == 0:
            assert report.twin_snapshot["hash"] == f"sha256:{state_digest(world).hex()}"

    async def mirror(self):
        """Follow as an engineer upstream would, and add up what the audit trail says."""
        async with Mirror("mqtt://broker.example", "plant", load_public(self.data / "keys" / "agent.pub")) as mirror:
            self.twin = mirror
            while True:
                change = await mirror.next_change()
                if isinstance(change, AuditTold):
                    self.note(change)
                elif isinstance(change, DetailMissed):
                    self.missed += 1

    def note(self, told):
        kind, facts = told.entry.kind, told.entry.facts
        self.audit[kind] += 1
        if kind == "turn":
            self.sealed_readings += facts["readings"]
        else:
            self.entries.append((told.at_ms - START_MS, kind, facts))

    async def approve(self):
        """Wait for an action that asks, as the mirror shows it, and approve it two minutes later."""
        while True:
            await asyncio.sleep(60)
            waiting = [a for a in self.twin.world.actions.values() if a.stage == "waiting"]
            if waiting:
                break
        await asyncio.sleep(120)
        operator = self.broker.session("", None, "operator")
        await operator.open()
        envelope = seal_approval(answer(waiting[0], "approve", "anna", 1, 600), ANNA)
        await operator.publish("edge/v1/plant/command", envelope)

    def weigh(self, hour):
        """Note what the process holds: allocated blocks and resident memory."""
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
        self.footprint[hour] = (sys.getallocatedblocks(), resident)


async def twenty_four_hours(day):
    loop = asyncio.get_running_loop()
    day.serve()
    others = [asyncio.create_task(day.mirror()), asyncio.create_task(day.approve())]

    async def at(hour):
        await asyncio.sleep(hour * HOUR_S - loop.time())

    await at(4)
    day.broker.cut("edge-agent-")
    await at(4.503)
    await day.power_cut()
    await at(5)
    day.broker.heal("edge-agent-")
    await at(6)
    day.weigh(6)
    await at(11)
    day.plant.silent.add(2)
    await asyncio.sleep(600)
    day.plant.silent.discard(2)
    day.plant.serial[2], day.plant.level[2] = 2002, 70.0
    await at(13)
    day.broker.cut("edge-mirror-")
    await at(14)
    day.broker.heal("edge-mirror-")
    await at(17)
    day.plant.warming_since_s = loop.time()
    await at(20)
    day.broker.cut("edge-agent-")
    await asyncio.sleep(1200)
    day.broker.heal("edge-agent-")
    await at(24)
    day.weigh(24)
    day.status = day.agent.status()
    day.stop.set()
    await day.serving
    while day.twin.world.version < day.agent.standing.world.version:  # noqa: ASYNC110 - the mirror is no part of us
        await asyncio.sleep(1)
    for task in others:
        task.cancel()
    day.received += day.agent.inbox.received
    day.agent.close()


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """The day as it was; one for all the tests that look at it."""
    folder = tmp_path_factory.mktemp("day")
    random.seed(1)
    with pytest.MonkeyPatch.context() as patch:
        found = Day(folder, "mqtt://broker.example")
        patch.setattr("edge_agent.service.upstream.Session", found.broker.session)
        patch.setattr("edge_agent.uplink.mirror.Session", found.broker.session)
        run(twenty_four_hours(found))
    return found


def test_the_twins_are_equal_and_nothing_was_missed_or_told_wrongly(day):
    world, twin = day.agent.standing.world, day.twin
    assert (twin.world.version, state_digest(twin.world)) == (world.version, state_digest(world))
    assert (twin.counts["lies"], day.missed) == (0, 0)
    assert twin.counts["asked"] >= 1, "it was away for an hour, and asked"
    assert {twin.world.state_of(n).quality for n in twin.world.variables} == {GOOD}
    valves = {v.source: twin.world.state_of(n).value for n, v in twin.world.variables.items() if v.point == "valve"}
    assert valves == dict(zip(STATIONS, day.plant.valve.values(), strict=True))


def test_every_reading_is_judged_once_and_stands_in_a_report_and_in_the_audit_trail(day):
    assert day.received == day.taken + day.lost
    assert 0 < day.lost < VARIABLES, "what came in between the last turn and the power cut"
    assert day.sealed_readings == day.taken
    assert day.plant.served == day.good + day.lost + day.looks
    assert day.audit["turn"] == day.reports.total()
    assert 0 <= day.reports.total() - 24 * HOUR_S / POLL_S <= 4, "the first of each start, the letter, the stop"


def test_silence_and_drift_are_found_and_nothing_else_is(day):
    assert set(day.told) == {"east", "south.g7"}
    (silent, heard), (warm, cool) = day.told["east"], day.told["south.g7"]
    assert SILENT_S < silent < SILENT_S + 5 * POLL_S
    assert SWAPPED_S - POLL_S < heard < SWAPPED_S + 3 * POLL_S, (
        "another device: what was learned of the old one is over"
    )
    assert WARM_S < warm < WARM_S + HOUR_S / 2
    assert day.plant.writes[0][2] < cool < day.plant.writes[0][2] + HOUR_S / 2, "it ends when the valve has cooled it"
    turns = (heard - silent + cool - warm) / POLL_S + 2
    by_letter, acting = 1, len(day.executed)
    assert day.reports == {
        "synced": day.reports.total() - turns - by_letter,
        "drift_detected": turns + by_letter - acting,
        "action_taken": acting,
    }
    assert sorted(facts["finding"] for _, kind, facts in day.entries if kind == "ended") == [
        "east.g0/missing", "south.g7/shift",
    ]  # fmt: skip


def test_the_device_that_was_swapped_is_told_with_both_serial_numbers(day):
    swaps = [(at_ms, f["was"], f["now"]) for at_ms, kind, f in day.entries if kind == "identity" and f["swapped"]]
    assert [swap[1:] for swap in swaps] == [("1002", "2002")]
    assert SWAPPED_S < swaps[0][0] / 1000 < SWAPPED_S + 3 * POLL_S


def test_one_action_was_approved_done_and_verified(day):
    assert [(unit, value) for unit, value, _ in day.plant.writes] == [(3, True)]
    [(begun_s, begun), (verified_s, report)] = day.executed
    assert begun.actions["changes"] == ["south.valve = True (pending)"]
    assert (begun.verification["result"], begun.verification["criteria_met"]) == ("SKIPPED", [])
    assert day.plant.writes[0][2] < begun_s < verified_s < begun_s + 3 * POLL_S, "cooled, as a later turn has read"
    assert report.actions["changes"] == ["south.valve = True (verified)"]
    assert report.verification["result"] == "PASS"
    assert len(report.verification["criteria_met"]) == 1
    moves = [(facts["move"], facts.get("seq")) for _, kind, facts in day.entries if kind == "action"]
    assert [move for move, _ in moves] == ["ask", "approve", "checkpoint", "intend", "read_back", "hold", "pass"]
    assert report.rollback["available"] is True
    assert report.rollback["restore_point"] == record_ref(moves[2][1])
    approvals = [facts["operator"] for _, kind, facts in day.entries if kind == "approval"]
    assert approvals == ["anna"]
    assert day.audit["approvals-refused"] == 0


def test_the_power_cut_cost_no_record(day, capsys):
    starts = [facts["world_version"] for _, kind, facts in day.entries if kind == "start"]
    assert starts == [0, day.durable], "the first one came late: the mirror began with the snapshot"
    assert not {"rebaseline", "hole", "rolled-back", "squash", "drop"} & set(day.audit)
    assert main(["log", "verify", str(day.data)]) == 0
    assert "everything holds" in capsys.readouterr().out


def test_the_status_counts_what_was_done(day):
    status, polls = day.status, [poll for bus in day.status["buses"] for poll in bus["polls"]]
    assert status["log"] | {"bytes": 0, "max_bytes": 0} == {
        "first": 1, "last": day.agent.standing.world.version - 1, "bytes": 0, "max_bytes": 0, "squashed": 0, "holes": 0,
    }  # fmt: skip
    assert status["upstream"]["waiting"] == {"records": 0, "bytes": 0, "oldest_s": None}
    assert status["upstream"]["delivered"] == status["upstream"]["published"] == status["log"]["last"]
    assert sum(poll["answered"] for poll in polls) == day.plant.asked.total() - day.asked_before - day.looks
    assert sum(poll["failed"] for poll in polls) == day.plant.unanswered
    assert sum(poll["points"] for poll in polls) == VARIABLES
    assert not any(poll["given_up"] for poll in polls)


def test_memory_is_flat(day):
    (blocks, resident), (later_blocks, later_resident) = day.footprint[6], day.footprint[24]
    assert later_blocks < 1.1 * blocks
    assert later_resident < 1.25 * resident


def test_the_morning_after_a_new_mirror_on_a_real_broker_holds_the_same_twin(day, tmp_path):
    evening = day.agent.standing.world.version

    async def morning(broker):
        day.path.write_text(day.path.read_text().replace("mqtt://broker.example", broker.url))
        loop = asyncio.get_running_loop()
        day.clock = FakeClock(START_MS + 25 * 3_600_000 - round(loop.time() * 1000))
        day.open()
        try:
            day.serve()
            async with Mirror(broker.url, "plant", load_public(day.data / "keys" / "agent.pub")) as mirror:
                async with asyncio.timeout(60):
                    while not (mirror.caught_up and mirror.world.version > evening + 1):
                        await mirror.next_change()
                    day.stop.set()
                    await day.serving
                    while mirror.world.version < day.agent.standing.world.version:
                        await mirror.next_change()
                return state_digest(mirror.world)
        finally:
            day.agent.close()

    with Broker(tmp_path) as broker:
        last = asyncio.run(morning(broker))
    assert last == state_digest(day.agent.standing.world)
