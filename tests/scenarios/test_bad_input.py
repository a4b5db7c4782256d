"""Each fault of the simulated plant against each kind of source.

What holds for all: a value is never wrong and good at once, another device keeps its rate, what waits is bounded, and
the log says each change of state once.
"""

import asyncio
import contextlib
import gc
import logging
import tracemalloc

import pytest
from peers import Broker

from edge_agent.config import load_profile
from edge_agent.model.checked import Name, Seconds
from edge_agent.model.profile import HttpProfile, PathPoint, Provenance, TextExample
from edge_agent.model.reading import GOOD
from edge_agent.model.site import BrokerAccess, HttpSettings, ModbusSettings, MqttSettings, SerialSettings
from edge_agent.model.worked_in import worked_in
from edge_agent.plant.faults import DEVICE_FAULTS, WIRE_FAULTS
from edge_agent.plant.simulation import DeviceSettings, PlantSettings, Simulation
from edge_agent.service.clock import Clock
from edge_agent.service.door import Door
from edge_agent.service.inbox import Inbox
from edge_agent.service.runner import Runner
from edge_agent.service.wiring import links

WEB = HttpProfile(
    name=Name("web-climate"), title="Web climate", entity_type=Name("sensor"),
    provenance=Provenance("this test, and no device at all", "2026-11-25", verified=False), path="/status",
    points=(PathPoint(name=Name("temperature"), path="$.t.degc", unit="degC", range=(-60.0, 125.0)),),
    examples=(TextExample('{"t": {"degc": 21.5}}', {"temperature": 21.5}),),
)  # fmt: skip
KINDS = {
    "tcp": ("peacefair-pzem-004t", "voltage"),
    "rtu": ("xy-md02", "temperature"),
    "serial": ("line-sensor", "flow"),
    "mqtt": ("json-climate", "temperature"),
    "http": (WEB, "temperature"),
}
SPEAKS_BY_ITSELF = ("serial", "mqtt")
UNHARMED = {
    ("serial", "late"): "what is late on a line is dated when it came, and true",
    ("serial", "slow-drip"): "a line without a gap in its framing may come slowly",
    ("rtu", "slow-drip"): "a short answer may be whole before a patient bus gives it up, and is true",
    ("mqtt", "late"): "as on a line",
    ("mqtt", "slow-drip"): "a broker hands on whole messages",
}
"""Where nothing need be wrong with what arrives."""
MANY = 4
"""Readings of a neighbour that are waited for: it keeps its rate while the other is in trouble."""


class Watch:
    """Runners on the plant's devices, and what they brought."""

    def __init__(self, sources):
        clock = Clock()
        self.inbox = Inbox()
        self.links = links(sources, clock)
        door = Door(sources)
        self.runners = [Runner(link, self.inbox, clock, lambda: 0.0, door) for link in self.links]
        self.readings = []

    @contextlib.asynccontextmanager
    async def going(self):
        tasks = [asyncio.create_task(runner.run()) for runner in self.runners]
        try:
            yield self
        finally:
            for runner, task in zip(self.runners, tasks, strict=True):
                runner.stop(task)
            await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, holds):
        """Wait until what came from now on satisfies `holds`; return it."""
        fresh = []
        while not holds(fresh):
            await self.inbox.news()
            fresh += self.inbox.take()[0]
        self.readings += fresh
        return fresh


def of(readings, source, point, *, good=True):
    return [r for r in readings if (r.anchor.source, r.point) == (source, point) and (r.quality == GOOD) == good]


def settings_of(place, kind):
    name = place.device.name
    if kind in ("tcp", "rtu"):
        poll = Seconds(0.1 if kind == "tcp" else 0.4)
        return ModbusSettings(name=name, url=place.url, unit=place.device.unit, poll=poll)
    if kind == "serial":
        return SerialSettings(name=name, url=place.url, stale_after=Seconds(0.5))
    if kind == "http":
        return HttpSettings(name=name, url=place.url, poll=Seconds(0.1), timeout=Seconds(0.5))
    access = BrokerAccess(protocol="3.1.1")
    return MqttSettings(name=name, url=place.url, topic=f"plant/{name}", access=access, stale_after=Seconds(0.5))


@contextlib.asynccontextmanager
async def site(kind, folder, broker_url):
    """Run a victim and a neighbour of one kind, and the runners that read them."""
    named, point = KINDS[kind]
    profile = named if isinstance(named, HttpProfile) else load_profile(named)
    line = Name("bus") if kind == "rtu" else None
    devices = tuple(
        DeviceSettings(name=Name(name), profile=profile.name, unit=unit, line=line, period=Seconds(0.1))
        for unit, name in enumerate(("victim", "neighbour"), 1)
    )
    settings = PlantSettings(devices=devices, folder=str(folder / "ports"), broker=broker_url)
    plant = Simulation(settings, {device.name: profile for device in devices})
    for device in devices:
        plant.trouble(device.name)._late_s = 1.5
    await plant.start()
    try:
        sources = [
            worked_in(settings_of(place, kind), profile, f"w:device:{place.device.name}", "device")
            for place in plant.places
        ]
        async with Watch(sources).going() as watch:
            yield plant, watch, point, plant._devices["victim"].base[point]
    finally:
        await plant.stop()


