"""The plant of a day: four stations of fifty variables on two buses, in the same loop as the agent.

Each bus answers real requests with real bytes at the place where the agent's Modbus engine would put them on a
wire; planner, codec, schedule, breaker and identity are the product's own. It counts what it did.
"""

import asyncio
import random
import struct
from collections import Counter

from edge_agent.model.errors import LinkError

STATIONS = ("north", "east", "south", "west")
GAUGES = 48
PER_STATION = GAUGES + 2
"""The gauges, a valve and a serial number."""
POLL_S = 30.0
LATENCY_S, SILENCE_S = 0.02, 0.5

HEAD = """
[agent]
world_id = "plant"
data_dir = "{data}"
[sync]
interval = "30s"
[upstream]
url = "{broker}"
[drift]
season = "0s"
[[playbooks]]
name = "cool-south"
summary = "open the cooling valve of the south station"
on = {{ anomaly = "shift", variable = "south.g7", severity = "low" }}
steps = [{{ point = "south.valve", value = true, expect = false }}]
criteria = [{{ variable = "south.g7", is = "below", value = 92.0 }}]
deadline = "10m"
risk = 0.2
if_it_fails = "the south station stays warm"
[policy]
request_ttl = "30m"
[[policy.points]]
point = "south.valve"
range = [0, 1]
[[approvers]]
name = "anna"
key = "{key}"
"""


def configuration(data, key, broker):
    """Return agent.toml as text."""
    return HEAD.format(data=data, key=key, broker=broker) + "".join(
        _station(unit, name) for unit, name in enumerate(STATIONS, 1)
    )


def _station(unit, name):
    gauges = "".join(
        f'  {{ name = "g{n}", function = 4, address = {2 * n}, type = "float32", unit = "degC", range = [0, 500] }},\n'
        for n in range(GAUGES)
    )
    return f"""
[[sources]]
name = "{name}"
kind = "modbus"
url = "tcp://10.0.0.{1 + (unit - 1) // 2}:502"
unit = {unit}
poll = "{POLL_S:g}s"
points = [
{gauges}
  {{ name = "valve", function = 1, address = 0, type = "bool", kind = "state", drift = false, write = {{ range = [0, 1], settle = "1s" }} }},
  {{ name = "serial_number", function = 4, address = 200, type = "uint32", identity = "serial", drift = false }},
]
"""


class Plant:
    """What is on site, and what was asked of it."""

    def __init__(self, seed=7):
        self._rng = random.Random(seed)
        self.serial = dict.fromkeys((1, 2, 3, 4), 0) | {unit: 1000 + unit for unit in (1, 2, 3, 4)}
        self.level = dict.fromkeys((1, 2, 3, 4), 50.0)
        self.valve = dict.fromkeys((1, 2, 3, 4), False)
        self.silent = set()
        self.warming_since_s = None
        """Since when the south station's g7 warms up; its valve cools it."""
        self.writes = []
        self.served = 0
        """Values of points that were handed out, good ones all."""
        self.unanswered = 0
        """Requests that met silence."""
        self.asked = Counter()
        """Requests answered, by unit."""

    def exchange_of(self, bus_clock):
        """Return what stands in for the engine's exchange on one bus."""
        return _Exchange(self, bus_clock)

    def answer(self, unit, request, now_s):
        """Return what stands behind the function code of the answer."""
        code, address, count = struct.unpack(">BHH", request[:5])
        if code == 5:
            self.valve[unit] = count == 0xFF00
            self.writes.append((unit, self.valve[unit], now_s))
            return request[1:5]
        self.asked[unit] += 1
        if code == 1:
            self.served += 1
            return bytes((1, self.valve[unit]))
        registers = b"".join(self._cell(unit, at, now_s) for at in range(address, address + count, 2))
        self.served += count // 2
        return bytes((len(registers),)) + registers

    def _cell(self, unit, address, now_s):
        if address == 200:
            return struct.pack(">I", self.serial[unit])
        n = address // 2
        value = self.level[unit] + 5.0 * n + self._rng.gauss(0, 0.5)
        if unit == 3 and n == 7 and self.warming_since_s is not None and not self.valve[3]:
            value += min(10.0, (now_s - self.warming_since_s) / 600)
        return struct.pack(">f", round(value, 1))


class _Exchange:
    """See edge_agent.sources.modbus.exchange.Exchange: open, close and exchange."""

    def __init__(self, plant, clock):
        self._plant, self._clock = plant, clock
        self.line = None

    async def open(self):
        await asyncio.sleep(LATENCY_S)

    def close(self):
        pass

    async def exchange(self, device, request, size, where, spare=None, echo=None):
        if device.unit in self._plant.silent:
            self._plant.unanswered += 1
            await asyncio.sleep(SILENCE_S)
            raise LinkError(f"{where}: no answer within {SILENCE_S:g} s", "timeout")
        await asyncio.sleep(LATENCY_S)
        return self._plant.answer(device.unit, request, asyncio.get_running_loop().time()), self._clock()
