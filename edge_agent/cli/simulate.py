"""Run simulated devices, built from profiles, on this machine, with faults on request.

plant.toml names the devices; each is printed as a source to paste into agent.toml, then READY. Modbus devices are on
TCP, or as RTU on a `line`; those that talk on a serial port are on a pseudo-terminal with a name that stays; those that
publish bring a broker of their own unless `broker` names one; HTTP has a port of its own.

    [[devices]]
    name = "meter"
    profile = "eastron-sdm630"
    port = 5020
    faults = [{ kind = "late", after = "20s", lasts = "10s" }, { kind = "drift", after = "1m", point = "voltage_l1" }]

    [[devices]]
    name = "heating-line"
    profile = "line-sensor"
"""

import argparse
import asyncio
import json
import signal
from pathlib import Path

from edge_agent.config import load_profile, read_toml
from edge_agent.model.checked import check
from edge_agent.model.errors import ConfigError, LinkError, Problem
from edge_agent.model.profile import Profile
from edge_agent.plant.faults import DEVICE_FAULTS, WIRE_FAULTS
from edge_agent.plant.simulation import Place, PlantSettings, Simulation

EXAMPLE = """edge-agent simulate plant.toml
  edge-agent simulate --faults"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `simulate` takes."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("plant", nargs="?", type=Path, metavar="PLANT", help="plant.toml")
    what.add_argument("--faults", action="store_true", help="list what can go wrong")
    parser.add_argument("--seconds", type=float, help="end after so many (default: at Ctrl-C)")


def run(args: argparse.Namespace) -> int:
    """Simulate until a signal asks to stop."""
    if args.faults:
        for kind, words in {**WIRE_FAULTS, **DEVICE_FAULTS}.items():
            print(f"{kind:16} {words}")
        return 0
    settings, profiles = _read(args.plant)
    asyncio.run(_simulate(Simulation(settings, profiles), args.seconds))
    return 0


def _read(path: Path) -> tuple[PlantSettings, dict[str, Profile]]:
    problems: list[Problem] = []
    raw = read_toml(path, problems, others_may_write=True)
    settings: PlantSettings | None = None if raw is None else check(raw, PlantSettings, f"{path.name}: ", problems)
    profiles: dict[str, Profile] = {}
    for device in () if settings is None else settings.devices:
        try:
            profiles[device.name] = load_profile(device.profile, path.parent)
        except ConfigError as error:
            problems += [
                Problem(f"{path.name}: devices.{device.name}", p.got, p.wanted, p.hint) for p in error.problems
            ]
    if settings is None or problems:
        raise ConfigError(problems)
    return settings, profiles


async def _simulate(plant: Simulation, seconds: float | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await plant.start()
    except (OSError, RuntimeError) as error:
        raise LinkError(f"the plant did not start: {error}") from error
    try:
        print("\n".join(_source(place) for place in plant.places))
        print("READY", flush=True)
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
    finally:
        await plant.stop()


def _source(place: Place) -> str:
    """Return a device as a source of agent.toml."""
    lines = {"name": place.device.name, "kind": place.kind, "url": place.url, **place.rest}
    lines["profile"] = place.device.profile
    return "[[sources]]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in lines.items())


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)
