"""A Modbus server with a device behind each unit number, built from firmware profiles: on TCP, or on a serial port.

A device holds exactly the registers of its profile's points; reading or writing any other answers with exception
2, illegal data address. Coils and discrete inputs are the one exception: the server keeps them in words of 16, so
the rest of a word that holds a point reads as off. A SunSpec device holds its chain of models, from 40000 on, whole.

A device begins with what the examples of its profile say. Device identification (function 43) is left out, and so are
points that are a part of a register.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import groupby

from pymodbus.framer import FramerType
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from edge_agent.model.profile import ModbusProfile, RegisterPoint
from edge_agent.model.reading import Value
from edge_agent.plant.faults import Trouble
from edge_agent.twin.codec import BIT_FUNCTIONS, decode, encode, width
from edge_agent.twin.soundness import IDENTIFICATION
from edge_agent.twin.sunspec import MARKER, PLACES

_WRITES = (5, 6, 15, 16)
_WRITE_FUNCTION = {1: 15, 3: 16}
"""What a client would use; inputs have no such function, and the server takes the one that reads them."""
_DEVICE_FAILURE, _BUSY = 4, 6
_CHAIN_END = (0xFFFF, 0)


class ModbusPlant:
    """Devices by unit number on one port of 127.0.0.1, where `port` 0 takes a free one; or on a serial port.

    `trouble` holds, by unit, what is wrong with each.
    """

    def __init__(self, units: Mapping[int, ModbusProfile], port: int = 0, *, serial_path: str | None = None) -> None:
        self._devices = {unit: _Device(unit, profile) for unit, profile in units.items()}
        self.trouble = {unit: Trouble(profile.points) for unit, profile in units.items()}
        self._server: _TcpServer | _SerialServer | None = None
        self._serial_path = serial_path
        self.port = port
        self.requests = dict.fromkeys(units, 0)
        """Requests that came in since start, by unit."""
        self.writes = 0
        """Those of them that write."""

    async def start(self) -> None:
        """Listen. Raises RuntimeError when the port is taken."""
        # a client that leaves before its answer makes pymodbus print the last twenty frames as an error
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        await self._listen()
        for unit, device in self._devices.items():
            await self.show(unit, device.at_first)

    async def _listen(self) -> None:
        memories = [device.memory() for device in self._devices.values()]
        if self._serial_path is None:
            server: _TcpServer | _SerialServer = _TcpServer(memories, address=("127.0.0.1", self.port))
        else:
            server = _SerialServer(memories, framer=FramerType.RTU, port=self._serial_path)
        server.plant = self
        await server.serve_forever(background=True)
        if isinstance(server.transport, asyncio.Server):
            self.port = server.transport.sockets[0].getsockname()[1]
        self._server = server
        for unit, device in self._devices.items():
            for function, address, cells in device.fixed:
                await server.async_setValues(unit, function, address, cells)

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    async def show(self, unit: int, values: Mapping[str, Value]) -> None:
        """Let a device report `values` by point name. What its profile has no point for is passed over."""
        assert self._server is not None
        device = self._devices[unit]
        # What scales others first.
        for name in sorted(values.keys() & device.points.keys(), key=lambda n: n not in device.scales):
            point, value = device.points[name], values[name]
            if value is None:
                continue
            function = _WRITE_FUNCTION.get(point.function, point.function)
            cells = _cells(point, value, await self._exponent(unit, point))
            await self._server.async_setValues(unit, function, device.address(point), cells)

    async def standing(self, unit: int, name: str) -> Value:
        """Return what stands at a point now, or None when it means nothing: what was written last, if anything was."""
        assert self._server is not None
        device = self._devices[unit]
        point = device.points[name]
        cells = await self._server.async_getValues(unit, point.function, device.address(point), width(point))
        return decode(point, cells, await self._exponent(unit, point))[0]

    async def _exponent(self, unit: int, point: RegisterPoint) -> int | None:
        if point.scale_point is None:
            return None
        found = await self.standing(unit, point.scale_point)
        return found if isinstance(found, int) else None

    async def stop(self) -> None:
        """Close the port and every connection; may be called when it is not open."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus gives it no types
            self._server = None
            await asyncio.sleep(0)  # the transports let go of their sockets in the loop's next turn

    def heard(self, request: ModbusPDU) -> None:
        """Count a request."""
        self.writes += request.function_code in _WRITES
        if request.dev_id in self.requests:
            self.requests[request.dev_id] += 1


