"""A changed agent.toml is taken up by the agent that runs: a real process, real servers, and what they saw of it."""

import asyncio
import contextlib
import json
import signal
import struct
import subprocess
from urllib.request import urlopen

import pytest
from peers import Broker, free_port
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from serial_line import SerialLine, registers_pdu
from test_whole_way import COMMAND, Gateway

from edge_agent.model.site import BrokerAccess
from edge_agent.seal.keys import PublicKey
from edge_agent.uplink.mirror import Mirror

UNIT = """
[[sources]]
name = "{name}"
kind = "modbus"
url = "tcp://127.0.0.1:{port}"
unit = {unit}
poll = "{poll}"
profile = "level.toml"
"""
RTU = """
[[sources]]
name = "line"
kind = "modbus"
url = "rtu://{path}?baud=19200"
unit = 5
poll = "100ms"
profile = "level.toml"
"""
PROFILE = """
name = "level"
title = "A level"
protocol = "modbus"
entity_type = "tank"
examples = []
[provenance]
source = "tests/scenarios"
date = "2026-11-25"
verified = true
[limits]
timeout = "30s"                        # a busy machine is no fault of the plant
[[points]]
name = "level"
function = 4
address = 0
type = "uint16"
unit = "mm"
"""


class Plant:
    """A Modbus TCP server with units 1 to 3, and a serial line with unit 5, whose value is never the same."""

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
        return registers_pdu(*[self.asked.count(5)] * struct.unpack(">H", pdu[3:5])[0])

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

    def __init__(self, folder):
        super().__init__(folder, "")
        (folder / "level.toml").write_text(PROFILE)
        (folder / "level.toml").chmod(0o600)

    def write(self, sources, head="", more=""):
        text = f'[agent]\nworld_id = "w"\ndata_dir = "{self.data}"{more}\n[sync]\ninterval = "100ms"\n'
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

    async def entries(self, *kinds):
        words = [word for kind in kinds for word in ("--kind", kind)]
        done = await self.edge("log", "show", "--json", *words)
        return [json.loads(line) for line in done.stdout.splitlines()]


@contextlib.asynccontextmanager
async def running(folder, plant, sources, head=""):
    agent = Changing(folder)
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
        start, *entries = await agent.entries("start", "configuration")
        assert [each["facts"]["changed"] for each in entries] == [
            "sources.pond added",
            "sources.well removed, sources.pond changed (poll)",
        ]
        configs = [each["facts"]["config"] for each in (start, *entries)]
        assert [each["facts"]["was"] for each in entries] == configs[:2], "each says which one it took the place of"
        assert entries[0]["facts"]["by"].startswith("os:")

    run(day())


def test_a_bad_file_changes_nothing_says_all_that_check_says_and_is_told_once(tmp_path):
    async def day():
        plant = Plant()
        async with plant.served(), running(tmp_path, plant, plant.unit("tank", 1)) as agent:
            await plant.asks(1, 2)
            bad = plant.unit("tank", 1, "fast") + plant.unit("pond", 2).replace("level.toml", "leval.toml")
            agent.write(bad, '[metrics]\nport = "high"\n', '\nname = "mine"')
            checked, refused = await agent.edge("check"), await agent.reload()
            status = await agent.edge("status")
            before = len(plant.asked)
            agent.process.send_signal(signal.SIGHUP)
            await plant.asks(1, 3)
            text = await told(agent, "not taken up", 2)
            good = plant.unit("tank", 1) + plant.unit("pond", 2)
            port = free_port()
            agent.write(good, f"[metrics]\nport = {port}\n")
            agent.process.send_signal(signal.SIGHUP)
            await plant.asks(2, 2)
            await told(agent, "taken up, asked by signal", 1)
            figures = await asyncio.to_thread(urlopen, f"http://127.0.0.1:{port}/metrics", timeout=60)
            assert b"edge_agent_uptime_seconds" in figures.read()
            nothing, applied = await agent.reload(), await agent.edge("status")
            entries = await agent.entries("configuration")
            return checked, refused, status, before, text, plant, nothing, applied, entries, agent.log()

    checked, refused, status, before, text, plant, nothing, applied, entries, log = run(day())
    assert checked.returncode == refused.returncode == 1
    *problems, total = checked.stdout.splitlines()
    assert [line for line in refused.stdout.splitlines() if line in problems] == problems
    assert len(problems) == 4
    assert total.startswith("4 problems in ")
    assert refused.stdout.splitlines()[-1].endswith("agent.toml: nothing was changed")
    assert status.returncode == 0, "an agent runs, whatever stands in the file"
    assert "is not applied: run edge-agent reload" in " ".join(status.stdout.split())
    assert 2 not in plant.asked[:before]
    assert [line.count("got") for line in text.splitlines() if "not taken up" in line] == [4, 4], "a line each time"
    assert plant.connections == 1
    assert "nothing has changed" in nothing.stdout
    assert "is not applied" not in applied.stdout
    assert [(each["facts"]["by"], each["facts"]["changed"]) for each in entries] == [
        ("signal", "sources.pond added, metrics added")
    ]
    assert log.count("taken up, asked by signal: sources.pond added, metrics added") == 1


