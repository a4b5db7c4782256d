"""The whole way, as a user would: `edge-agent run` as a process, a plant, a real mosquitto, a mirror outside."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time

import pytest
from peers import Broker, free_port

from edge_agent.cli.stored import open_folder
from edge_agent.config import load_profile
from edge_agent.plant.plant import Plant
from edge_agent.seal.digest import state_digest
from edge_agent.service.boot import restore
from edge_agent.store.keys import load_public
from edge_agent.uplink.mirror import Mirror

COMMAND = [sys.executable, "-m", "edge_agent.cli"]
SOURCES = """
[[sources]]
name = "meter"
kind = "modbus"
url = "{modbus}"
unit = 1
profile = "eastron-sdm630"
poll = "100ms"
[[sources]]
name = "pump"
kind = "modbus"
url = "{modbus}"
unit = 2
profile = "circulation-pump"
poll = "100ms"
[[sources]]
name = "heating-line"
kind = "serial"
url = "serial://{serial}?baud=115200"
profile = "line-sensor"
[[sources]]
name = "room"
kind = "mqtt"
url = "{broker}"
topic = "plant/boiler-room"
profile = "json-climate"
"""


class Gateway:
    """`edge-agent run` on a configuration of its own."""

    def __init__(self, folder, sources, broker_url=None, upstream=""):
        self.folder = folder
        self.config = folder / "agent.toml"
        self.data = folder / "data"
        upstream = f'[upstream]\nurl = "{broker_url}"\n{upstream}' if broker_url else ""
        head = f'[agent]\nworld_id = "w"\ndata_dir = "{self.data}"\n[sync]\ninterval = "100ms"\n'
        self.config.write_text(head + upstream + sources)
        self.config.chmod(0o600)
        self.process = None

    async def start(self):
        with (self.folder / "agent.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *COMMAND, "run", str(self.config), stdout=asyncio.subprocess.PIPE, stderr=log
            )
        line = await asyncio.wait_for(self.process.stdout.readline(), 60)
        assert line == b"READY\n", (self.folder / "agent.log").read_text()

    async def stop(self):
        """Ask to stop, and return (exit code, seconds it took)."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self.process.wait(), 60)
        return code, time.monotonic() - began

    async def kill(self):
        self.process.kill()
        await self.process.wait()

    def log(self):
        return (self.folder / "agent.log").read_text()

    def twin(self):
        """Return (sequence, state digest) of the twin that stands on disk."""
        folder = open_folder(self.data)
        world = restore("w", folder.end, folder.shelf.records, folder.snapshots, folder.key).standing.world
        return world.version, state_digest(world)

    async def reached(self, seq):
        """Wait until the log on disk holds a record; nobody but the disk could tell."""
        async with asyncio.timeout(60):
            while self.twin()[0] < seq:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.1)

    def verify(self):
        return subprocess.run([*COMMAND, "log", "verify", str(self.data)], capture_output=True, text=True)


@contextlib.asynccontextmanager
async def plant(broker_url=None):
    profiles = [load_profile(name) for name in ("eastron-sdm630", "circulation-pump", "line-sensor")]
    found = Plant(*profiles, broker_url=broker_url, line_period_s=0.1)
    where = await found.start()
    try:
        yield SOURCES.format(modbus=where.modbus_url, serial=where.serial_path, broker=where.broker_url)
    finally:
        await found.stop()


@contextlib.asynccontextmanager
async def gateway(folder, sources, broker_url=None):
    found = Gateway(folder, sources, broker_url)
    await found.start()
    try:
        yield found
    finally:
        if found.process.returncode is None:
            await found.kill()


async def follow(mirror, until, seconds=20):
    """Take changes until `until(mirror)` holds."""
    async with asyncio.timeout(seconds):
        while not until(mirror):
            await mirror.next_change()


