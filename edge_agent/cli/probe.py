"""Read a device once and show it as a table: raw, value, unit, quality. Nothing is written to it.

URL is as in agent.toml: tcp://host:502, tls://, rtu:///dev/serial/by-id/…?baud=9600, ascii://, rtu+tcp://,
serial:///dev/…, mqtt://broker, http://host. What a device says by itself is waited for up to `--seconds`. With
`--all-orders` each number in Modbus registers is shown in the four byte orders: only one of them makes sense.
Exit code 1 when a point that was asked for did not come.
"""

import argparse
import asyncio
import json
import struct
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from msgspec.structs import replace

from edge_agent.cli.tables import print_table
from edge_agent.config import load_profile
from edge_agent.model.checked import Name, Seconds, shown
from edge_agent.model.errors import ConfigError, LinkError, Problem, WireError
from edge_agent.model.layout import entity_id
from edge_agent.model.profile import Point, Profile, RegisterPoint, WordOrder
from edge_agent.model.reading import Reading, Value
from edge_agent.model.site import (
    BrokerAccess,
    HttpSettings,
    ModbusSettings,
    MqttSettings,
    SerialSettings,
    Source,
    SourceSettings,
)
from edge_agent.model.worked_in import is_for, worked_in
from edge_agent.service.clock import Clock
from edge_agent.service.door import Door
from edge_agent.service.wiring import links
from edge_agent.sources import Link, Poll
from edge_agent.twin.codec import BIT_FUNCTIONS, decode, width
from edge_agent.twin.soundness import IDENTIFICATION

EXAMPLE = """edge-agent probe tcp://10.0.0.5:502 --profile eastron-sdm630 --unit 1
  edge-agent probe rtu:///dev/ttyUSB0?baud=9600 --profile my-meter.toml --all-orders
  edge-agent probe mqtt://localhost --profile zigbee2mqtt-climate --device attic"""
ORDERS: tuple[WordOrder, ...] = ("ABCD", "BADC", "CDAB", "DCBA")
_NAME = Name("device")
_RAW = {1: "uint16", 2: "uint32", 4: "uint64"}
"""The type that shows so many registers as they came."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `probe` takes."""
    parser.add_argument("url", metavar="URL", help="where the device is")
    parser.add_argument("--profile", required=True, help="the name of a profile, or the path of one")
    parser.add_argument("--unit", type=int, default=1, help="of a Modbus device (default 1)")
    parser.add_argument("--device", help="of an MQTT device: what stands for {device} in its topics")
    parser.add_argument("--topic", help="of an MQTT device: its topic, when it is not the profile's")
    parser.add_argument("--protocol", choices=("5", "3.1.1"), default="5", help="of the MQTT broker (default 5)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to wait for what speaks by itself (10)")
    parser.add_argument("--all-orders", action="store_true", help="show numbers in the four byte orders")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def run(args: argparse.Namespace) -> int:
    """Read once; 1 when something did not come."""
    profile = load_profile(args.profile)
    source = as_source(settings_of(args), profile)
    raws = _raw_points(source.points)
    (link,) = links([replace(source, points=(*source.points, *raws.values()))], Clock())
    found = asyncio.run(_read_once(link, source, args.seconds))
    rows = [_row(point, found, raws, all_orders=args.all_orders) for point in source.points]
    if args.json:
        print(json.dumps([row._asdict() for row in rows], ensure_ascii=False))
    else:
        orders = ORDERS if args.all_orders else ()
        print_table(("point", "raw", "value", "unit", "quality", *orders), [_cells(row, orders) for row in rows])
        if found.doubt:
            print(f"uncertain: {found.doubt}")
        for fault in found.faults:
            print(f"fault: {fault}")
    return 0 if all(row.came for row in rows) else 1


def settings_of(args: argparse.Namespace) -> SourceSettings:
    """Return the source that a URL stands for. Raises ConfigError when its scheme is none of ours."""
    scheme = args.url.partition("://")[0]
    if scheme in ("mqtt", "mqtts"):
        access = BrokerAccess(protocol=args.protocol)
        return MqttSettings(name=_NAME, url=args.url, access=access, topic=args.topic, device=args.device)
    if scheme == "serial":
        return SerialSettings(name=_NAME, url=args.url, stale_after=Seconds(args.seconds))
    if scheme in ("http", "https"):
        return HttpSettings(name=_NAME, url=args.url)
    if scheme in ("tcp", "tls", "rtu", "ascii", "rtu+tcp", "ascii+tcp"):
        return ModbusSettings(name=_NAME, url=args.url, unit=args.unit)
    wanted = "tcp, tls, rtu, ascii, rtu+tcp, ascii+tcp, serial, mqtt, mqtts, http or https before ://"
    raise ConfigError([Problem("URL", shown(args.url), wanted)])


