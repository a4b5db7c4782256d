"""The boiler house as a whole: the physics, and the devices through which it is seen and moved.

Time in it is made of ticks of fixed length, so that a seed gives the same plant on a slow machine as on a fast
one; a machine that falls behind makes up for the ticks it missed.
"""

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Literal

import msgspec

from edge_agent.model.profile import ModbusProfile, SerialProfile
from edge_agent.model.reading import Value
from edge_agent.plant.broker import BrokerPlant
from edge_agent.plant.modbus import ModbusPlant
from edge_agent.plant.mqtt import MqttPlant
from edge_agent.plant.physics import BearingDrift, BoilerHouse, Controls, Moment
from edge_agent.plant.serial import SerialPlant

METER_UNIT = 1
PUMP_UNIT = 2
ROOM_TOPIC = "plant/boiler-room"
TICK_S = 0.1
Fault = Literal["stuck-valve"]
FAULTS: tuple[Fault, ...] = ("stuck-valve",)
"""What else can be wrong with the plant."""
_PUMP_IDENTITY: dict[str, Value] = {"serial": "CP-2026-00042", "firmware": 14}


class Addresses(msgspec.Struct, frozen=True):
    """Where the plant's devices are found, once it runs."""

    modbus_url: str
    """tcp://127.0.0.1:port, with the meter and the pump behind `METER_UNIT` and `PUMP_UNIT`."""
    serial_path: str
    broker_url: str
    """Where the room's sensor publishes to `ROOM_TOPIC`."""


class Plant:
    """The boiler house, from `start` to `stop`; once.

    `meter`, `pump` and `line` are the profiles its Modbus devices and its counter are built from. With `broker_url` the room's sensor
    publishes there; without, the plant brings a broker of its own, `broker`. A port of 0 takes a free one.
    """

    def __init__(  # noqa: PLR0913 - what a test may set, by name
        self,
        meter: ModbusProfile,
        pump: ModbusProfile,
        line: SerialProfile,
        *,
        seed: int = 1,
        drift: BearingDrift | None = None,
        modbus_port: int = 0,
        broker_url: str | None = None,
        line_period_s: float = 1.0,
        room_period_s: float = 1.0,
    ) -> None:
        self.modbus = ModbusPlant({METER_UNIT: meter, PUMP_UNIT: pump}, modbus_port)
        self.serial = SerialPlant(line)
        self.broker = BrokerPlant()
        self._broker_url = broker_url
        self._line_period_s, self._room_period_s = line_period_s, room_period_s
        self._house = BoilerHouse(random.Random(seed), drift)  # noqa: S311 - physics, not keys
        self._controls = Controls()
        self._moment = self._house.step(TICK_S, self._controls)
        self._open = AsyncExitStack()

    async def start(self) -> Addresses:
        """Open every port, show the first moment, and set the plant going. What was opened is closed on failure."""
        async with AsyncExitStack() as opened:
            opened.push_async_callback(self.modbus.stop)
            opened.callback(self.serial.stop)
            opened.push_async_callback(self.broker.stop)
            await self.modbus.start()
            self.serial.start()
            if self._broker_url is None:
                await self.broker.start()
            at_first: dict[str, Value] = {
                "speed_setpoint": self._controls.speed_setpoint_rpm,
                "valve": self._controls.valve_open,
            }
            await self.modbus.show(PUMP_UNIT, _PUMP_IDENTITY | at_first)
            await self._show(self._moment)
            url = self._broker_url or self.broker.url
            running = asyncio.create_task(self._run(url), name="plant")
            opened.push_async_callback(_ended, running)
            self._open = opened.pop_all()
        return Addresses(f"tcp://127.0.0.1:{self.modbus.port}", self.serial.path, url)

    def go_wrong(self, fault: Fault) -> None:
        """Let something else be wrong with the plant from now on."""
        assert fault == "stuck-valve"
        self.modbus.trouble[PUMP_UNIT].begin("stuck", point="valve")

    async def stop(self) -> None:
        """Stop the plant and close every port. Raises what ended it early, if anything did."""
        await self._open.aclose()

    async def _run(self, broker_url: str) -> None:
        room = MqttPlant(broker_url, self._room_period_s, lambda: {ROOM_TOPIC: _rounded(self._moment.room)})
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick(), name="plant.tick")
            tasks.create_task(self._talk(), name="plant.line")
            tasks.create_task(room.run(), name="plant.room")

    async def _tick(self) -> None:
        clock = asyncio.get_running_loop().time
        due_s = clock()
        while True:
            due_s += TICK_S
            await asyncio.sleep(due_s - clock())
            self._moment = self._house.step(TICK_S, await self._set())
            await self._show(self._moment)

    async def _set(self) -> Controls:
        """Return what was written last; a drive goes on as it was when it cannot use its setpoint."""
        speed_rpm = await self.modbus.standing(PUMP_UNIT, "speed_setpoint")
        valve = await self.modbus.standing(PUMP_UNIT, "valve")
        # A stuck one: the drive takes the command and says so; the valve does not move, and its contact shows that.
        moved = self.modbus.trouble[PUMP_UNIT].shown({"valve": valve}, 0.0)["valve"]
        if moved != valve:
            valve = moved
            await self.modbus.show(PUMP_UNIT, {"valve": valve})
        if isinstance(speed_rpm, (int, float)):
            self._controls = Controls(float(speed_rpm), bool(valve))
        return self._controls

    async def _show(self, moment: Moment) -> None:
        await self.modbus.show(METER_UNIT, moment.meter)
        await self.modbus.show(PUMP_UNIT, moment.pump)

    async def _talk(self) -> None:
        while True:
            self.serial.say(self._moment.line)
            await asyncio.sleep(self._line_period_s)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in values.items()}


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
