"""A plant of any devices: each reads as its profile's examples say, over the real protocol, and can be unplugged."""

import asyncio
import contextlib
import sys

import pytest

from edge_agent.config import load_profile, profile_names
from edge_agent.model.checked import Name, Seconds
from edge_agent.model.errors import ConfigError, LinkError
from edge_agent.model.profile import SerialProfile
from edge_agent.model.site import ModbusSettings, SerialSettings
from edge_agent.model.worked_in import worked_in
from edge_agent.plant.faults import Trouble
from edge_agent.plant.simulation import DeviceSettings, FaultSettings, PlantSettings, Simulation
from edge_agent.plant.spoken import at_first, frames
from edge_agent.service.clock import Clock
from edge_agent.service.wiring import links
from edge_agent.twin.frames import Frame
from edge_agent.twin.framing import framer
from edge_agent.twin.spoken import understood


def run(case):
    async def in_time():
        async with asyncio.timeout(60):
            await case

    asyncio.run(in_time(), debug=True)


@contextlib.asynccontextmanager
async def plant(folder, *devices):
    settings = PlantSettings(devices=devices, folder=str(folder / "ports"))
    found = Simulation(settings, {device.name: load_profile(device.profile) for device in devices})
    await found.start()
    try:
        yield found
    finally:
        await found.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}


def device(name, profile, **rest):
    return DeviceSettings(name=Name(name), profile=profile, period=Seconds(0.05), **rest)


def link_to(place):
    profile = load_profile(place.device.profile)
    if place.kind == "serial":
        settings = SerialSettings(name=place.device.name, url=place.url)
    else:
        settings = ModbusSettings(name=place.device.name, url=place.url, unit=place.device.unit)
    (link,) = links([worked_in(settings, profile, "w:device:d", "device")], Clock())
    return link


async def said(link, wanted):
    """Read until each of the wanted points was good once; return what they said first."""
    found = {}
    while not wanted <= found.keys():
        for poll in list(link.polls):
            for reading in await link.read(poll):
                if reading.quality == "good":
                    found.setdefault(reading.point, reading.value)
    return found


SPEAKING = [name for name in profile_names() if isinstance(load_profile(name), SerialProfile)]


@pytest.mark.parametrize("name", SPEAKING)
def test_what_a_serial_device_says_is_found_by_its_own_framing_and_follows_its_values(name):
    profile = load_profile(name)
    values = at_first(profile)
    moved = {k: v + 1 if isinstance(v, float) and k not in ("time", "gas") else v for k, v in values.items()}
    for said_values in (values, moved):
        each = framer(profile.framing)
        each.quiet()
        each.feed(b"\n")
        found = {}
        for frame in frames(profile, said_values):
            for one in each.feed(frame):
                assert isinstance(one, Frame), one
                found |= {
                    n: v for n, (v, q) in understood(profile.framing, profile.points, one.data).items() if q == "good"
                }
        assert found.keys() == values.keys()
        if name != "nmea-gps":  # a receiver that does not move
            for key, value in said_values.items():
                assert found[key] == (pytest.approx(value, abs=0.51) if isinstance(value, float) else value), key


def test_a_serial_device_is_found_again_under_its_name_after_it_was_unplugged(tmp_path):
    async def case():
        async with plant(tmp_path, device("line", "line-sensor")) as found:
            link = link_to(found.places[0])
            await link.open()
            assert (await said(link, {"flow"}))["flow"] == pytest.approx(12.5, rel=0.02)
            await found.unplug("line")
            with pytest.raises(LinkError):
                await said(link, {"no such point"})
            with pytest.raises(LinkError):
                await link.open()
            await found.plug("line")
            await link.open()
            assert "flow" in await said(link, {"flow"})
            await link.close()

    run(case())


def test_devices_share_a_serial_line_as_rtu_and_a_unit_that_is_dead_is_silent_alone(tmp_path):
    async def case():
        devices = (device("a", "xy-md02", line=Name("bus")), device("b", "xy-md02", line=Name("bus"), unit=2))
        async with plant(tmp_path, *devices) as found:
            one, other = (link_to(place) for place in found.places)
            await one.open()
            assert (await said(one, {"temperature"}))["temperature"] == pytest.approx(21.5, rel=0.02)
            found.trouble("a").begin("dead")
            with pytest.raises(LinkError):
                await one.read(one.polls[0])
            await one.close()
            await other.open()
            assert "humidity" in await said(other, {"humidity"})
            await other.close()
            assert found.modbus["a"] is found.modbus["b"]

    run(case())


