"""A plant of any devices, each built from its profile: on Modbus TCP, RTU, serial lines, a broker and HTTP, with faults.

Where the boiler house (plant.py) has physics, here each gauge strays around the value that the profile's examples, or
the plant's file, give it. What a client wrote stays.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from edge_agent.model.checked import Name, Seconds, shown
from edge_agent.model.errors import ConfigError, Problem
from edge_agent.model.profile import HttpProfile, ModbusProfile, MqttProfile, Profile, SerialProfile
from edge_agent.model.reading import Value
from edge_agent.plant.faults import FaultKind, Trouble
from edge_agent.plant.http import HttpPlant
from edge_agent.plant.modbus import ModbusPlant
from edge_agent.plant.mqtt import MqttPlant
from edge_agent.plant.port import Port, joined
from edge_agent.plant.serial import SerialPlant
from edge_agent.plant.spoken import at_first, messages

_TICK_S = 0.1
_TOPIC = "plant/{device}"
"""Of a device whose profile names none."""
_STRAY = 0.002
"""How far a gauge strays, as a part of its value."""


class FaultSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[[devices]] faults: what goes wrong, and when."""

    kind: FaultKind
    after: Seconds = Seconds(0)
    """Since the start of the plant."""
    lasts: Seconds | None = None
    """For ever when not given."""
    point: Name | None = None
    """The point that drifts, is stuck or jumps; all when not given."""


class DeviceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[[devices]]: one simulated device."""

    name: Name
    profile: str
    unit: Annotated[int, Meta(ge=1, le=247)] = 1
    """Of a Modbus device."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """Of 127.0.0.1, for Modbus TCP and HTTP; a free one when not given. Modbus devices of one port share it."""
    line: Name | None = None
    """Of a Modbus device: the serial line it hangs on as RTU, instead of a port. Devices of one line share it."""
    period: Seconds = Seconds(1)
    """How often a device speaks that speaks by itself."""
    values: dict[str, float | int | bool | str] = {}
    """What it measures, where that is to be other than in the examples of its profile."""
    faults: tuple[FaultSettings, ...] = ()


class PlantSettings(msgspec.Struct, frozen=True, kw_only=True):
    """plant.toml: the whole of it."""

    devices: tuple[DeviceSettings, ...]
    folder: str = "/tmp/edge-agent-plant"  # noqa: S108 - the ports in it belong to whoever runs the plant
    """Where serial ports get names that stay."""
    broker: str | None = None
    """Of devices that publish: mqtt://host:port; one of the plant's own when not given."""
    broker_port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    seed: int = 1


class Place(NamedTuple):
    """Where a device is found."""

    device: DeviceSettings
    kind: str
    url: str
    rest: Mapping[str, object]
    """What else a source in agent.toml must say."""


_Task = Coroutine[Any, Any, None]


class _Device(NamedTuple):
    settings: DeviceSettings
    profile: Profile
    base: dict[str, Value]
    trouble: Trouble


