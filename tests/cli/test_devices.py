"""What a person on site does with a device: looks for it, reads it once, writes a profile for it."""

import asyncio
import contextlib
import json
import signal
import subprocess
import threading
import tomllib

import pytest
from test_cli import COMMAND, quiet, run

from edge_agent.config import load_profile
from edge_agent.model.layout import PROFILE_FOLDERS
from edge_agent.plant.modbus import ModbusPlant
from edge_agent.plant.mqtt import MqttPlant
from edge_agent.plant.serial import SerialPlant

UNITS = {1: "eastron-sdm630", 2: "sunspec-inverter", 3: "carlo-gavazzi-em24-ethernet"}


@contextlib.contextmanager
def going(main):
    """Run a plant beside the test: `main(ready)` calls `ready` with what the test needs, and waits to be cancelled."""
    started = threading.Event()
    said = []
    loop = asyncio.new_event_loop()

    def ready(found):
        said.append(found)
        started.set()

    task = loop.create_task(main(ready))

    def go():
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=go)
    thread.start()
    try:
        assert started.wait(20)
        yield said[0]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(20)
        loop.close()


@pytest.fixture(scope="module")
def bus():
    async def main(ready):
        plant = ModbusPlant({unit: load_profile(name) for unit, name in UNITS.items()})
        await plant.start()
        try:
            plant.trouble[1].begin("firmware-change")
            ready((f"tcp://127.0.0.1:{plant.port}", plant))
            await asyncio.Event().wait()
        finally:
            await plant.stop()

    with going(main) as found:
        yield found


def test_probe_shows_raw_value_unit_and_quality(bus):
    done = run("probe", bus[0], "--profile", "eastron-sdm630")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert lines["point"] == ["point", "raw", "value", "unit", "quality"]
    assert lines["voltage_l1"] == ["voltage_l1", "4366", "8000", "230.5", "V", "good"]
    assert lines["energy_export"] == ["energy_export", "0000", "0000", "0", "kWh", "good"]


def test_probe_with_all_orders_shows_which_one_makes_sense(bus):
    done = run("probe", bus[0], "--profile", "carlo-gavazzi-em24-ethernet", "--unit", 3, "--all-orders", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["point"]: row for row in json.loads(done.stdout)}
    assert rows["voltage_l1"]["orders"] == {"ABCD": None, "BADC": None, "CDAB": 230.5, "DCBA": 26.5}
    assert rows["voltage_l1"]["value"] == 230.5
    assert rows["serial"]["value"] == "AB1234567890X"


def test_probe_walks_a_sunspec_chain_and_scales_by_what_it_found(bus):
    done = run("probe", bus[0], "--profile", "sunspec-inverter", "--unit", 2, "--json")
    rows = {row["point"]: row for row in json.loads(done.stdout)}
    assert (rows["frequency"]["raw"], rows["frequency"]["value"]) == ("1386", 49.98)
    assert rows["state"]["value"] == "mppt"