def test_a_bus_that_is_unplugged_is_there_again_and_its_neighbours_with_it(tmp_path):
    async def case():
        devices = (device("a", "xy-md02"), device("b", "xy-md02", unit=2))
        async with plant(tmp_path, *devices) as found:
            link = link_to(found.places[1])
            await link.open()
            assert "temperature" in await said(link, {"temperature"})
            await found.unplug("a")
            await asyncio.sleep(0.3)  # some ticks of the neighbour, which has nobody to show its values to
            with pytest.raises(LinkError):
                await link.open()
            await found.plug("a")
            await link.open()
            assert "temperature" in await said(link, {"temperature"})
            await link.close()

    run(case())


def test_a_fault_begins_and_ends_when_its_plant_says(tmp_path):
    async def case():
        fault = FaultSettings(kind="exception", after=Seconds(0.3), lasts=Seconds(0.5))
        async with plant(tmp_path, device("a", "xy-md02", faults=(fault,))) as found:
            seen = []
            while seen[-2:] != [True, False]:
                if seen[-1:] != [found.trouble("a").has("exception")]:
                    seen.append(found.trouble("a").has("exception"))
                await asyncio.sleep(0.01)
            assert seen == [False, True, False]

    run(case())


@pytest.mark.parametrize(
    "devices",
    [
        (device("a", "xy-md02"), device("b", "xy-md02")),
        (device("a", "xy-md02"), device("a", "xy-md02", unit=2)),
        (device("a", "xy-md02", values={"temprature": 1.0}),),
        (device("a", "xy-md02", faults=(FaultSettings(kind="drift", point=Name("pressure")),)),),
    ],
)
def test_a_plant_that_cannot_be_is_refused_before_anything_opens(devices):
    with pytest.raises(ConfigError):
        Simulation(PlantSettings(devices=devices), {d.name: load_profile(d.profile) for d in devices})


def test_what_is_wrong_with_a_device_shows_in_what_it_says():
    points = load_profile("circulation-pump").points
    trouble = Trouble(points, late_s=3)
    true = {"speed": 1000.0, "firmware": 14, "valve": True, "bearing_temp": 0.0}
    assert trouble.shown(true, 0.0) == true
    trouble.begin("drift", 10.0, "speed")
    assert trouble.shown(true, 20.0) == true | {"speed": 1100.0}
    trouble.end("drift")
    trouble.begin("stuck")
    assert trouble.shown(true, 0.0) == true
    assert trouble.shown(true | {"speed": 5.0}, 0.0) == true
    trouble.end("stuck")
    trouble.begin("jump")
    assert trouble.shown(true, 0.0) == true | {"speed": 11000.0, "bearing_temp": 1000.0, "firmware": 14}
    trouble.end("jump")
    trouble.begin("firmware-change")
    assert trouble.shown(true, 0.0)["firmware"] == 101
    assert list(trouble.pieces(b"abc")) == [(0.0, b"abc")]
    trouble.begin("late")
    assert list(trouble.pieces(b"abc")) == [(3, b"abc")]
    trouble.begin("slow-drip")
    assert [piece for _, piece in trouble.pieces(b"abc")] == [b"a", b"b", b"c"]
    trouble.begin("garbage")
    assert b"".join(piece for _, piece in trouble.pieces(b"abc" * 9)) != b"abc" * 9
    trouble.begin("dead")
    assert list(trouble.pieces(b"abc")) == []


def test_only_a_device_that_publishes_needs_a_broker_to_be_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "edge_agent.plant.broker", None)

    async def case(one):
        async with plant(tmp_path, one) as found:
            assert found.places

    run(case(device("meter", "eastron-sdm630")))
    with pytest.raises(ConfigError, match=r"broker: got nothing, wanted the URL of a broker.*pip install"):
        run(case(device("room", "json-climate")))
