"""Modbus over TCP, TLS and serial lines: one owner for each socket or port, one request at a time.

address.py reads urls, wire.py is all that knows the library, device.py is what is known of one unit,
exchange.py makes one request, bus.py asks, writing.py says what may be written.
"""

import ssl
from collections.abc import Sequence

from edge_agent.model.checked import shown
from edge_agent.model.errors import ConfigError, Problem
from edge_agent.model.profile import RegisterPoint
from edge_agent.model.site import ModbusSettings, Source
from edge_agent.sources import Clock, Link
from edge_agent.sources.modbus.address import Address, parse
from edge_agent.sources.modbus.bus import ModbusBus
from edge_agent.sources.modbus.device import Device
from edge_agent.twin.bustime import impossible

_LAST_UNIT = 247
"""Of a serial line; a gateway may serve itself under 255 (Modbus Messaging on TCP/IP 1.0b, 4.4.1)."""


def links(sources: Sequence[Source], now: Clock) -> list[Link]:
    """Return one link for each socket or port. Raises ConfigError with all that is wrong with urls, points and polls."""
    problems: list[Problem] = []
    buses: dict[object, list[tuple[Address, Device]]] = {}
    for source in sources:
        assert isinstance(source.settings, ModbusSettings)
        place = f"sources.{source.name}"
        address = parse(source.settings.url, f"{place}.url", problems)
        points = [point for point in source.points if isinstance(point, RegisterPoint)]
        device = Device(source.name, source.settings, source.profile, source.limits, points, address, problems)
        if address is not None:
            owners = buses.setdefault(address.place, [])
            problems.extend(_clashes(address, device, owners))
            owners.append((address, device))
    found = [
        ModbusBus(owners[0][0], [device for _, device in owners], _tls(owners, problems), now)
        for owners in buses.values()
    ]
    for bus in found:
        share = impossible(bus.loads(), bus.line)
        if share is not None:
            problems.append(Problem(f"sources.{bus.polls[0].source}.poll", *share))
    if problems:
        raise ConfigError(problems)
    return list(found)


def _clashes(address: Address, device: Device, owners: Sequence[tuple[Address, Device]]) -> list[Problem]:
    place = f"sources.{device.name}"
    found = []
    if owners and owners[0][0]._replace(path=address.path) != address:
        first = owners[0][1].name
        found.append(Problem(f"{place}.url", shown(device.settings.url), f"the same settings as {first}, on its bus"))
    if not address.numbered and not 1 <= device.unit <= _LAST_UNIT:
        found.append(Problem(f"{place}.unit", str(device.unit), f"1 to {_LAST_UNIT}: on a serial line 0 is everybody"))
    return found


def _tls(owners: Sequence[tuple[Address, Device]], problems: list[Problem]) -> ssl.SSLContext | None:
    """Return what a tls:// bus is opened with: the other end is always verified."""
    address, device = owners[0]
    access, place = device.settings.access, f"sources.{device.name}.access"
    if address.scheme != "tls":
        named = [field for field in ("ca_file", "cert_file", "key_file") if getattr(access, field) is not None]
        wanted = "a url that begins with tls://"
        problems.extend(Problem(f"{place}.{field}", "a file for TLS", wanted) for field in named)
        return None
    try:
        context = ssl.create_default_context(cafile=access.ca_file)
        if access.cert_file is not None:
            context.load_cert_chain(access.cert_file, access.key_file)
    except (OSError, ValueError) as error:
        problems.append(Problem(place, f"TLS files that cannot be used: {error}", "PEM files"))
        return None
    return context