def test_probe_of_a_unit_that_is_silent_says_what_did_not_come_and_ends_with_one(bus):
    done = run("probe", bus[0], "--profile", "xy-md02", "--unit", 9)
    assert done.returncode == 1
    assert "not read" in done.stdout
    assert "no answer within" in done.stdout
    assert quiet(done)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tcp://127.0.0.1:1", "--profile", "xy-md02"), "cannot connect"),
        (("tcp://127.0.0.1:1", "--profile", "xy-md20"), 'did you mean "xy-md02"'),
        (("tcp://127.0.0.1:1", "--profile", "tasmota"), "a profile for mqtt"),
        (("gopher://127.0.0.1", "--profile", "xy-md02"), "tcp, tls, rtu"),
        (("serial:///dev/nothing-there", "--profile", "nmea-gps"), "/dev/nothing-there"),
    ],
)
def test_probe_says_what_is_wrong_with_its_words(words, said):
    done = run("probe", *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert quiet(done)


def test_probe_listens_to_what_speaks_by_itself_until_all_was_said():
    async def main(ready):
        plant = SerialPlant(load_profile("line-sensor"))
        plant.start()
        try:
            ready(f"serial://{plant.path}?baud=115200")
            while True:
                plant.say({"flow": 12.5, "inlet_temp": 0.0})
                await asyncio.sleep(0.1)
        finally:
            plant.stop()

    with going(main) as url:
        done = run("probe", url, "--profile", "line-sensor", "--json")
    assert done.returncode == 0, done.stderr
    found = {row["point"]: (row["value"], row["quality"]) for row in json.loads(done.stdout)}
    assert found["flow"] == (12.5, "good")
    assert found["inlet_temp"] == (0.0, "good")
    assert found["firmware"] == ("1.4.0", "good")


def test_probe_reads_a_device_behind_a_broker(broker):
    async def main(ready):
        measured = {"temperature": 21.5, "humidity": 0.0}
        sensor = asyncio.create_task(MqttPlant(broker.url, 0.1, lambda: {"site/attic": measured}).run())
        ready(None)
        await sensor

    with going(main):
        done = run("probe", broker.url, "--profile", "json-climate", "--topic", "site/attic", "--json")
    assert done.returncode == 0, done.stderr
    assert [(r["value"], r["quality"]) for r in json.loads(done.stdout)] == [(21.5, "good"), (0.0, "good")]


def test_scan_finds_the_units_that_are_there_and_writes_nothing(bus):
    done = run("scan", bus[0], "--units", "1-5", "--timeout", 1, "--json")
    assert done.returncode == 0, done.stderr
    found = {each["unit"]: each for each in json.loads(done.stdout)}
    assert set(found) == set(UNITS)
    assert found[3]["device"] == "carlo-gavazzi-em24-ethernet"
    assert "AB1234567890X" in found[3]["says"]
    assert "eastron-sdm630" in found[1]["like"]
    assert "sunspec-inverter" in found[2]["like"]
    assert bus[1].writes == 0


def test_scan_of_an_empty_bus_ends_with_one(bus):
    done = run("scan", bus[0], "--units", "8,9")
    assert (done.returncode, done.stdout) == (1, "no unit answered\n")


def test_profiles_are_listed_and_shown():
    listed = json.loads(run("profiles", "list", "--json").stdout)
    assert len(listed) >= 25
    assert {each["protocol"] for each in listed} >= {"modbus", "serial", "mqtt"}
    shown = run("profiles", "show", "eastron-sdm630")
    assert "never touched: 61456 to 61456 (0xF010 to 0xF010)" in shown.stdout
    assert "fc4 0 (0x0000) float32" in shown.stdout


FILLED = {
    "<maker, model and what it is>": "A meter of ours",
    "<the document and its page, or the driver and its file>": "Our meter's manual of 2026, page 7",
    "<the day you read it, such as 2026-11-24>": "2026-11-24",
    "<the name before the comma>": "temp",
    "<name,21.5>": "temp,21.5",
    '<{"temperature": 21.5}>': '{"temperature": 21.5}',
    "<maker>/": "ours/",
}


@pytest.mark.parametrize("protocol", ["modbus", "serial", "mqtt", "http"])
def test_a_new_profile_is_refused_until_it_is_filled_in_and_then_sound(tmp_path, protocol):
    skeleton = run("profiles", "new", protocol, "my-device")
    file = tmp_path / "my-device.toml"
    file.write_text(skeleton.stdout)
    refused = run("profiles", "check", file)
    assert refused.returncode == 1
    assert "not filled in" in refused.stdout
    text = skeleton.stdout
    for place, filling in FILLED.items():
        text = text.replace(place, filling)
    file.write_text(text)
    done = run("profiles", "check", file)
    assert (done.returncode, done.stdout) == (0, f"{file}: sound\n")


def test_a_filled_in_profile_reads_its_device(tmp_path, bus):
    text = run("profiles", "new", "modbus", "my-meter").stdout
    for place, filling in FILLED.items():
        text = text.replace(place, filling)
    file = tmp_path / "my-meter.toml"
    file.write_text(text)
    done = run("probe", bus[0], "--profile", file)
    assert done.returncode == 0, done.stderr
    assert "230.5  V     good" in done.stdout


def test_check_of_a_profile_names_the_example_that_does_not_hold(tmp_path):
    text = (PROFILE_FOLDERS[1] / "xy-md02.toml").read_text().replace("temperature = 21.5", "temperature = 21.6")
    file = tmp_path / "xy-md02.toml"
    file.write_text(text)
    done = run("profiles", "check", file)
    assert done.returncode == 1
    assert "examples.1.values.temperature: got 21.6 where it decodes to 21.5" in done.stdout


PLANT = """
[[devices]]
name = "meter"
profile = "eastron-sdm120"
faults = [{ kind = "exception" }]

[[devices]]
name = "line"
profile = "line-sensor"
period = "100ms"

[[devices]]
name = "attic"
profile = "zigbee2mqtt-climate"
period = "100ms"

[[devices]]
name = "cellar"
profile = "json-climate"
"""


def test_simulate_says_where_each_device_is_and_serves_it_until_it_is_told_to_stop(tmp_path):
    file = tmp_path / "plant.toml"
    file.write_text(f'folder = "{tmp_path}/ports"\n{PLANT}')
    plant = subprocess.Popen([*COMMAND, "simulate", str(file)], stdout=subprocess.PIPE, text=True)
    try:
        said = "".join(iter(plant.stdout.readline, "READY\n"))
        meter, line, attic, _ = tomllib.loads(said)["sources"]
        refused = run("probe", meter["url"], "--profile", meter["profile"])
        assert "exception 4" in refused.stdout
        read = run("probe", line["url"], "--profile", line["profile"])
        assert read.returncode == 0, read.stdout
        words = ("--profile", attic["profile"], "--device", attic["device"], "--protocol", "3.1.1")
        heard = run("probe", attic["url"], *words, "--json")
        assert json.loads(heard.stdout)[0]["quality"] == "good"
        checked = tmp_path / "agent.toml"
        checked.write_text(f'[agent]\nworld_id = "w"\ndata_dir = "{tmp_path}/data"\n{said}')
        assert run("check", checked).returncode == 0
        plant.send_signal(signal.SIGTERM)
        assert plant.wait(20) == 0
        assert not (tmp_path / "ports" / "line").exists()
    finally:
        plant.kill()
        plant.communicate()


def test_simulate_refuses_a_plant_with_all_that_is_wrong(tmp_path):
    file = tmp_path / "plant.toml"
    file.write_text(PLANT.replace("exception", "exeption").replace("eastron-sdm120", "eastron-sdm121"))
    done = run("simulate", file)
    assert done.returncode == 1
    assert "devices.meter.faults[0].kind" in done.stderr
    assert run("simulate", tmp_path / "none.toml").returncode == 1


def test_simulate_lists_its_faults():
    done = run("simulate", "--faults")
    assert len(done.stdout.splitlines()) == 12
