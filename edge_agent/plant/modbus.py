"""A Modbus TCP server with a device behind each unit number, built from firmware profiles.

A device holds exactly the registers of its profile's points; reading or writing any other answers with exception
2, illegal data address. Coils and discrete inputs are the one exception: the server keeps them in words of 16, so
the rest of a word that holds a point reads as off.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import groupby

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge_agent.model.profile import ModbusProfile, RegisterPoint
from edge_agent.model.reading import Value
from edge_agent.twin.codec import BIT_FUNCTIONS, decode, encode, width

_WRITES = (5, 6, 15, 16)
_WRITE_FUNCTION = {1: 15, 3: 16}
"""What a client would use; inputs have no such function, and the server takes the one that reads them."""


class ModbusPlant:
    """Devices by unit number on one port of 127.0.0.1; `port` 0 takes a free one."""

    def __init__(self, units: Mapping[int, ModbusProfile], port: int = 0) -> None:
        self._points: dict[int, dict[str, RegisterPoint]] = {
            unit: {point.name: point for point in profile.points} for unit, profile in units.items()
        }
        self._silent: set[int] = set()
        self._server: ModbusTcpServer | None = None
        self.port = port
        self.writes = 0
        """Write requests that came in since start."""

    async def start(self) -> None:
        """Listen. Raises RuntimeError when the port is taken."""
        # a client that leaves before its answer makes pymodbus print the last twenty frames as an error
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        devices = [_device(unit, points.values()) for unit, points in self._points.items()]
        server = ModbusTcpServer(devices, address=("127.0.0.1", self.port), trace_packet=self._heard)
        await server.serve_forever(background=True)
        assert isinstance(server.transport, asyncio.Server)
        self.port = server.transport.sockets[0].getsockname()[1]
        self._server = server

    async def show(self, unit: int, values: Mapping[str, Value]) -> None:
        """Let a device report `values` by point name. What its profile has no point for is passed over."""
        assert self._server is not None
        for name in values.keys() & self._points[unit].keys():
            point, value = self._points[unit][name], values[name]
            function = _WRITE_FUNCTION.get(point.function, point.function)
            await self._server.async_setValues(unit, function, point.address, _cells(point, value))

    async def standing(self, unit: int, name: str) -> Value:
        """Return what stands at a point now, or None when it means nothing: what was written last, if anything was."""
        assert self._server is not None
        point = self._points[unit][name]
        cells = await self._server.async_getValues(unit, point.function, point.address, width(point))
        return decode(point, cells)[0]

    def silence(self, unit: int) -> None:
        """Let a unit stop answering, as one without power does."""
        self._silent.add(unit)

    def revive(self, unit: int) -> None:
        """Let a silent unit answer again."""
        self._silent.discard(unit)

    async def stop(self) -> None:
        """Close the port and every connection; may be called when it is not open."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus gives it no types
            self._server = None
            await asyncio.sleep(0)  # the transports let go of their sockets in the loop's next turn

    def _heard(self, sending: bool, frame: bytes) -> bytes:  # noqa: FBT001 - pymodbus calls it so
        """Pass a frame on, or swallow the answer of a silent unit (MBAP: unit and function are bytes 7 and 8)."""
        self.writes += not sending and frame[7] in _WRITES
        return b"" if sending and frame[6] in self._silent else frame


def _device(unit: int, points: Iterable[RegisterPoint]) -> SimDevice:
    held: dict[int, set[int]] = {1: set(), 2: set(), 3: set(), 4: set()}
    for point in points:
        held[point.function].update(range(point.address, point.address + width(point)))
    coils, inputs, holding, measured = (
        _runs(cells, bits=function in BIT_FUNCTIONS) for function, cells in held.items()
    )
    return SimDevice(unit, simdata=(coils, inputs, holding, measured))


def _runs(addresses: set[int], *, bits: bool) -> list[SimData]:
    """Return each unbroken run of addresses as one block of zeros; at least one block, as the server demands."""
    numbered = enumerate(sorted(addresses))
    runs = [[address for _, address in run] for _, run in groupby(numbered, lambda pair: pair[1] - pair[0])]
    if bits:
        return [SimData(run[0], values=[False] * len(run), datatype=DataType.BITS) for run in runs or [[0xFFFF]]]
    return [SimData(run[0], values=[0] * len(run), datatype=DataType.REGISTERS) for run in runs] or [SimData(0)]


def _cells(point: RegisterPoint, value: Value) -> list[int] | list[bool]:
    if point.function in BIT_FUNCTIONS:
        return [bool(bit) for bit in encode(point, value)]
    return encode(point, _representable(point, value))


def _representable(point: RegisterPoint, value: Value) -> Value:
    """Return what a sensor makes of a number: held at the ends of its range, and in whole steps of its scale."""
    if isinstance(value, (bool, str)) or value is None or point.type in ("bool", "string"):
        return value
    if point.range is not None:
        value = min(max(value, point.range[0]), point.range[1])
    if point.type in ("float32", "float64"):
        return value
    # by decimals, as the codec does: 0.1 stands for a tenth
    scale, offset = Fraction(str(point.scale)), Fraction(str(point.offset))
    return float(round((Fraction(value) - offset) / scale) * scale + offset)
