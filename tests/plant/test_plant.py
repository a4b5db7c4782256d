"""The plant as its visitors meet it: a Modbus client, a serial port and an MQTT client, each of the real kind."""

import asyncio
import contextlib
import functools
import json
import operator

import pytest
import serial
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from edge_agent.config import load_profile
from edge_agent.model.layout import PROFILE_FOLDERS
from edge_agent.model.profile import ModbusProfile
from edge_agent.model.site import BrokerAccess, ModbusSettings
from edge_agent.model.worked_in import worked_in
from edge_agent.mqtt import Session
from edge_agent.plant.modbus import ModbusPlant
from edge_agent.plant.physics import BearingDrift
from edge_agent.plant.plant import METER_UNIT, PUMP_UNIT, ROOM_TOPIC, Plant
from edge_agent.service.clock import Clock
from edge_agent.sources.modbus import links
from edge_agent.twin.codec import decode, encode, width

METER = load_profile("eastron-sdm630")
PUMP = load_profile("circulation-pump")
LINE = load_profile("line-sensor")
PROFILES = sorted({path.stem for folder in PROFILE_FOLDERS for path in folder.glob("*.toml")})
READ = {1: "read_coils", 2: "read_discrete_inputs", 3: "read_holding_registers", 4: "read_input_registers"}


def run(case):
    async def in_time():
        async with asyncio.timeout(60):
            await case

    asyncio.run(in_time(), debug=True)


@contextlib.asynccontextmanager
async def plant(**settings):
    found = Plant(METER, PUMP, LINE, **settings)
    addresses = await found.start()
    try:
        yield found, addresses
    finally:
        await found.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}


@contextlib.asynccontextmanager
async def client(port, timeout_s=2):
    found = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=timeout_s, retries=0)
    assert await found.connect()
    try:
        yield found
    finally:
        found.close()


async def read(modbus, unit, profile, name):
    point = next(point for point in profile.points if point.name == name)
    ask = getattr(modbus, READ[point.function])
    answer = await ask(point.address, count=width(point), device_id=unit)
    assert not answer.isError(), f"{name}: {answer}"
    found = answer.bits[:1] if point.function in (1, 2) else answer.registers
    return decode(point, found)


async def write(modbus, name, value):
    point = next(point for point in PUMP.points if point.name == name)
    if point.function == 1:
        return await modbus.write_coil(point.address, value, device_id=PUMP_UNIT)
    return await modbus.write_registers(point.address, encode(point, value), device_id=PUMP_UNIT)


async def until(ask, holds):
    while not holds(found := await ask()):  # noqa: ASYNC110 - a register tells nobody that it changed
        await asyncio.sleep(0.02)
    return found


def test_every_point_of_both_modbus_devices_reads_as_a_good_value():
    async def case():
        async with plant() as (found, _), client(found.modbus.port) as modbus:
            seen = {}
            for unit, profile in ((METER_UNIT, METER), (PUMP_UNIT, PUMP)):
                for point in profile.points:
                    seen[point.name], quality = await read(modbus, unit, profile, point.name)
                    assert quality == "good", point.name
            assert 220 < seen["voltage_l1"] < 240
            assert 3500 < seen["power_total"] < 4800
            assert 49.9 < seen["frequency"] < 50.1
            assert 1230 < seen["energy_import"] < 1240
            assert 50 < seen["bearing_temp"] < 58
            assert 4.5 < seen["motor_current"] < 5.5
            assert 1440 < seen["speed"] < 1460
            assert seen["valve"] is True
            assert seen["serial"]

    run(case())


def test_what_a_client_writes_stays_and_moves_the_plant():
    async def case():
        async with plant() as (found, _), client(found.modbus.port) as modbus:
            ask = functools.partial(read, modbus, PUMP_UNIT, PUMP)
            assert not (await write(modbus, "speed_setpoint", 700)).isError()
            assert not (await write(modbus, "valve", False)).isError()
            await until(lambda: ask("speed"), lambda seen: seen[0] < 1400)
            assert await ask("speed_setpoint") == (700, "good")
            assert await ask("valve") == (False, "good")
            assert found._moment.line["flow"] == 0

    run(case())


def test_a_bearing_that_wears_shows():
    async def case():
        drift = BearingDrift(start_s=0.2, rate_degc_per_min=2000)
        async with plant(drift=drift) as (found, _), client(found.modbus.port) as modbus:
            for name, worn in (("bearing_temp", 62), ("vibration", 2)):
                await until(functools.partial(read, modbus, PUMP_UNIT, PUMP, name), lambda s, w=worn: s[0] > w)

    run(case())


