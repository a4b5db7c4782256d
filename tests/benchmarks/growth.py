"""How a turn and memory grow with the plant and with what changes: 10 to 10 000 variables, none to all of them.

    python tests/benchmarks/growth.py --svg growth.svg

The real agent with everything on but a broker: Modbus engine, twin, statistics, log on disk, signatures. Its device
answers in the same loop, whose clock jumps (tests/fake_time.py), so that what is told is CPU and never waiting. Every
point of the table is a process of its own, and --svg makes a picture of them (picture.py).
"""

import argparse
import asyncio
import json
import platform
import random
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polling

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

SIZES = (10, 100, 1000, 10_000)
SHARES = (0.0, 0.1, 0.5, 1.0)
WARMUP = 20
SETTLED, MEASURED = WARMUP + 5, 15
"""Turns before, and turns over which is measured."""
PER_UNIT = 1000


class Device:
    """Stands in for the engine's exchange; before each turn a share of the values is drawn anew."""

    line = None

    def __init__(self, variables, share, now):
        self._rng, self._now = random.Random(1), now
        self._values = [[230.0] * min(PER_UNIT, variables - first) for first in range(0, variables, PER_UNIT)]
        self._share = share
        self.spent_s = 0.0
        """What drawing costs is not the agent's."""

    async def open(self):
        await asyncio.sleep(0)

    def close(self):
        pass

    async def exchange(self, device, request, size, where, spare=None, echo=None):
        began = time.process_time()
        _, address, count = struct.unpack(">BHH", request[:5])
        values, first = self._values[device.unit - 1], address // 2
        for n in range(first, first + round(count // 2 * self._share)):
            values[n] = self._rng.gauss(230, 1)
        body = struct.pack(f">{count // 2}f", *values[first : first + count // 2])
        self.spent_s += time.process_time() - began
        return bytes((len(body),)) + body, self._now()


def configuration(folder, variables, more):
    text = f'[agent]\nworld_id = "bench"\ndata_dir = "{folder}/data"\n[drift]\nwarmup = {WARMUP}\n'
    for unit, first in enumerate(range(0, variables, PER_UNIT), 1):
        text += (
            f'[[sources]]\nname = "u{unit}"\nkind = "modbus"\nurl = "tcp://127.0.0.1:1"\nunit = {unit}\npoll = "1s"\n'
        )
        for n in range(min(PER_UNIT, variables - first)):
            text += f'[[sources.points]]\nname = "v{n}"\nfunction = 4\naddress = {2 * n}\ntype = "float32"\n{more}\n'
    path = Path(folder) / "agent.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def point(folder, variables, share, more):
    """Return (ms of CPU a turn, resident MiB) of one agent. `more` stands with each point of its configuration."""
    from fake_time import FakeClock, FakeTimeLoop

    from edge_agent.config import load
    from edge_agent.service.agent import Agent
    from edge_agent.service.frugal import be_frugal

    be_frugal()
    clock = FakeClock(1_700_000_000_000)
    agent = Agent(load(configuration(folder, variables, more)), clock)
    device = Device(variables, share, clock)
    for runner in agent.runners:
        runner.link._exchange = device
    marks = []

    def mark():
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
        marks.append((time.process_time() - device.spent_s, resident))

    async def serve():
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.call_at(SETTLED, mark)
        loop.call_at(SETTLED + MEASURED, mark)
        loop.call_at(SETTLED + MEASURED, stop.set)
        await agent.run(stop, lambda: None)

    try:
        with asyncio.Runner(loop_factory=FakeTimeLoop) as runner:
            runner.run(serve())
    finally:
        agent.close()
    (before_s, _), (after_s, resident) = marks
    return (after_s - before_s) * 1e3 / MEASURED, resident / 2**20


def measured(folder, variables, share, more=""):
    """Return the same from a process of its own."""
    command = [sys.executable, __file__, "--point", str(variables), str(share), "--more", more, "--dir", str(folder)]
    env = polling.as_installed()
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)


def told(folder, svg):
    """Measure all points and print the table as they come; then write the picture, where one is asked for."""
    from picture import picture

    points = {}
    print(f"{'variables':>10}" + "".join(f"{f'{share:.0%} change':>22}" for share in SHARES))
    print(f"{'':10}" + f"{'CPU ms':>10}{'RSS MiB':>12}" * len(SHARES), flush=True)
    for variables in SIZES:
        for share in SHARES:
            points[variables, share] = measured(folder, variables, share)
        cells = (points[variables, share] for share in SHARES)
        print(f"{variables:10}" + "".join(f"{cpu:10.2f}{resident:12.1f}" for cpu, resident in cells), flush=True)
    if svg:
        python = platform.python_version()
        Path(svg).write_text(picture(points, f"Python {python}, {platform.machine()}, one core of a PC") + "\n")
        print(f"\n{svg} is the picture of it")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", default="/var/tmp", help="where data folders are made; a real disk")
    parser.add_argument("--svg", help="file to write the picture to")
    parser.add_argument("--point", nargs=2, type=float, help=argparse.SUPPRESS)
    parser.add_argument("--more", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        if args.point:
            print(json.dumps(point(folder, int(args.point[0]), args.point[1], args.more)))
        else:
            told(folder, args.svg)


if __name__ == "__main__":
    main()