class _Handler(ServerRequestHandler):
    """One connection of the server: what it sends goes through what is wrong with the device."""

    _busy_until_s = 0.0

    def server_send(self, pdu: ModbusPDU, addr: tuple[object, ...] | None) -> None:  # noqa: ARG002 - the library's
        plant: ModbusPlant = self.server.plant
        assert self.last_pdu is not None
        plant.heard(self.last_pdu)
        trouble = plant.trouble.get(pdu.dev_id)
        if trouble is None:  # nobody is there
            return
        # Nothing is said in between the pieces of another answer; a late one keeps nobody else waiting.
        begin_s = max(self.loop.time(), self._busy_until_s)
        pieces = list(trouble.pieces(self.framer.buildFrame(_troubled(pdu, trouble))))
        for delay_s, piece in pieces:
            if begin_s + delay_s <= self.loop.time():
                self._write(piece)
            else:
                self.loop.call_at(begin_s + delay_s, self._write, piece)
        if len(pieces) > 1:
            self._busy_until_s = begin_s + pieces[-1][0]

    def _write(self, piece: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(piece)  # type: ignore[attr-defined]  # of every transport that a server has


class _TcpServer(ModbusTcpServer):
    plant: ModbusPlant

    def callback_new_connection(self) -> ServerRequestHandler:
        return _Handler(self, None, None, None)  # type: ignore[no-untyped-call]  # pymodbus gives it no types


class _SerialServer(ModbusSerialServer):
    plant: ModbusPlant

    def callback_new_connection(self) -> ServerRequestHandler:
        return _Handler(self, None, None, None)  # type: ignore[no-untyped-call]  # likewise


def _troubled(pdu: ModbusPDU, trouble: Trouble) -> ModbusPDU:
    """Return what a device in trouble answers."""
    code = _DEVICE_FAILURE if trouble.has("exception") else _BUSY if trouble.has("busy") else 0
    if code:
        return ExceptionResponse(pdu.function_code & 0x7F, code, device_id=pdu.dev_id, transaction=pdu.transaction_id)
    if trouble.has("wrong-length"):
        if pdu.registers:
            pdu.registers = [*pdu.registers, 0]
        elif pdu.bits:
            pdu.bits = [*pdu.bits, *[False] * 8]
    return pdu


class _Device:
    """One unit: where its points stand, and what is there before anybody says anything."""

    def __init__(self, unit: int, profile: ModbusProfile) -> None:
        self._unit = unit
        whole = [p for p in profile.points if p.bits is None and p.function != IDENTIFICATION]
        self.points: dict[str, RegisterPoint] = {str(p.name): p for p in whole}
        self.scales = {p.scale_point for p in whole if p.scale_point is not None}
        self._base: dict[int | None, int] = {None: 0}
        self.fixed: list[tuple[int, int, list[int]]] = []
        """Function, address and registers of what no point holds."""
        ends: dict[int, int] = {}
        for point in whole:
            if point.model is not None:
                ends[point.model] = max(ends.get(point.model, 3), point.address + width(point))
        at = PLACES[0]
        if ends:
            self._fix(at, MARKER)
            at += 2
            for model in sorted(ends):
                self._base[model] = at
                self._fix(at, (model, ends[model] - 2))
                at += ends[model]
            self._fix(at, _CHAIN_END)
        self._chain = range(PLACES[0], at + 2) if ends else range(0)
        self.at_first: dict[str, Value] = {}
        for example in reversed(profile.examples):
            self.at_first |= example.values

    def address(self, point: RegisterPoint) -> int:
        return self._base[point.model] + point.address

    def memory(self) -> SimDevice:
        held: dict[int, set[int]] = {1: set(), 2: set(), 3: set(self._chain), 4: set()}
        for point in self.points.values():
            held[point.function].update(range(self.address(point), self.address(point) + width(point)))
        coils, inputs, holding, measured = (
            _runs(cells, bits=function in BIT_FUNCTIONS) for function, cells in held.items()
        )
        return SimDevice(self._unit, simdata=(coils, inputs, holding, measured))

    def _fix(self, address: int, registers: Sequence[int]) -> None:
        self.fixed.append((16, address, list(registers)))


def _runs(addresses: set[int], *, bits: bool) -> list[SimData]:
    """Return each unbroken run of addresses as one block of zeros; at least one block, as the server demands."""
    numbered = enumerate(sorted(addresses))
    runs = [[address for _, address in run] for _, run in groupby(numbered, lambda pair: pair[1] - pair[0])]
    if bits:
        return [SimData(run[0], values=[False] * len(run), datatype=DataType.BITS) for run in runs or [[0xFFFF]]]
    return [SimData(run[0], values=[0] * len(run), datatype=DataType.REGISTERS) for run in runs] or [SimData(0)]


def _cells(point: RegisterPoint, value: Value, exponent: int | None) -> list[int] | list[bool]:
    if point.function in BIT_FUNCTIONS:
        return [bool(bit) for bit in encode(point, value)]
    return encode(point, _representable(point, value, exponent), exponent)


def _representable(point: RegisterPoint, value: Value, exponent: int | None) -> Value:
    """Return what a sensor makes of a number: held at the ends of its range, and in whole steps of its scale."""
    if isinstance(value, (bool, str)) or value is None or point.type in ("bool", "string"):
        return value
    if point.range is not None:
        value = min(max(value, point.range[0]), point.range[1])
    if point.type in ("float32", "float64"):
        return value
    # by decimals, as the codec does: 0.1 stands for a tenth
    scale, offset = Fraction(str(point.scale)) * Fraction(10) ** (exponent or 0), Fraction(str(point.offset))
    return float(round((Fraction(value) - offset) / scale) * scale + offset)
