"""The specification's own example, from its file in reference/examples, through the whole loop."""

import asyncio
import contextlib
import json

from building_floor import EXAMPLE, HEALTHY_S, SETPOINT_DEGC, WARMING_DEGC_PER_S, Room, expect
from peers import Broker

from edge_agent.cli.main import main
from edge_agent.config import load
from edge_agent.judge.watch import Watch
from edge_agent.model.checked import plain
from edge_agent.model.reading import Anchor, Instant, Reading
from edge_agent.model.record import ZERO_DIGEST, Entry
from edge_agent.model.site import BrokerAccess
from edge_agent.mqtt import Session
from edge_agent.seal.digest import entity_digests
from edge_agent.seal.keys import PrivateKey
from edge_agent.service.agent import Agent
from edge_agent.sync import Standing, commit, ground, sync
from edge_agent.twin.baseline import baseline, empty_world
from edge_agent.twin.diff import diff

START_MS = 1_700_000_000_000
KEY = PrivateKey.from_seed(bytes(range(32)))


class Disk:
    """Keeps nothing: what is told is looked at, not what is stored."""

    async def commit(self, sealed):
        pass


class Floor:
    """The floor's agent, fed with readings and a clock of its own."""

    def __init__(self, folder):
        path = folder / "agent.toml"
        path.write_text(EXAMPLE.read_text().replace("/var/lib/edge-agent", str(folder / "data")))
        path.chmod(0o600)
        self.path, self.site = path, load(path)
        start = empty_world(self.site.world_id)
        world = baseline(self.site, start)
        watch = Watch(self.site.settings.drift, world, self.site)
        self.ground = ground(self.site, world, watch, KEY, b"b" * 16)
        self.room, self.second, self.read = Room(), 0, {}
        standing = Standing(start, entity_digests(start), ZERO_DIGEST, {}, frozenset())
        first = commit(standing, world, diff(start, world), (Entry("start", {}),), self.ground, Disk(), self.now)
        self.standing = asyncio.run(first)

    @property
    def now(self):
        return Instant(START_MS + self.second * 1000, self.second * 10**9, True)

    def minute(self):
        """Let a minute pass: six messages of the sensor, two answers of the air conditioning, one turn."""
        readings = []
        for step in range(6):
            self.second += 10
            readings.append(self._reading("room-sensor", "temperature", self.room.temperature(self.second)))
            if step % 3 == 0:
                readings.append(self._reading("ac-status", "setpoint", SETPOINT_DEGC))
                readings.append(self._reading("ac-status", "zone", "floor-3"))
        self.standing, report = asyncio.run(sync(self.standing, readings, self.ground, Disk(), None, self.now))
        return plain(report)

    def _reading(self, source, point, value):
        self.read.setdefault(f"{source}/{point}", {})[self.now.at_ms] = value
        return Reading(Anchor(source, "heard", self.now), point, value)


def test_a_room_too_warm_for_ten_minutes_reads_as_the_specification_says(tmp_path):
    floor = Floor(tmp_path)
    reports = []
    while not reports or reports[-1]["status"] == "synced":
        reports.append(floor.minute())
        assert floor.second < 3 * 3600
    too_warm_s = HEALTHY_S + 1.5 / WARMING_DEGC_PER_S
    assert floor.second - too_warm_s >= 600 - 60, "it waits the ten minutes"
    expect(reports[-1], START_MS + int(too_warm_s * 1000), floor.read)
    assert {report["severity"] for report in (r["drift_report"] for r in reports[:-1])} == {"low"}
    assert floor.standing.world.entities["building-floor-3:controller:ac-3"].relations == (
        ("controls", "building-floor-3:zone:floor-3"),
    )


def test_it_is_told_once_and_stands_while_it_lasts(tmp_path):
    floor = Floor(tmp_path)
    told = [floor.minute() for _ in range(110)]
    triggers = [trigger for report in told for trigger in report["drift_report"]["triggers"]]
    assert len(triggers) > 5
    assert len(set(triggers)) == 1


def test_check_says_what_the_example_will_do(tmp_path, capsys):
    assert main(["check", str(Floor(tmp_path).path)]) == 0
    told = capsys.readouterr().out
    assert "floor-3.temperature is held against ac-3.setpoint: by 1.5 degC at most, for 600 s" in told


class Stepped:
    """A clock that stands until it is told that time has passed."""

    second = 0

    def __call__(self):
        return Instant(START_MS + Stepped.second * 1000, Stepped.second * 10**9, True)


async def air_conditioning(reader, writer):
    """Answer one GET with the status of a controller whose compressor no longer answers its thermostat."""
    await reader.readuntil(b"\r\n\r\n")
    body = json.dumps({"setpoint": SETPOINT_DEGC, "zone": "floor-3", "cooling": True}).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()


class Heard:
    """What truly came in, by source and point and then by wall time."""

    def __init__(self, inbox):
        self.values, self._put, self._news = {}, inbox.put, asyncio.Event()
        inbox.put = self.put

    def put(self, readings):
        readings = list(readings)
        for reading in readings:
            at_ms = reading.anchor.at.at_ms
            self.values.setdefault(f"{reading.anchor.source}/{reading.point}", {})[at_ms] = reading.value
        self._put(readings)
        self._news.set()

    async def since(self, place, at_ms):
        """Wait until something good was read at a place at or after a wall time."""
        while not [value for at, value in self.values.get(place, {}).items() if at >= at_ms and value is not None]:
            self._news.clear()
            await self._news.wait()


async def warm_day(agent, broker_url):
    """Let the floor warm up, half a minute at a time, until a turn tells of it."""
    room, heard = Room(), Heard(agent.inbox)
    sensor = Session(broker_url, BrokerAccess(), "sensor")
    await sensor.open()
    await agent._begin()
    async with asyncio.TaskGroup() as group:
        agent.buses.start(group)
        status = None
        while status in (None, "synced"):
            for _ in range(2):
                Stepped.second += 30
                now_ms = agent.clock().at_ms
                message = json.dumps({"temperature": room.temperature(Stepped.second)}).encode()
                # The sensor speaks again until it is heard: the link may not have subscribed yet.
                while now_ms not in heard.values.get("room-sensor/temperature", {}):
                    await sensor.publish("building/floor-3/climate", message)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            await heard.since("room-sensor/temperature", now_ms)
                await heard.since("ac-status/setpoint", now_ms)
            report = plain(await agent.turn())
            status = report["status"]
            assert Stepped.second < 3 * 3600
        agent.buses.stop()
    await sensor.close()
    return report, heard.values


def test_the_same_from_a_real_broker_and_a_real_server(tmp_path, monkeypatch):
    monkeypatch.setattr("edge_agent.service.agent.Clock", Stepped)
    Stepped.second = 0

    async def day(broker):
        server = await asyncio.start_server(air_conditioning, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        text = EXAMPLE.read_text().replace("/var/lib/edge-agent", str(tmp_path / "data")).replace(":8080", f":{port}")
        text = text.replace(":1883", f":{broker.port}").replace('poll = "30s"', 'poll = "20ms"')
        path = tmp_path / "agent.toml"
        path.write_text(text)
        path.chmod(0o600)
        agent = Agent(load(path))
        try:
            async with server:
                return await warm_day(agent, broker.url)
        finally:
            agent.close()

    with Broker(tmp_path) as broker:
        report, values = asyncio.run(day(broker))
    expect(report, START_MS + int((HEALTHY_S + 1.5 / WARMING_DEGC_PER_S) * 1000), values)