def as_source(settings: SourceSettings, profile: Profile) -> Source:
    """Return a device as a source of its own. Raises ConfigError when the profile is for another kind."""
    if not is_for(profile, settings):
        protocol, kind = (type(each).__struct_config__.tag for each in (profile, settings))
        raise ConfigError([Problem("--profile", f"a profile for {protocol}", f"one for {kind}, as the URL")])
    return worked_in(settings, profile, entity_id("probe", profile.entity_type, settings.name), profile.entity_type)


class Found(NamedTuple):
    """What one reading of a device brought."""

    readings: dict[str, Reading]
    faults: list[str]
    doubt: str


async def _read_once(link: Link, source: Source, seconds: float) -> Found:
    door = Door([source])
    readings: dict[str, Reading] = {}
    faults: list[str] = []
    await link.open()
    try:
        for poll in list(link.polls):
            try:
                async for each in _said(link, poll, readings.keys(), seconds):
                    readings |= {reading.point: reading for reading in each}
            except (LinkError, WireError) as error:
                faults.append(str(error))
    finally:
        await link.close()
    door.take(source.name, list(readings.values()))  # once for who it is, once for what that makes of the rest
    judged = door.take(source.name, list(readings.values()))
    return Found({reading.point: reading for reading in judged}, faults, door.refusal(source.name))


async def _said(link: Link, poll: Poll, known: AbstractSet[str], seconds: float) -> AsyncIterator[list[Reading]]:
    """Yield what one request brings; of what speaks by itself all until every point was heard, or time is over."""
    if poll.period_s is not None:
        yield await link.read(poll)
        return
    loop = asyncio.get_running_loop()
    end_s = loop.time() + seconds
    while not set(poll.points) <= known:
        try:
            async with asyncio.timeout_at(end_s):
                readings = await link.read(poll)
        except TimeoutError:
            missing = ", ".join(sorted(set(poll.points) - known))
            raise LinkError(f"{link.bus} {poll.detail}: not heard within {seconds:g} s: {missing}", "timeout") from None
        except WireError:
            continue  # the next thing said may be one
        yield readings


class Row(NamedTuple):
    """One point, as it is shown."""

    point: str
    raw: str
    value: Value
    unit: str
    quality: str
    orders: dict[str, Value]

    @property
    def came(self) -> bool:
        """Whether the device answered for it."""
        return self.quality != "not read"


def _row(point: Point, found: Found, raws: dict[str, RegisterPoint], *, all_orders: bool) -> Row:
    reading = found.readings.get(point.name)
    raw_point = raws.get(point.name)
    raw = found.readings.get(raw_point.name) if raw_point is not None else None
    quality = "not read" if reading is None else reading.quality
    value = None if reading is None else reading.value
    said = "" if reading is None or raw_point is not None else reading.anchor.detail
    orders: dict[str, Value] = {}
    if raw is not None and isinstance(raw.value, int) and raw_point is not None and isinstance(point, RegisterPoint):
        registers = list(struct.unpack(f">{width(point)}H", raw.value.to_bytes(2 * width(point))))
        said = " ".join(f"{register:04X}" for register in registers)
        if all_orders:
            scale = found.readings.get(point.scale_point or "")
            exponent = scale.value if scale is not None and isinstance(scale.value, int) else None
            orders = {str(order): decode(replace(point, order=order), registers, exponent)[0] for order in ORDERS}
    return Row(point.name, said, value, point.unit or "", quality, orders)


def _raw_points(points: Sequence[Point]) -> dict[str, RegisterPoint]:
    """Return, by the name of each number in registers, a point that shows the same registers as they came."""
    numbers = [p for p in points if isinstance(p, RegisterPoint) and p.function not in (*BIT_FUNCTIONS, IDENTIFICATION)]
    return {
        str(p.name): RegisterPoint(
            name=Name(f"raw-{i}"), function=p.function, address=p.address, type=_RAW[width(p)],  # type: ignore[arg-type]
            every=p.every, model=p.model, identity=p.identity, drift=False,
        )
        for i, p in enumerate(numbers)
        if p.type != "string"
    }  # fmt: skip


def _cells(row: Row, orders: Sequence[str]) -> list[object]:
    shown_orders = [_text(row.orders[order]) if row.orders else "" for order in orders]
    return [row.point, row.raw, _text(row.value), row.unit, row.quality, *shown_orders]


def _text(value: Value) -> str:
    if value is None:
        return "-"
    return f"{value:.9g}" if isinstance(value, float) else str(value)
