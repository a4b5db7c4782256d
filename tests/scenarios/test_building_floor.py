"""The specification's own example, from its file in reference/examples, through the whole loop."""

import asyncio

from building_floor import EXAMPLE, HEALTHY_S, SETPOINT_DEGC, WARMING_DEGC_PER_S, Room, expect

from edge_agent.cli.main import main
from edge_agent.config import load
from edge_agent.judge.monitor import Watch
from edge_agent.model.checked import plain
from edge_agent.model.reading import Anchor, Instant, Reading
from edge_agent.model.record import ZERO_DIGEST, Entry
from edge_agent.seal.digest import entity_digests
from edge_agent.seal.keys import PrivateKey
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
        text = EXAMPLE.read_text().replace("/var/lib/edge-agent", str(folder / "data"))
        http = 'kind = "http"\nurl = "http://127.0.0.1:8080/status"\npoll = "30s"'
        text = text.replace(http, 'kind = "mqtt"\nurl = "mqtt://127.0.0.1"\ntopic = "ac"')
        path.write_text(text)
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
    assert main(["check", str(Floor(tmp_path).path)]) in (0, 1)
    assert "room-sensor" in capsys.readouterr().out
