"""Look for known devices on a Modbus bus; nothing is written.

Of each unit one register is read, and of those that answer the registers by which the devices of the library say who
they are. A unit is said to be a device when what its profile expects was answered; to be like one when the first registers of
the profile hold sound values, which many meters' do. What was found is to be confirmed with `probe`.
"""

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from edge_agent.cli.probe import as_source
from edge_agent.cli.tables import print_table, progress
from edge_agent.config import load_profile, profile_names
from edge_agent.model.checked import Name, Seconds, shown
from edge_agent.model.errors import ConfigError, LinkError, Problem, WireError
from edge_agent.model.profile import BusLimits, ModbusProfile, RegisterPoint
from edge_agent.model.reading import GOOD, Value
from edge_agent.model.site import ModbusSettings, Source
from edge_agent.service.clock import Clock
from edge_agent.service.wiring import links
from edge_agent.sources import Link
from edge_agent.twin.admission import mismatch

EXAMPLE = """edge-agent scan rtu:///dev/ttyUSB0?baud=9600 --units 1-32
  edge-agent scan tcp://10.0.0.5:502 --units 1,100"""
_LAST_UNIT = 247
_ANY = Name("any")


class Unit(NamedTuple):
    """A unit that answered."""

    unit: int
    device: str
    """The profile whose expectations it met; empty when there is none."""
    says: str
    """Model, firmware and serial number, as it told them."""
    like: Sequence[str]
    """Profiles whose registers it has."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `scan` takes."""
    parser.add_argument("url", metavar="URL", help="of the bus, as in agent.toml")
    parser.add_argument("--units", type=_units, default=range(1, _LAST_UNIT + 1), help="such as 1-32 or 1,5,100 (all)")
    parser.add_argument("--timeout", type=float, default=0.3, help="seconds that each unit is waited for (0.3)")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def run(args: argparse.Namespace) -> int:
    """Look; 1 when nothing answered."""
    found = asyncio.run(_scan(args.url, list(args.units), args.timeout))
    if args.json:
        print(json.dumps([unit._asdict() for unit in found], ensure_ascii=False))
    elif found:
        rows = [(f.unit, f.device or "unknown", f.says, "" if f.device else ", ".join(f.like)) for f in found]
        print_table(("unit", "device", "says", "like"), rows)
    else:
        print("no unit answered")
    return 0 if found else 1


def _units(text: str) -> list[int]:
    try:
        spans = [part.partition("-") for part in text.split(",")]
        units = [n for first, _, last in spans for n in range(int(first), int(last or first) + 1)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {shown(text)}, wanted units such as 1-32 or 1,5,100") from error
    if not units or not all(0 < unit <= 255 for unit in units):  # noqa: PLR2004 - what the protocol has room for
        raise argparse.ArgumentTypeError(f"got {shown(text)}, wanted units from 1 to 255")
    return units


async def _scan(url: str, units: Sequence[int], timeout_s: float) -> list[Unit]:
    if url.partition("://")[0] not in ("tcp", "tls", "rtu", "ascii", "rtu+tcp", "ascii+tcp"):
        raise ConfigError([Problem("URL", shown(url), "a Modbus bus, such as tcp://10.0.0.5:502")])
    limits = BusLimits(timeout=Seconds(timeout_s))
    profiles = [p for p in map(load_profile, profile_names()) if isinstance(p, ModbusProfile)]
    return [
        await _recognised(url, unit, limits, profiles)
        for unit in progress(units, "units")
        if await _answers(url, unit, limits)
    ]


async def _answers(url: str, unit: int, limits: BusLimits) -> bool:
    """Whether a unit says anything to the read of one holding register; a refusal is an answer."""
    point = RegisterPoint(name=Name("any"), function=3, address=0, type="uint16")
    settings = ModbusSettings(name=_ANY, url=url, unit=unit)
    async with _opened(Source(settings, "scan:device:any", "device", (point,), limits)) as link:
        try:
            await link.read(link.polls[0])
        except WireError:
            return True
        except LinkError as error:
            return error.reason == "garbage"
        return True


async def _recognised(url: str, unit: int, limits: BusLimits, profiles: Sequence[ModbusProfile]) -> Unit:
    sure, says, like = "", "", []
    for profile in profiles:
        telling = _telling(profile)
        settings = ModbusSettings(name=_ANY, url=url, unit=unit)
        own = replace(profile.limits, timeout=limits.timeout)
        source = replace(as_source(settings, profile), points=tuple(telling), limits=own)
        said = await _said(source)
        if len(said) < len(telling):
            continue
        identity = [str(said[p.name]) for p in telling if p.identity is not None]
        if profile.identity.expect and not mismatch(replace(profile.identity, firmware=None), dict(said)):
            sure, says = profile.name, " ".join(identity)
        else:
            like.append(profile.name)
            says = says or " ".join(identity)
    return Unit(unit, sure, says, like)


def _telling(profile: ModbusProfile) -> list[RegisterPoint]:
    """Return the points that tell a device apart, and the first of the others with what scales it."""
    expected = {each.point for each in profile.identity.expect}
    telling = [p for p in profile.points if p.identity is not None or p.name in expected]
    first = next((p for p in profile.points if p not in telling), None)
    if first is not None:
        telling += [p for p in profile.points if p.name in (first.name, first.scale_point)]
    return telling


async def _said(source: Source) -> dict[str, Value]:
    """Return what a device says to a profile's points, of those that have a sound value."""
    said: dict[str, Value] = {}
    async with _opened(source) as link:
        for poll in list(link.polls):
            try:
                said |= {r.point: r.value for r in await link.read(poll) if r.quality == GOOD}
            except (LinkError, WireError):
                return {}
    return said


@contextlib.asynccontextmanager
async def _opened(source: Source) -> AsyncIterator[Link]:
    (link,) = links([source], Clock())
    await link.open()
    try:
        yield link
    finally:
        await link.close()
