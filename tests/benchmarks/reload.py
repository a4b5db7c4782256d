"""What a reload costs the neighbours of a device that is added, beside a restart with the same file in the same run.

    .venv/bin/python tests/benchmarks/reload.py --units 20

Units of 50 float32 variables each on one Modbus TCP server are polled every second. A gap is the longest time between
two polls of one unit, as the server saw them; CPU is the agent's own, over the ten seconds that begin with the change.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

COMMAND = [sys.executable, "-m", "edge_agent.cli"]
POINTS = 50
SETTLE_S, AROUND_S = 10.0, 10.0
HEAD = '[agent]\nworld_id = "w"\ndata_dir = "data"\n'
UNIT = '[[sources]]\nname = "u{unit}"\nkind = "modbus"\nurl = "tcp://127.0.0.1:{port}"\nunit = {unit}\nprofile = "p.toml"\n'
PROFILE = """
name = "p"
title = "fifty of them"
protocol = "modbus"
entity_type = "box"
examples = []
[provenance]
source = "tests/benchmarks"
date = "2026-11-25"
verified = true
""" + "".join(f'[[points]]\nname = "v{n}"\nfunction = 4\naddress = {2 * n}\ntype = "float32"\n' for n in range(POINTS))


class Server:
    """Units, and when each was asked."""

    def __init__(self, units):
        self.asked = {}
        values = SimData(0, values=[16_000] * 2 * POINTS, datatype=DataType.REGISTERS)
        bits = SimData(0, values=[False] * 16, datatype=DataType.BITS)
        devices = [SimDevice(unit, ([bits], [bits], [values], [values])) for unit in range(1, units + 1)]
        self._server = ModbusTcpServer(devices, address=("127.0.0.1", 0), trace_packet=self._saw)

    async def start(self):
        await self._server.serve_forever(background=True)
        self.port = self._server.transport.sockets[0].getsockname()[1]

    def _saw(self, sending, frame):
        if not sending:
            self.asked.setdefault(frame[6], []).append(time.monotonic())
        return frame

    def gap_s(self, since_s):
        """Return the longest time between two polls of a unit of which the later one came since then."""
        return max(
            b - a
            for times in self.asked.values()
            for a, b in zip(times, times[1:], strict=False)  # noqa: RUF007 - a comprehension of two
            if b >= since_s
        )


async def started(config):
    agent = await asyncio.create_subprocess_exec(
        *COMMAND, "run", str(config), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert await agent.stdout.readline() == b"READY\n"
    return agent


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid):
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(fields["VmRSS"].split()[0]) / 1024


async def reload(agent, config):
    """Have the agent take up the file; return (the agent, seconds of CPU it took before)."""
    before = cpu_s(agent.pid)
    asking = await asyncio.create_subprocess_exec(*COMMAND, "reload", str(config), stdout=asyncio.subprocess.DEVNULL)
    assert await asking.wait() == 0
    return agent, before


async def restart(agent, config):
    """End the agent and start it on the file."""
    agent.send_signal(signal.SIGTERM)
    assert await agent.wait() == 0
    return await started(config), 0.0


async def measured(units):
    server = Server(units + 2)
    await server.start()
    with tempfile.TemporaryDirectory() as name:
        config, profile = Path(name) / "agent.toml", Path(name) / "p.toml"
        profile.write_text(PROFILE)
        text = HEAD + "".join(UNIT.format(unit=unit, port=server.port) for unit in range(1, units + 1))
        config.write_text(text)
        for path in (config, profile):
            path.chmod(0o600)
        agent = await started(config)
        await asyncio.sleep(SETTLE_S)
        print(f"{units * POINTS} variables, one unit more; {memory_mib(agent.pid):.1f} MiB before")
        print(f"{'':10} gap, s   answered after, s   CPU, s   MiB")
        for added, change in ((1, reload), (2, restart)):
            text += UNIT.format(unit=units + added, port=server.port)
            config.write_text(text)
            began_s = time.monotonic()
            agent, before = await change(agent, config)
            took_s = time.monotonic() - began_s
            await asyncio.sleep(max(0.0, AROUND_S - took_s))
            print(
                f"{change.__name__:10} {server.gap_s(began_s):6.2f}   {took_s:17.2f}   {cpu_s(agent.pid) - before:6.2f}"
                f"   {memory_mib(agent.pid):.1f}"
            )
        agent.terminate()
        await agent.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--units", type=int, default=20)
    asyncio.run(measured(parser.parse_args().units))


if __name__ == "__main__":
    main()