async def told(agent, words, times):
    """Return the agent's log once it says something so often."""
    async with asyncio.timeout(60):
        while (text := agent.log()).count(words) < times:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    return text


def test_with_one_thing_that_needs_a_restart_nothing_of_the_file_is_taken_up(tmp_path):
    async def day():
        plant = Plant()
        async with plant.served(), running(tmp_path, plant, plant.unit("tank", 1)) as agent:
            await plant.asks(1, 2)
            before = await agent.status()
            head = f'[upstream]\nurl = "mqtt://127.0.0.1:{free_port()}"\nbuffer = {{ max_bytes = "64MiB" }}\n'
            agent.write(plant.unit("tank", 1) + plant.unit("pond", 2), head)
            refused = await agent.reload()
            await plant.asks(1, 10)
            return refused, before, await agent.status(), plant.asked

    refused, before, after, asked = run(day())
    assert refused.returncode == 1
    told, last = refused.stdout.splitlines()
    assert told.startswith("agent.toml: upstream.buffer.max_bytes: got 67108864, wanted 268435456, with which it runs")
    assert "needs a restart" in told
    assert "nothing was changed" in last
    assert 2 not in asked
    assert after["upstream"] is None
    assert after["agent"]["config"] == before["agent"]["config"]


def test_upstream_is_moved_to_another_broker_and_what_waits_goes_out_there(tmp_path):
    """With a wrong password first: the file that holds it is all that changes, and the session alone begins anew."""

    def sources(plant):
        return plant.unit("tank", 1) + plant.line()

    async def day():
        plant = Plant()
        password = tmp_path / "password"
        password.write_text("one")
        with Broker(tmp_path) as first, Broker(tmp_path, users={"edge": "two"}) as second:
            async with plant.served(), running(tmp_path, plant, sources(plant), upstream(first)) as agent:
                await until(agent, lambda up: up["delivered"] >= 1)
                first.kill()
                await until(agent, lambda up: up["waiting"]["records"] >= 5)
                login = 'username = "edge"\npassword_file = "password"\n'
                agent.write(sources(plant), upstream(second) + login)
                moved = await agent.reload()
                refused = await until(agent, lambda up: up["url"] == second.url and up["last_error"])
                password.write_text("two")
                let_in = await agent.reload()
                found = await until(agent, lambda up: up["delivered"] > refused["delivered"])
                key = PublicKey.from_text((agent.data / "keys" / "agent.pub").read_bytes())
                seq = 0
                async for change in Mirror(
                    second.url, "w", key, access=BrokerAccess(username="edge", password_file=str(password))
                ):
                    seq = change.seq
                    if seq >= refused["delivered"] + refused["waiting"]["records"]:
                        break
                status = await agent.status()
                return moved, refused, let_in, found, seq, status, plant

    moved, refused, let_in, found, seq, status, plant = run(day())
    assert moved.stdout.splitlines()[0] == "upstream changed (username, password_file, url)"
    assert let_in.stdout.splitlines()[0] == "upstream changed (password_file)"
    assert refused["waiting"]["records"] >= 5, "what waits survived the move"
    assert found["url"] == status["upstream"]["url"]
    assert seq >= refused["delivered"] + refused["waiting"]["records"]
    assert status["buses"][0]["polls"][0]["failed"] == 0
    assert plant.connections == 1


def upstream(broker):
    return f'[upstream]\nurl = "{broker.url}"\n'


async def until(agent, holds):
    """Wait until what the status says of upstream holds, and return it."""
    async with asyncio.timeout(120):
        while True:
            found = (await agent.status())["upstream"]
            if holds(found):
                return found
            await asyncio.sleep(0.05)


def test_killed_in_the_middle_of_a_reload_it_starts_with_the_new_file_on_a_sound_log(tmp_path):
    async def day():
        plant = Plant()
        async with plant.served(), running(tmp_path, plant, plant.unit("tank", 1)) as agent:
            for round_, pause_s in enumerate((0.0, 0.1, 0.3)):
                await plant.asks(1, 2)
                agent.write(plant.unit("tank", 1) + plant.unit("pond", 2, f"{100 + round_}ms"))
                reader, writer = await asyncio.open_unix_connection(str(agent.data / "reload.sock"))
                assert json.loads(await reader.readline())["file"] == str(agent.config)
                await asyncio.sleep(pause_s)  # it is under way: somewhere between asked for and taken up
                await agent.kill()
                writer.close()
                assert agent.verify().returncode == 0
                await agent.start()
                await plant.asks(2, 2)
                assert (await agent.polls())["pond"]["every_s"] == pytest.approx((100 + round_) / 1000)

    run(day())
