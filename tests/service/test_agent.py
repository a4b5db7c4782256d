"""The agent's own ends: a disk that fails."""

import asyncio

import pytest
from peers import free_port
from sites import METER, site

from edge_agent.model.errors import StoreError
from edge_agent.service.agent import Agent


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
