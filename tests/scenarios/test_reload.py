"""A changed agent.toml is taken up by the agent that runs: a real process, real servers, and what they saw of it."""

import asyncio
import contextlib
import json
import struct
import subprocess

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from serial_line import SerialLine, registers_pdu
from test_whole_way import COMMAND, Gateway

UNIT = """
[[sources]]
name = "{name}"
kind = "modbus"
url = "tcp://127.0.0.1:{port}"
unit = {unit}
poll = "{poll}"
points = [{{ name = "level", function = 4, address = 0, type = "uint16", unit = "mm" }}]
"""
RTU = """
[[sources]]
name = "line"
kind = "modbus"
url = "rtu://{path}?baud=19200"
unit = 5
poll = "100ms"
points = [{{ name = "level", function = 4, address = 0, type = "uint16" }}]
"""


class Plant:
    """A Modbus TCP server with units 1 to 3, and a serial line with unit 5; it counts what it sees."""

    def __init__(self):
        self.asked, self.connections, self._news = [], 0, asyncio.Event()

    @contextlib.asynccontextmanager
    async def served(self):
        values = SimData(0, values=[7] * 8, datatype=DataType.REGISTERS)
        bits = SimData(0, values=[False] * 16, datatype=DataType.BITS)
        units = [SimDevice(unit, ([bits], [bits], [values], [values])) for unit in (1, 2, 3)]
        server = ModbusTcpServer(
            units, address=("127.0.0.1", 0), trace_packet=self._packet, trace_connect=self._connected
        )
        await server.serve_forever(background=True)
        self.port = server.transport.sockets[0].getsockname()[1]
        with SerialLine(self._serial) as line:
            self.path = line.path
            try:
                yield self
            finally:
                await server.shutdown()

    def _packet(self, sending, frame):
        if not sending:
            self._saw(frame[6])
        return frame

    def _serial(self, unit, pdu):
        self._saw(unit)
        return registers_pdu(*[7] * struct.unpack(">H", pdu[3:5])[0])

    def _connected(self, there):
        self.connections += there

    def _saw(self, unit):
        self.asked.append(unit)
        self._news.set()

    def unit(self, name, unit, poll="100ms"):
        return UNIT.format(name=name, unit=unit, poll=poll, port=self.port)

    def line(self):
        return RTU.format(path=self.path)

    async def asks(self, unit, count):
        """Wait until a unit is asked so many times more."""
        wanted = self.asked.count(unit) + count
        async with asyncio.timeout(60):
            while self.asked.count(unit) < wanted:
                self._news.clear()
                await self._news.wait()


class Changing(Gateway):
    """A gateway whose file changes."""

    def write(self, sources, head=""):
        text = f'[agent]\nworld_id = "w"\ndata_dir = "{self.data}"\n[sync]\ninterval = "100ms"\n'
        self.config.write_text(text + head + sources)

    async def edge(self, *words):
        return await asyncio.to_thread(
            subprocess.run, [*COMMAND, *words, str(self.config)], capture_output=True, text=True, timeout=120
        )

    async def reload(self):
        return await self.edge("reload")

    async def status(self):
        done = await self.edge("status", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    async def polls(self):
        found = await self.status()
        return {poll["source"]: poll for bus in found["buses"] for poll in bus["polls"]}

    def entries(self, kind):
        done = subprocess.run(
            [*COMMAND, "log", "show", str(self.config), "--json", "--kind", kind], capture_output=True, text=True
        )
        return [json.loads(line) for line in done.stdout.splitlines()]


@contextlib.asynccontextmanager
async def running(folder, plant, sources, head=""):
    agent = Changing(folder, "")
    agent.write(sources, head)
    await agent.start()
    try:
        yield agent
    finally:
        if agent.process.returncode is None:
            code, _ = await agent.stop()
            assert code == 0, agent.log()
    done = agent.verify()
    assert done.returncode == 0, done.stdout


def run(case):
    async def in_time():
        async with asyncio.timeout(180):
            return await case

    return asyncio.run(in_time())


def test_a_device_is_added_changed_and_removed_while_its_neighbours_are_read_on(tmp_path):
    async def day():
        plant = Plant()
        async with plant.served():
            old = plant.unit("tank", 1) + plant.unit("well", 3) + plant.line()
            async with running(tmp_path, plant, old) as agent:
                await plant.asks(1, 3)
                await plant.asks(5, 3)
                before = await agent.polls()
                agent.write(old + plant.unit("pond", 2))
                added = await agent.reload()
                assert (added.returncode, added.stdout.splitlines()[0]) == (0, "sources.pond added"), added
                await plant.asks(2, 3)
                await plant.asks(1, 3)

                agent.write(plant.unit("tank", 1) + plant.unit("pond", 2, "250ms") + plant.line())
                changed = await agent.reload()
                assert changed.stdout.splitlines()[:2] == ["sources.well removed", "sources.pond changed (poll)"]
                quiet = plant.asked.count(3)
                await plant.asks(2, 2)
                await plant.asks(1, 10)
                await plant.asks(5, 10)
                assert plant.asked.count(3) == quiet, "nobody asks what was removed"
                low, after, high = plant.asked.count(1), await agent.polls(), plant.asked.count(1)
                twin = json.loads((await agent.edge("twin", "--json")).stdout)
        assert plant.connections == 1, "the bus was never opened anew"
        assert set(after) == {"tank", "pond", "line"}
        assert after["pond"]["every_s"] == 0.25
        assert [after[name]["failed"] for name in after] == [0, 0, 0]
        for name in ("tank", "line"):
            assert after[name]["answered"] > before[name]["answered"], "its counters went on"
        assert low - 1 <= after["tank"]["answered"] <= high, "every one that the server saw is counted"
        assert "well" not in json.dumps(twin), "what was removed is not of this site any more"
        assert "trying again" not in agent.log()
        entries = agent.entries("configuration")
        assert [each["facts"]["changed"] for each in entries] == [
            "sources.pond added",
            "sources.well removed, sources.pond changed (poll)",
        ]
        start = agent.entries("start")[0]["facts"]["config"]
        assert [entries[0]["facts"]["was"], entries[1]["facts"]["was"]] == [start, entries[0]["facts"]["config"]]
        assert entries[0]["facts"]["by"].startswith("os:")

    run(day())