def bus_is_shared(kind, fault):
    return fault == "unplugged" and kind in ("tcp", "rtu")


CASES = [(kind, fault) for kind in KINDS for fault in WIRE_FAULTS]


@pytest.mark.parametrize(("kind", "fault"), CASES, ids=lambda each: each)
def test_a_value_is_never_wrong_and_good_and_others_keep_their_rate(kind, fault, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("edge_agent.twin.patience._SETTLED_S", 2.0)  # longer than what is late is late here
    caplog.set_level(logging.INFO)

    async def case(broker_url):
        async with asyncio.timeout(200), site(kind, tmp_path, broker_url) as (plant, watch, point, true):
            await watch.until(lambda r: of(r, "victim", point) and of(r, "neighbour", point))
            caplog.clear()
            if fault == "unplugged":
                await plant.unplug("victim")
            else:
                plant.trouble("victim").begin(fault)
            harmed = (kind, fault) not in UNHARMED
            if harmed:
                await watch.until(lambda r: of(r, "victim", point, good=False))
            if not bus_is_shared(kind, fault):
                await watch.until(lambda r: len(of(r, "neighbour", point)) >= MANY)
            lines = [(record.levelno, record.getMessage()) for record in caplog.records]
            told = [text for level, text in lines if level >= logging.WARNING]
            back = sum("again" in text and level == logging.INFO for level, text in lines)
            waiting = sum(len(getattr(link, "dropped", ())) for link in watch.links)
            if fault == "unplugged":
                await plant.plug("victim")
            else:
                plant.trouble("victim").end(fault)
            await watch.until(lambda r: of(r, "victim", point) and of(r, "neighbour", point))
            return watch, point, true, told, back, waiting

    with Broker(tmp_path) as broker:
        watch, point, true, told, back, reasons = asyncio.run(case(broker.url))
    for name in ("victim", "neighbour"):
        for reading in of(watch.readings, name, point):
            assert abs(reading.value - true) < 0.05 * abs(true), reading
        for reading in of(watch.readings, name, point, good=False):
            assert reading.value is None
    assert all(told.count(text) <= 1 + back for text in told), "said again only after it was well again"
    assert reasons < 10, "drops are counted by reason, and not one by one"


@pytest.mark.parametrize("kind", KINDS)
def test_memory_stays_flat_while_a_device_talks_garbage(kind, tmp_path):
    async def case(broker_url):
        async with asyncio.timeout(200), site(kind, tmp_path, broker_url) as (plant, watch, point, _):
            plant.trouble("victim").begin("garbage")
            sizes = []
            for _ in range(2):
                await watch.until(lambda r: len(of(r, "neighbour", point)) >= MANY)
                watch.readings.clear()
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
            return sizes

    tracemalloc.start()
    try:
        with Broker(tmp_path) as broker:
            before, after = asyncio.run(case(broker.url))
    finally:
        tracemalloc.stop()
    assert after - before < 256 * 1024


@pytest.mark.parametrize("kind", ["tcp", "serial"])
@pytest.mark.parametrize("fault", DEVICE_FAULTS)
def test_what_a_device_says_of_itself_is_read_as_it_says_it(kind, fault, tmp_path):
    """A drift, a value that stays, a jump: the wire is not to blame, and the statistics see what was said."""

    async def case():
        async with asyncio.timeout(200), site(kind, tmp_path, None) as (plant, watch, point, true):
            await watch.until(lambda r: of(r, "victim", point))
            plant.trouble("victim").begin(fault, plant._elapsed_s() - 20)
            before = len(watch.readings)
            await watch.until(lambda r: SHOWS[fault](true, [x for x in r if x.anchor.source == "victim"], point))
            return true, of(watch.readings[before:], "victim", point)

    true, good = asyncio.run(case())
    assert all(reading.value is not None for reading in good)
    if fault == "firmware-change":
        assert all(abs(reading.value - true) < 0.05 * true for reading in good), "no range of firmware is named"


def newest(readings, point):
    return next((r for r in reversed(readings) if r.point == point), None)


SHOWS = {
    "drift": lambda true, seen, point: any(r.value > 1.1 * true for r in of(seen, "victim", point)),
    "stuck": lambda true, seen, point: (
        len({r.value for r in of(seen, "victim", point)[-MANY:]}) == 1 and len(of(seen, "victim", point)) > MANY
    ),
    # A wire register holds at the end of its range; what a line says may lie beyond, and is bad.
    "jump": lambda true, seen, point: (
        newest(seen, point) is not None
        and (newest(seen, point).quality == "bad:range" or newest(seen, point).value > 2 * true)
    ),
    "firmware-change": lambda true, seen, point: len(of(seen, "victim", point)) >= MANY,
}
"""By fault, when it has shown."""
