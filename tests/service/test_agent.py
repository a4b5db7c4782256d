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