def test_a_register_that_no_point_holds_is_an_illegal_address():
    async def case():
        server = ModbusPlant({7: METER})
        await server.start()
        async with client(server.port) as modbus:
            held = {point.address + n for point in METER.points if point.function == 4 for n in range(width(point))}
            gap = next(address for address in range(0xFFFF) if address not in held)
            assert (await modbus.read_input_registers(gap, count=1, device_id=7)).exception_code == 2
            assert (await modbus.read_input_registers(gap - 1, count=2, device_id=7)).exception_code == 2
            assert (await modbus.read_holding_registers(0x2FFF, count=1, device_id=7)).exception_code == 2
        await server.stop()

    run(case())


def test_a_silent_unit_times_out_while_its_neighbour_answers():
    async def case():
        async with plant() as (found, _), client(found.modbus.port, timeout_s=0.2) as modbus:
            found.modbus.trouble[METER_UNIT].begin("dead")
            with pytest.raises(ModbusIOException):
                await read(modbus, METER_UNIT, METER, "voltage_l1")
            assert (await read(modbus, PUMP_UNIT, PUMP, "speed"))[1] == "good"
            found.modbus.trouble[METER_UNIT].end("dead")
            assert (await read(modbus, METER_UNIT, METER, "voltage_l1"))[1] == "good"

    run(case())


@pytest.mark.parametrize("name", PROFILES)
def test_any_modbus_profile_can_be_simulated(name):
    profile = load_profile(name)
    if not isinstance(profile, ModbusProfile):
        return

    async def case():
        server = ModbusPlant({1: profile})
        await server.start()
        settings = ModbusSettings(name="m", url=f"tcp://127.0.0.1:{server.port}", unit=1)
        (link,) = links([worked_in(settings, profile, "w:device:m", "device")], Clock())
        await link.open()
        try:
            for example in profile.examples:
                await server.show(1, example.values)
                found = {r.point: (r.value, r.quality) for poll in list(link.polls) for r in await link.read(poll)}
                for key, value in example.values.items():
                    assert found[key] == (value if isinstance(value, str) else pytest.approx(value), "good"), key
        finally:
            await link.close()
            await server.stop()

    run(case())


def test_a_sensor_stays_at_the_end_of_its_range():
    async def case():
        server = ModbusPlant({1: PUMP})
        await server.start()
        await server.show(1, {"bearing_temp": 10_000.0})
        highest = next(point.range[1] for point in PUMP.points if point.name == "bearing_temp")
        assert await server.standing(1, "bearing_temp") == highest
        await server.stop()

    run(case())


def test_the_line_writes_checksummed_values_to_a_serial_port():
    async def case():
        async with plant(line_period_s=0.05) as (_, addresses):
            with serial.Serial(addresses.serial_path, 115200, timeout=2, exclusive=True) as port:
                lines = [await asyncio.to_thread(port.readline) for _ in range(6)]
        values = {}
        for line in lines[1:]:  # the first may have begun before the port was open
            body, checksum = line.rstrip(b"\n").split(b"*")
            assert int(checksum, 16) == functools.reduce(operator.xor, body)
            name, *rest = body.decode().split(",")
            values[name] = rest
        assert values["#id"] == ["line-sensor", "1.4.0"]
        assert 86 < float(values["flow"][0]) < 94
        assert 58 < float(values["inlet_temp"][0]) < 67

    run(case())


def test_a_line_that_nobody_reads_neither_blocks_nor_fails():
    async def case():
        async with plant(line_period_s=0.001) as (found, _):
            for _ in range(1000):
                found.serial.say({"flow": 12.0})

    run(case())


def test_the_room_is_published_and_again_after_the_broker_was_away():
    async def heard(url):
        session = Session(url, BrokerAccess(protocol="3.1.1"), "listener")
        await session.open()
        await session.subscribe([ROOM_TOPIC])
        message = await session.next_message()
        await session.close()
        return message

    async def case():
        async with plant(room_period_s=0.05) as (found, addresses):
            message = await heard(addresses.broker_url)
            values = json.loads(message.payload)
            assert message.topic == ROOM_TOPIC
            assert 20 < values["temperature"] < 24
            assert 30 < values["humidity"] < 50
            await found.broker.stop()
            await found.broker.start()
            assert json.loads((await heard(addresses.broker_url)).payload).keys() == values.keys()

    run(case())


def test_a_port_that_is_taken_leaves_nothing_open():
    async def case():
        async with plant() as (found, _):
            second = Plant(METER, PUMP, LINE, modbus_port=found.modbus.port)
            with pytest.raises(RuntimeError):
                await second.start()
            assert not second.serial.port.is_plugged
            await second.stop()

    run(case())
