"""The agent's way out against brokers that do their worst: it lives, waits longer each time, and delivers at last."""

import asyncio
import random
from pathlib import Path

import pytest
from fake_gateway import Gateway
from peers import CONNACK, fake_broker, packet, read_packet

from edge_agent.model.site import UpstreamSettings
from edge_agent.mqtt import Session
from edge_agent.service.backoff import Backoff
from edge_agent.service.clock import Clock
from edge_agent.service.upstream import Upstream
from edge_agent.uplink.commands import ASK_SNAPSHOT, ask_records

COMMAND = b"\x00\x15edge/v1/plant/command"
SUBSCRIBE = 0x82


async def welcome(reader, writer):
    """Accept, and return when the gateway has asked to be sent commands."""
    await read_packet(reader)
    writer.write(CONNACK["5"])
    command, body = await read_packet(reader)
    assert command == SUBSCRIBE
    assert b"edge/v1/plant/command" in body
    writer.write(packet(0x90, body[:2] + b"\x00\x01"))


async def acknowledging(reader, writer, *, pings=True):
    """Acknowledge whatever comes, and keep nothing of it."""
    while True:
        command, body = await read_packet(reader)
        if command & 0xF0 == 0x30:
            end = 2 + int.from_bytes(body[:2], "big")
            writer.write(packet(0x40, body[end : end + 2]))
        elif command == 0xC0 and pings:
            writer.write(b"\xd0\x00")


async def hangs_after_connect(reader, _writer):
    await reader.read(-1)


async def refuses(reader, writer):
    await read_packet(reader)
    writer.write(b"\x20\x03\x00\x87\x00")


async def closes_in_the_middle_of_a_packet(reader, writer):
    await welcome(reader, writer)
    writer.write(packet(0x30, COMMAND + bytes(500))[:100])


async def talks_garbage(reader, writer):
    await welcome(reader, writer)
    writer.write(random.Random(1).randbytes(5000))
    await reader.read(-1)


async def sends_150_mib(reader, writer):
    await welcome(reader, writer)
    writer.write(b"\x30\x80\x80\x80\x4b")
    for _ in range(150):
        writer.write(bytes(1024 * 1024))
        await writer.drain()


async def never_answers_a_ping(reader, writer):
    await welcome(reader, writer)
    await acknowledging(reader, writer, pings=False)


async def floods_with_commands(reader, writer):
    await welcome(reader, writer)
    answering = asyncio.create_task(acknowledging(reader, writer))
    for n in range(500):
        for payload in (ASK_SNAPSHOT, ask_records(1), b'{"v":1,"ask":"records","from":%d}' % -n, b"{" * 9000):
            writer.write(packet(0x30 | n % 2, COMMAND + b"\x00" + payload))  # every other one retained
        await writer.drain()
    while refused() < 500:  # noqa: ASYNC110 - the gateway tells nobody that it passes something over
        await asyncio.sleep(0.02)
    answering.cancel()


def refused():
    counts = way_out[-1].publisher.counts
    return sum(count for word, count in counts.items() if word.startswith("command:"))


async def acknowledges_and_forgets(reader, writer):
    await welcome(reader, writer)
    await acknowledging(reader, writer)


way_out = []
"""The one under test, for those who wait for what it makes of them."""
WORST = [
    hangs_after_connect, refuses, closes_in_the_middle_of_a_packet, talks_garbage, sends_150_mib, never_answers_a_ping,
    floods_with_commands, acknowledges_and_forgets,
]  # fmt: skip


def resident_kib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


@pytest.fixture
def _impatient(monkeypatch):
    monkeypatch.setattr(Session.open, "__defaults__", (1.0,))
    monkeypatch.setitem(Session.__init__.__kwdefaults__, "keepalive_s", 1)


@pytest.mark.usefixtures("_impatient")
def test_the_way_out_survives_every_broker_waits_longer_each_time_and_subscribes_on_each_connack():
    met, waits = [], []

    class Noting(Backoff):
        def failed(self):
            waits.append(super().failed())
            return 0.01

    async def script(reader, writer):
        met.append(WORST[min(len(met), len(WORST) - 1)])
        await met[-1](reader, writer)

    async def snapshot():
        return gateway.snapshot()

    async def test():
        before = resident_kib()
        async with fake_broker(script) as url:
            upstream = Upstream(
                UpstreamSettings(url=url), "plant", gateway, snapshot, lambda *_: None, lambda: 0.0, Clock()
            )
            upstream._backoff = Noting(lambda: 0.0)
            way_out.append(upstream)
            running = asyncio.create_task(upstream.run())
            while len(met) < len(WORST) or gateway.acked < 50:
                assert not running.done()
                await asyncio.sleep(0.02)
            counts, trouble = upstream.publisher.counts, upstream.trouble
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert met == WORST
        # Only a session in which something was delivered lets the next wait begin anew.
        assert waits[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
        assert trouble is not None
        assert counts["command:retained"] > 0
        assert counts["command:rate"] > 0
        assert resident_kib() - before < 32 * 1024

    gateway = Gateway()
    for n in range(49):
        gateway.measure(flow=n)
    gateway.acked = 0
    asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.usefixtures("_impatient")
def test_a_broker_that_hangs_up_on_large_messages_gets_them_smaller_and_then_all_of_them():
    took, limit = [], 40_000

    async def script(reader, writer):
        await welcome(reader, writer)
        while True:
            command, body = await read_packet(reader)
            if len(body) > limit:
                return
            if command & 0xF0 == 0x30:
                end = 2 + int.from_bytes(body[:2], "big")
                took.append(len(body))
                writer.write(packet(0x40, body[end : end + 2]))

    async def test():
        async with fake_broker(script) as url:
            upstream = Upstream(
                UpstreamSettings(url=url), "plant", gateway, None, lambda *_: None, lambda: 0.0, Clock()
            )
            upstream._backoff = Backoff(lambda: 0.0, 0.01, 0.01)
            running = asyncio.create_task(upstream.run())
            while gateway.acked < gateway.head_seq:  # noqa: ASYNC110 - the backlog tells nobody
                await asyncio.sleep(0.02)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert max(took) <= limit
        assert "was on its way" in upstream.trouble[1]

    gateway = Gateway()
    for n in range(200):
        gateway.measure(temperature="x" * 3000, flow=n)
    asyncio.run(asyncio.wait_for(test(), 60))