class Simulation:
    """The plant, from `start` to `stop`; once. `profiles` are those of its devices, by device name."""

    def __init__(self, settings: PlantSettings, profiles: Mapping[str, Profile]) -> None:
        _refuse_clashes(settings, profiles)
        self._settings = settings
        self._rng = random.Random(settings.seed)  # noqa: S311 - physics, not keys
        self._devices = {d.name: self._device(d, profiles[d.name]) for d in settings.devices}
        self.modbus: dict[Name, ModbusPlant] = {}
        """By device; devices that share a bus have the same one."""
        self.http: dict[Name, HttpPlant] = {}
        self.serial: dict[Name, SerialPlant] = {}
        self._lines: dict[Name, Port] = {}
        """The end of the line that a reader has, by device."""
        self.places: list[Place] = []
        self._plugging = asyncio.Lock()
        """Held while a bus is unplugged or plugged in, and while something is shown on one."""
        self._open = AsyncExitStack()
        self._start_s = 0.0

    def trouble(self, name: str) -> Trouble:
        """Return what is wrong with a device, to change it."""
        return self._devices[Name(name)].trouble

    def _device(self, settings: DeviceSettings, profile: Profile) -> _Device:
        base = at_first(profile) | settings.values
        return _Device(settings, profile, base, Trouble(profile.points, seed=self._settings.seed))

    async def start(self) -> None:
        """Open everything and set it going. What was opened is closed on failure."""
        folder = _made(self._settings.folder)
        self._start_s = asyncio.get_running_loop().time()
        async with AsyncExitStack() as opened:
            url = await self._open_broker(opened)
            await self._open_modbus(opened, folder)
            tasks: list[_Task] = []
            for device in self._devices.values():
                tasks += [task async for task in self._open_other(device, folder, url, opened)]
            running = asyncio.create_task(self._run(tasks), name="plant")
            opened.push_async_callback(_ended, running)
            self._open = opened.pop_all()

    async def stop(self) -> None:
        """Stop, and close every port. Raises what ended the plant early, if anything did."""
        await self._open.aclose()

    async def unplug(self, name: str) -> None:
        """Let what a device is reached by be gone; devices that share it go too."""
        self.trouble(name).begin("unplugged")
        key = Name(name)
        if key in self._lines:
            self._lines[key].unplug()
        elif key in self.modbus:
            async with self._plugging:
                await self.modbus[key].stop()
        elif key in self.http:
            await self.http[key].stop()
        elif key in self.serial:
            self.serial[key].stop()

    async def plug(self, name: str) -> None:
        """Let it be there again."""
        self.trouble(name).end("unplugged")
        key = Name(name)
        if key in self._lines:
            self._lines[key].plug()
        elif key in self.modbus:
            async with self._plugging:
                await self.modbus[key].start()
        elif key in self.http:
            await self.http[key].start()
        elif key in self.serial:
            self.serial[key].start()

    def values(self, name: str) -> dict[str, Value]:
        """Return what a device says now of its measured values, faults included."""
        device, now_s = self._devices[Name(name)], self._elapsed_s()
        moved = {str(p.name): self._moved(device, p.name) for p in device.profile.points if p.name in device.base}
        return device.trouble.shown(moved, now_s)

    # --- opening

    async def _open_broker(self, opened: AsyncExitStack) -> str:
        if self._settings.broker is not None:
            return self._settings.broker
        if not any(isinstance(device.profile, MqttProfile) for device in self._devices.values()):
            return ""
        try:
            from edge_agent.plant.broker import BrokerPlant  # the one part that needs the extra `demo`
        except ModuleNotFoundError as error:
            wanted = "the URL of a broker, for there is no amqtt to make one"
            raise ConfigError([Problem("broker", "nothing", wanted, "pip install 'edge-agent[demo]'")]) from error
        broker = BrokerPlant(self._settings.broker_port)
        await broker.start()
        opened.push_async_callback(broker.stop)
        return broker.url

    async def _open_modbus(self, opened: AsyncExitStack, folder: Path) -> None:
        buses: dict[tuple[int, Name | None], list[_Device]] = {}
        for device in self._devices.values():
            if isinstance(device.profile, ModbusProfile):
                buses.setdefault((device.settings.port, device.settings.line), []).append(device)
        for (port, line), devices in buses.items():
            units = {d.settings.unit: d.profile for d in devices if isinstance(d.profile, ModbusProfile)}
            if line is None:
                plant, ours = ModbusPlant(units, port), None
            else:
                ours, theirs = Port(folder / line), Port()
                for end in (ours, theirs):
                    end.plug()
                    opened.callback(end.unplug)
                joined(ours, theirs)
                plant = ModbusPlant(units, serial_path=theirs.path)
            await plant.start()
            opened.push_async_callback(plant.stop)
            url = f"tcp://127.0.0.1:{plant.port}" if ours is None else f"rtu://{ours.path}?baud=19200"
            for device in devices:
                self.modbus[device.settings.name] = plant
                plant.trouble[device.settings.unit] = device.trouble
                if ours is not None:
                    self._lines[device.settings.name] = ours
                await plant.show(device.settings.unit, device.settings.values)
                self.places.append(Place(device.settings, "modbus", url, {"unit": device.settings.unit}))

    async def _open_other(
        self, device: _Device, folder: Path, broker_url: str, opened: AsyncExitStack
    ) -> AsyncIterator[_Task]:
        """Open a device that is not on a Modbus bus, and yield what it has to do all the time."""
        settings, profile, name = device.settings, device.profile, device.settings.name
        if isinstance(profile, SerialProfile):
            plant = SerialPlant(profile, folder / name)
            plant.trouble = device.trouble
            plant.start()
            opened.callback(plant.stop)
            self.serial[name] = plant
            self.places.append(Place(settings, "serial", f"serial://{plant.path}?baud=115200", {}))
        elif isinstance(profile, MqttProfile):
            says = lambda: self._published(device)  # noqa: E731 - bound to this device
            rest: dict[str, object] = {"access": {"protocol": "3.1.1"}, "device": name}
            if profile.topic is None:
                rest["topic"] = _TOPIC.replace("{device}", name)
            self.places.append(Place(settings, "mqtt", broker_url, rest))
            yield MqttPlant(broker_url, settings.period, says, device.trouble).run()
        elif isinstance(profile, HttpProfile):
            web = HttpPlant(lambda: messages(profile, self.values(name)).get(None, {}), device.trouble, settings.port)
            await web.start()
            opened.push_async_callback(web.stop)
            self.http[name] = web
            self.places.append(Place(settings, "http", f"http://127.0.0.1:{web.port}", {}))

    def _published(self, device: _Device) -> dict[str, Any]:
        profile, name = device.profile, device.settings.name
        assert isinstance(profile, MqttProfile)
        main = profile.topic or _TOPIC
        said = messages(profile, self.values(name))
        return {
            (topic or main).replace("{topic}", main).replace("{device}", name): what for topic, what in said.items()
        }

    # --- going

    async def _run(self, tasks: list[_Task]) -> None:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)
            for device in self._devices.values():
                group.create_task(self._live(device), name=f"plant.{device.settings.name}")
                for fault in device.settings.faults:
                    group.create_task(self._go_wrong(device, fault), name=f"plant.{device.settings.name}.{fault.kind}")

    async def _live(self, device: _Device) -> None:
        settings = device.settings
        while True:
            if settings.name in self.serial:
                self.serial[settings.name].say(self.values(settings.name))
                await asyncio.sleep(settings.period)
                continue
            bus = self.modbus.get(settings.name)
            if bus is not None:
                said = self.values(settings.name)
                async with self._plugging:
                    if bus.is_open:
                        measured = [name for name in _measured(device.profile) if name in said]
                        await bus.show(settings.unit, {name: said[name] for name in measured})
            await asyncio.sleep(_TICK_S)

    async def _go_wrong(self, device: _Device, fault: FaultSettings) -> None:
        await asyncio.sleep(fault.after)
        if fault.kind == "unplugged":
            await self.unplug(device.settings.name)
        else:
            device.trouble.begin(fault.kind, self._elapsed_s(), fault.point)
        if fault.lasts is None:
            return
        await asyncio.sleep(fault.lasts)
        if fault.kind == "unplugged":
            await self.plug(device.settings.name)
        else:
            device.trouble.end(fault.kind)

    def _moved(self, device: _Device, name: str) -> Value:
        value = device.base[name]
        point = next(p for p in device.profile.points if p.name == name)
        if isinstance(value, float) and point.kind == "gauge" and point.drift:
            return value + abs(value) * _STRAY * self._rng.gauss(0.0, 1.0)
        return value

    def _elapsed_s(self) -> float:
        return asyncio.get_running_loop().time() - self._start_s