def test_the_mirrors_twin_is_the_gateways(tmp_path, broker):
    async def day():
        async with plant(broker.url) as sources, gateway(tmp_path, sources, broker.url) as agent:
            key = load_public(agent.data / "keys" / "agent.pub")
            async with Mirror(broker.url, "w", key) as mirror:
                await follow(mirror, lambda m: m.world.version > 15)
                code, seconds = await agent.stop()
                last, digest = agent.twin()
                await follow(mirror, lambda m: m.world.version >= last)
                assert (code, state_digest(mirror.world)) == (0, digest)
                assert seconds < 5
                good = [mirror.world.state_of(n).quality for n in mirror.world.variables]
                assert good.count("good") == len(good)
            return agent

    agent = asyncio.run(day())
    found = agent.verify()
    assert found.returncode == 0, found.stdout
    assert "everything holds" in found.stdout


def test_a_killed_agent_goes_on_where_it_was_and_the_mirror_follows(tmp_path, broker):
    async def day():
        async with plant(broker.url) as sources, gateway(tmp_path, sources, broker.url) as agent:
            key = load_public(agent.data / "keys" / "agent.pub")
            async with Mirror(broker.url, "w", key) as mirror:
                for _ in range(3):
                    seen = mirror.world.version
                    await follow(mirror, lambda m, seen=seen: m.world.version > seen + 5)
                    await agent.kill()
                    assert agent.twin()[0] >= mirror.world.version, "what was published was durable before"
                    await agent.start()
                await follow(mirror, lambda m, seen=mirror.world.version: m.world.version > seen + 5)
                await agent.stop()
                last, digest = agent.twin()
                await follow(mirror, lambda m: m.world.version >= last)
                assert state_digest(mirror.world) == digest
                assert mirror.counts["lies"] == 0
            return agent

    agent = asyncio.run(day())
    assert agent.verify().returncode == 0, agent.verify().stdout
    assert "rebaseline" not in agent.log()


def test_what_happens_while_the_broker_is_away_is_delivered_when_it_is_back(tmp_path, broker):
    async def day():
        async with plant() as sources, gateway(tmp_path, sources, broker.url) as agent:
            key = load_public(agent.data / "keys" / "agent.pub")
            async with Mirror(broker.url, "w", key) as mirror:
                await follow(mirror, lambda m: m.world.version > 5)
                await asyncio.to_thread(broker.kill)
                before = agent.twin()[0]
                await agent.reached(before + 15)
                await asyncio.to_thread(broker.restart)
                await follow(mirror, lambda m: m.world.version > before + 20, 40)
                await agent.stop()
                last, digest = agent.twin()
                await follow(mirror, lambda m: m.world.version >= last)
                assert state_digest(mirror.world) == digest
                assert mirror.counts["lies"] == 0
            return agent

    agent = asyncio.run(day())
    assert agent.log().count("records are kept on disk") == 1


def test_without_any_broker_the_agent_serves_and_loses_nothing(tmp_path):
    async def day():
        async with plant() as sources, gateway(tmp_path, sources, f"mqtt://127.0.0.1:{free_port()}") as agent:
            await agent.reached(10)
            return await agent.stop(), agent

    (code, seconds), agent = asyncio.run(day())
    assert code == 0
    assert seconds < 5
    assert agent.verify().returncode == 0


DEAD = """
[[sources]]
name = "off"
kind = "modbus"
url = "tcp://127.0.0.1:{port}"
points = [{{ name = "x", function = 4, address = 0, type = "uint16" }}]
[[sources]]
name = "gone"
kind = "serial"
url = "serial:///dev/serial/by-id/nothing-here"
points = [{{ name = "x", field = "x" }}]
"""


def test_devices_that_are_off_say_so_in_the_twin_and_stop_nobody(tmp_path, broker):
    async def day():
        dead = DEAD.format(port=free_port())
        async with plant(broker.url) as sources, gateway(tmp_path, sources + dead, broker.url) as agent:
            key = load_public(agent.data / "keys" / "agent.pub")
            async with Mirror(broker.url, "w", key) as mirror:
                await follow(mirror, lambda m: m.world.version > 10)
                world = mirror.world
            await agent.stop()
        return world, agent

    world, agent = asyncio.run(day())
    quality = {v.source: world.state_of(n).quality for n, v in world.variables.items()}
    assert quality["off"] == "bad:link"
    assert quality["gone"] == "bad:link"
    assert quality["meter"] == quality["room"] == quality["heating-line"] == "good"
    assert agent.log().count("trying again") == 2, "each loudly once"


