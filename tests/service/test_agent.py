"""The agent's own ends: a disk that fails."""

import asyncio
import getpass

import pytest
from peers import free_port
from sites import METER, site, written

from edge_agent.cli.main import main
from edge_agent.config import load
from edge_agent.model.errors import StoreError
from edge_agent.model.reading import Anchor, Instant, Reading
from edge_agent.service.agent import Agent
from edge_agent.service.inbox import Inbox, limits_of


def test_a_disk_that_fails_while_serving_ends_the_agent_and_nothing_more_is_claimed(tmp_path):
    agent = Agent(site(tmp_path, METER, free_port()))
    durable, told = agent.ledger.commit, []

    async def fails_after_the_first(sealed):
        if told:
            raise StoreError("log: fsync failed")
        told.append(sealed.seq)
        await durable(sealed)

    agent.ledger.commit = fails_after_the_first
    try:
        with pytest.raises(StoreError, match="fsync failed"):
            asyncio.run(agent.run(asyncio.Event(), lambda: None))
    finally:
        agent.close()
    assert told == [1]
    assert agent.standing.world.version == 1


def test_a_log_that_is_full_at_start_does_not_keep_the_way_out_from_being_opened(tmp_path):
    agent = Agent(site(tmp_path, METER, free_port()))
    asked = []

    async def full_at_first():
        asked.append(1)
        return len(asked) > 2

    agent.ledger.has_room = full_at_first

    async def day():
        stop = asyncio.Event()
        await agent.run(stop, stop.set)

    try:
        asyncio.run(day())
    finally:
        agent.close()
    assert len(asked) >= 3
    assert agent.standing.world.version >= 1


def test_a_stop_while_the_log_is_full_ends_the_agent(tmp_path):
    agent = Agent(site(tmp_path, METER, free_port()))

    async def full():
        return False

    agent.ledger.has_room = full

    async def day():
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, stop.set)
        await agent.run(stop, lambda: pytest.fail("it never serves"))

    try:
        asyncio.run(day())
    finally:
        agent.close()
    assert agent.standing.world.version == 0


def test_a_reading_that_passes_its_limit_brings_the_next_turn_on_at_once(tmp_path):
    text = '[sync]\ninterval = "1h"\n' + METER.replace('unit = "V",', 'unit = "V", alarm_above = 250,')
    agent = Agent(site(tmp_path, text, free_port()))
    made = asyncio.Event()
    turn = agent.turn

    async def counted(notes=()):
        report = await turn(notes)
        if any("volts" in sentence for sentence in report.drift_report["triggers"]):
            made.set()
        return report

    agent.turn = counted

    def put(volts):
        at = Instant(1_700_000_000_000, 10**9, True)
        agent.inbox.put([Reading(Anchor("meter", "fc4", at), "volts", volts)])

    async def day():
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.run(stop, lambda: put(251.0)))
            await made.wait()  # an hour before its time
            stop.set()

    try:
        asyncio.run(day())
    finally:
        agent.close()


def test_urgent_is_what_passes_a_limit_and_not_what_stays_beyond_it(tmp_path):
    inbox = Inbox(
        limits=limits_of(site(tmp_path, METER.replace('unit = "V",', 'unit = "V", alarm_below = 200,')).sources)
    )

    def urgent(value, quality="good"):
        inbox.urgent.clear()
        at = Instant(1_700_000_000_000, 10**9, True)
        inbox.put([Reading(Anchor("meter", "fc4", at), "volts", value, quality)])
        return inbox.urgent.is_set()

    told = [urgent(v) for v in (230.0, 199.0, 198.0, 200.0, 199.0)]
    assert told == [False, True, False, False, True]
    assert not urgent(None, "bad:timeout")


def test_a_person_on_site_acknowledges_a_finding_and_the_next_turn_is_quiet(tmp_path, capsys):
    path = written(tmp_path, METER.replace('unit = "V",', 'unit = "V", alarm_above = 250,'), free_port())
    agent = Agent(load(path))

    async def turn(volts):
        now = agent.clock()
        agent.inbox.put([Reading(Anchor("meter", "fc4", now), "volts", volts)])
        return await agent.turn()

    async def day():
        await agent._begin()
        reports = [await turn(251.0)]
        codes = [main(["findings", str(path), "--ack", id_]) for id_ in ("meter.volts/limit", "meter.volt/limit")]
        return [*reports, await turn(252.0)], codes

    try:
        (loud, quiet), codes = asyncio.run(day())
        assert codes == [0, 1]
        assert 'did you mean "meter.volts/limit"?' in capsys.readouterr().err
        assert (loud.status, quiet.status) == ("drift_detected", "synced")
        assert main(["findings", str(path)]) == 0
        assert f"meter.volts/limit, since {loud.sync_timestamp[:10]}" in (told := capsys.readouterr().out)
        assert f"known to os:{getpass.getuser()}" in told
    finally:
        agent.close()