def _measured(profile: Profile) -> Iterator[str]:
    """Return the points that are the device's to say and not a client's to write."""
    for point in profile.points:
        if getattr(point, "write", None) is None and (point.kind != "state" or point.identity == "firmware"):
            yield point.name


def _refuse_clashes(settings: PlantSettings, profiles: Mapping[str, Profile]) -> None:
    """Raise ConfigError when two devices would be in one place, or a device has no such point."""
    problems: list[Problem] = []
    names: set[str] = set()
    units: set[tuple[object, ...]] = set()
    for device in settings.devices:
        if device.name in names:
            problems.append(Problem(f"devices.{device.name}", "two devices of this name", "one name for each"))
        names.add(device.name)
        profile = profiles[device.name]
        known = {str(point.name) for point in profile.points}
        named = {*device.values, *(str(fault.point) for fault in device.faults if fault.point is not None)}
        wanted = f"a point of {profile.name}"
        problems += [Problem(f"devices.{device.name}", shown(point), wanted) for point in sorted(named - known)]
        if isinstance(profile, ModbusProfile):
            place = (device.port, device.line, device.unit)
            if place in units:
                problems.append(
                    Problem(f"devices.{device.name}.unit", str(device.unit), "a unit of its own on its bus")
                )
            units.add(place)
    if problems:
        raise ConfigError(problems)


def _made(folder: str) -> Path:
    path = Path(folder)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
