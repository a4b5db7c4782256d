"""Slaves that lie about a write on the wire itself: a real agent, its real bus, and a Modbus TCP server that cheats.

tests/test_liars.py has every lie; here stand those that live in frames and connections.
"""

import asyncio
import contextlib
import struct

import pytest
from acting import ANNA, BOOK, POLICY, RULES, SOURCE, approvers
from sites import written

from edge_agent.config import load
from edge_agent.judge.lifecycle import ENDS
from edge_agent.seal.approvals import answer, seal_approval
from edge_agent.service.agent import Agent

FAST = '[sync]\ninterval = "100ms"\n'
READ_COILS, READ_REGISTERS, READ_INPUTS, WRITE_COIL = 1, 3, 4, 5


class Slave:
    """Coils, registers and inputs behind one port, and one way to lie about writing a coil."""

    def __init__(self, lie):
        self.coils, self.lie, self.writes = [False] * 8, lie, 0
        self.volts = 400.0
        self.server = None

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readexactly(7)
                body = await reader.readexactly(int.from_bytes(head[4:6]) - 1)
                reply = self.answer(body)
                if reply is None:
                    writer.transport.abort()
                    return
                if reply:
                    writer.write(head[:4] + (len(reply) + 1).to_bytes(2) + head[6:7] + reply)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, body):
        function, address, count = body[0], int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
        if function == WRITE_COIL:
            self.writes += 1
            return self.lie(self, address, body[3] == 0xFF, body)
        if function == READ_COILS:
            bits = sum(self.coils[address + i] << i for i in range(count))
            return bytes([function, 1, bits])
        data = struct.pack(">f", self.volts) if function == READ_INPUTS else (100).to_bytes(2) * count
        return bytes([function, len(data)]) + data


def honest(slave, at, on, body):
    slave.coils[at] = on
    return body


def ignores(slave, at, on, body):
    return body


def resets_after(slave, at, on, body):
    slave.coils[at] = on


def resets_before(slave, at, on, body):
    return None


def silent_after(slave, at, on, body):
    slave.coils[at] = on
    return b""


def silent_before(slave, at, on, body):
    return b""


def refuses_but_does(slave, at, on, body):
    slave.coils[at] = on
    return bytes([body[0] | 0x80, 4])


def other_echo(slave, at, on, body):
    slave.coils[at] = on
    return body[:1] + (at + 1).to_bytes(2) + body[3:]


def next_door(slave, at, on, body):
    slave.coils[at + 1] = True
    return body


def other_function(slave, at, on, body):
    return bytes([6]) + body[1:]


def short(slave, at, on, body):
    slave.coils[at] = on
    return body[:3]


LIES = {
    honest: "verified", ignores: "rolled_back", resets_after: "verified", resets_before: "rolled_back",
    silent_after: "verified", silent_before: "rolled_back", refuses_but_does: "verified", other_echo: "verified",
    next_door: "unknown", other_function: "rolled_back", short: "verified",
}  # fmt: skip


@contextlib.asynccontextmanager
async def acting(folder, slave):
    """Run an agent whose action on a slave has come to an end; yield both."""
    port = await slave.start()
    book = BOOK.replace("{risk}", "0.2").replace("{more}", "")
    text = FAST + SOURCE + RULES + book + POLICY.replace("{more}", "") + approvers()
    agent = Agent(load(written(folder, text, port)))
    stop = asyncio.Event()
    running = asyncio.create_task(agent.run(stop, lambda: None))
    try:
        async with asyncio.timeout(60):
            action = await reached(agent, {"waiting"})
            letter = seal_approval(answer(action, "approve", "anna", 1, 900), ANNA)
            agent.mailbox.put(letter, retained=False)
            yield agent, await reached(agent, ENDS)
    finally:
        stop.set()
        await running
        agent.close()
        slave.server.close()


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_slave_that_lies_on_the_wire_is_judged_by_what_stands_there(tmp_path, lie):
    async def day():
        slave = Slave(lie)
        async with acting(tmp_path, slave) as (_, action):
            pass
        assert action.stage == LIES[lie], action.reason
        assert slave.writes == 1 or action.stage in ("rolled_back", "unknown")
        if action.stage == "verified":
            assert slave.coils == [True] + [False] * 7
        if action.stage == "rolled_back":
            assert slave.coils == [False] * 8

    asyncio.run(day())


def test_a_slave_that_does_it_after_it_was_undone_corrects_the_record(tmp_path):
    async def day():
        slave = Slave(ignores)
        async with acting(tmp_path, slave) as (agent, action):
            assert action.stage == "rolled_back"
            slave.coils[0] = True
            corrected = await reached(agent, {"unknown"})
        assert corrected.id == action.id
        assert "it came back at" in corrected.reason
        assert slave.writes == 2, "the write and its inverse, and nothing more"

    asyncio.run(day())


async def reached(agent, stages):
    """Wait until the one action is at one of some stages; the loop of the agent is not ours to hook into."""
    while True:
        found = [a for a in agent.standing.world.actions.values() if a.stage in stages]
        if found:
            return found[0]
        await asyncio.sleep(0.02)