def test_a_second_agent_on_the_same_folder_is_refused_with_the_firsts_pid(tmp_path):
    async def day():
        async with plant() as sources, gateway(tmp_path, sources) as agent:
            second = await asyncio.to_thread(
                subprocess.run, [*COMMAND, "run", str(agent.config)], capture_output=True, text=True
            )
            return agent.process.pid, second

    pid, second = asyncio.run(day())
    assert second.returncode == 74
    assert str(pid) in second.stderr


def test_one_turn_by_hand_prints_the_report(tmp_path, broker):
    async def day():
        async with plant(broker.url) as sources:
            agent = Gateway(tmp_path, sources)
            return await asyncio.to_thread(
                subprocess.run, [*COMMAND, "sync", str(agent.config), "--json"], capture_output=True, text=True
            )

    done = asyncio.run(day())
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["status"] == "synced"
    assert report["twin_snapshot"]["state"]["variables"] == 46
    assert report["confidence"] == 1.0


def test_a_turn_by_hand_counts_the_silent_as_silent(tmp_path, broker):
    async def day():
        async with plant(broker.url) as sources:
            agent = Gateway(tmp_path, sources.replace('topic = "', 'topic = "nobody/'))
            return await asyncio.to_thread(
                subprocess.run,
                [*COMMAND, "sync", str(agent.config), "--json", "--patience", "1"],
                capture_output=True, text=True,
            )  # fmt: skip

    report = json.loads(asyncio.run(day()).stdout)
    assert 0 < report["confidence"] < 1
    assert any("were not good" in line for line in report["assumptions"]) == (report["confidence"] < 0.5)


def test_a_mirror_with_another_key_names_the_lie_and_ends_with_one(tmp_path, broker):
    async def day():
        async with plant(broker.url) as sources, gateway(tmp_path, sources, broker.url) as agent:
            other = tmp_path / "other.pub"
            made = await asyncio.to_thread(
                subprocess.run, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")]
            )
            assert made.returncode == 0
            return await asyncio.to_thread(
                subprocess.run,
                [*COMMAND, "mirror", "--url", broker.url, "--world", "w", "--key", str(other)],
                capture_output=True, text=True, timeout=60,
            ), agent  # fmt: skip

    done, _ = asyncio.run(day())
    assert done.returncode == 1
    assert "LIE" in done.stdout
    assert "signed by key" in done.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_the_mirrors_command_prints_what_it_verified(tmp_path, broker, as_json):
    async def day():
        async with plant(broker.url) as sources, gateway(tmp_path, sources, broker.url) as agent:
            command = ["mirror", "--url", broker.url, "--world", "w", "--key", str(agent.data / "keys" / "agent.pub")]
            process = await asyncio.create_subprocess_exec(
                *COMMAND, *command, *(["--json"] if as_json else []), stdout=asyncio.subprocess.PIPE
            )
            lines = [await asyncio.wait_for(process.stdout.readline(), 60) for _ in range(3 if as_json else 80)]
            process.terminate()
            return lines, await process.wait()

    lines, code = asyncio.run(day())
    assert code == -signal.SIGTERM
    if as_json:
        found = [json.loads(line) for line in lines]
        assert all(each["verified"] for each in found)
        assert [each["seq"] for each in found] == sorted({each["seq"] for each in found})
    else:
        assert any(b"meter.voltage_l1 = " in line for line in lines)


def test_the_demonstration_ends_by_itself_with_equal_twins():
    done = subprocess.run([*COMMAND, "demo", "--seconds", "45", "--json"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["equal"] is True
    assert result["gateway_digest"] == result["mirror_digest"]
    assert min(result["readings"], result["records"], result["records_verified"]) > 0
    assert any("pump.bearing_temp is" in sentence for sentence in result["findings"])
    assert result["actions"], "the drifting pump leads to a plan"
    assert not {each["stage"] for each in result["actions"]} & {
        "failed",
        "unknown",
        "rolled_back",
        "refused",
        "expired",
    }


def test_a_broker_is_a_real_mosquitto(tmp_path):
    with Broker(tmp_path) as found:
        assert found.url.startswith("mqtt://127.0.0.1:")
