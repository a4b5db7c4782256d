"""Whole agents before real Modbus servers: what a device taught, and who it says it is."""

import asyncio
import contextlib
import json
import struct

import pytest
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from serial_line import cable
from test_whole_way import Gateway

from edge_agent.config import load
from edge_agent.model.errors import TrustError
from edge_agent.service.agent import Agent

PROFILE = """
name = "box"
title = "A box of our own"
protocol = "modbus"
entity_type = "box"
examples = []
[provenance]
source = "tests/scenarios"
date = "2026-11-25"
verified = true
[identity]
expect = [{ point = "model", any_of = ["BOX"] }]
firmware = { point = "firmware", first = 10, last = 19 }
[limits]
max_gap = 20
timeout = "2s"
[[points]]
name = "model"
function = 3
address = 0
type = "string"
length = 2
kind = "state"
drift = false
identity = "model"
[[points]]
name = "firmware"
function = 3
address = 2
type = "uint16"
kind = "state"
drift = false
identity = "firmware"
[[points]]
name = "temp"
function = 3
address = 10
type = "int16"
scale = 0.1
[[points]]
name = "mode"
function = 3
address = 11
type = "uint16"
kind = "state"
drift = false
enum = { 0 = "off", 1 = "on" }
write = { range = [0, 1] }
[[points]]
name = "far"
function = 3
address = 20
type = "uint16"
"""
SOURCE = """
[[sources]]
name = "box"
kind = "modbus"
url = "{url}"
profile = "box.toml"
poll = "100ms"
"""


def box(firmware):
    def held(at, *values):
        return SimData(at, values=list(values), datatype=DataType.REGISTERS)

    empty = SimData(0, values=[False] * 16, datatype=DataType.BITS)
    who = held(0, *struct.unpack(">HH", b"BOX\0"), firmware)
    return SimDevice(1, ([empty], [empty], [who, held(10, 0xFFF6, 0), held(20, 7)], [held(0, 0)]))


def profile(folder):
    path = folder / "box.toml"
    path.write_text(PROFILE)
    path.chmod(0o644)


@contextlib.asynccontextmanager
async def served(firmware):
    """Run the box; yield its url, what it was asked, and what is set when it is asked again."""
    asked, again = [], asyncio.Event()

    def heard(sending, frame):
        if not sending:
            asked.append(struct.unpack(">HH", frame[8:12]))
            again.set()
        return frame

    server = ModbusTcpServer(box(firmware), address=("127.0.0.1", 0), trace_packet=heard)
    await server.serve_forever(background=True)
    try:
        yield f"tcp://127.0.0.1:{server.transport.sockets[0].getsockname()[1]}", asked, again
    finally:
        await server.shutdown()


def states(agent):
    world = agent.standing.world
    return {v.name: world.state_of(number)[::2] for number, v in world.variables.items()}


def turn(folder, url):
    """Make one turn of a whole agent, and try to write; return the states and what came of the write."""
    (folder / "agent.toml").write_text(
        f'[agent]\nworld_id = "w"\ndata_dir = "{folder / "data"}"\n' + SOURCE.format(url=url)
    )
    (folder / "agent.toml").chmod(0o600)

    async def go(agent):
        await agent.turn_once(10)
        return states(agent), agent.runners[0].door.refusal("box")

    agent = Agent(load(folder / "agent.toml"))
    return agent, go(agent)


def test_pain_25_a_firmware_that_the_profile_was_not_written_for_is_read_with_doubt_and_not_written(tmp_path):
    async def scenario(firmware, folder):
        profile(folder)
        async with served(firmware) as (url, *_):
            agent, going = turn(folder, url)
            try:
                found, refusal = await going
                if refusal:
                    runner = agent.runners[0]
                    runner._stopping = False  # the turn is over; the bus goes on
                    bus = asyncio.create_task(runner.run())
                    with pytest.raises(TrustError, match="nothing is written to it: firmware is 20"):
                        await agent._hands.write("box", "mode", "on", None)
                    runner.stop(bus)
                    await asyncio.wait([bus])
            finally:
                agent.close()
            return found, refusal

    for firmware in (14, 20):
        folder = tmp_path / str(firmware)
        folder.mkdir()
        found, refusal = asyncio.run(asyncio.wait_for(scenario(firmware, folder), 60))
        quality = "good" if firmware == 14 else "uncertain:firmware"
        assert found["model"] == ("BOX", "good")
        assert found["temp"] == (-1.0, quality)
        assert found["mode"] == ("off", quality)
        assert refusal == ("" if firmware == 14 else "firmware is 20, wanted 10 to 19")


def test_pain_15_what_a_device_lacks_is_not_asked_for_again_after_kill_9(tmp_path):
    """`far` reaches over a hole at 12 to 19 that the device calls illegal."""
    profile(tmp_path)

    async def until(holds, again):
        async with asyncio.timeout(60):
            while not holds():
                again.clear()
                await again.wait()

    async def scenario():
        async with served(14) as (url, asked, again):
            gateway = Gateway(tmp_path, SOURCE.format(url=url))
            await gateway.start()
            await until((tmp_path / "data" / "lessons.json").exists, again)
            await gateway.kill()
            first_run = len(asked)
            await gateway.start()
            await until(lambda: asked[first_run:].count((20, 1)) >= 3, again)
            await gateway.stop()
            return asked[:first_run], asked[first_run:]

    before, after = asyncio.run(scenario())
    lessons = json.loads((tmp_path / "data" / "lessons.json").read_text())["lessons"]
    assert [key.split(" ", 1)[1] for key in lessons] == ["unit 1 box 14"]
    assert before.count((10, 11)) == 1
    assert (10, 11) not in after
    assert {(0, 3), (10, 2), (20, 1)} == set(after)


def test_a_whole_agent_reads_a_real_rtu_server_on_a_serial_port(tmp_path):
    profile(tmp_path)

    async def scenario():
        async with cable() as (ours, theirs):
            server = ModbusSerialServer(box(14), framer=FramerType.RTU, port=theirs, baudrate=19200)
            await server.serve_forever(background=True)
            agent, going = turn(tmp_path, f"rtu://{ours}?baud=19200")
            try:
                return (await going)[0]
            finally:
                agent.close()
                await server.shutdown()

    found = asyncio.run(asyncio.wait_for(scenario(), 60))
    assert found["temp"] == (-1.0, "good")
    assert found["firmware"] == (14, "good")
