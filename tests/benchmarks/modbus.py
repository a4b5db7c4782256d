"""What reading Modbus costs by itself: blocks of 125 registers, as fast as one core can, beside a bare pymodbus loop.

    python tests/benchmarks/modbus.py --seconds 5

The device is a process of its own that answers with prepared bytes, so that the reader is what is measured. CPU is
user and system time of the reading process. "ours" is the link with its checks, the runner with schedule and
breakers, the door and the inbox; nothing behind it. The bare loop asks, decodes, and does nothing else. Both take
turns, several times, and the median of each is told. Time to first value is from the start of `edge-agent run` to
the first record at a broker; polls kept is with ten units behind one socket, one of them dead, each due twice a
second.
"""

import argparse
import asyncio
import contextlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from polling import as_installed

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

BLOCKS = 8
BLOCK = 125
FLOATS = 62
"""Of two registers each; one register of a block is left over."""
DEAD = 4
UNITS = range(1, 11)
TURNS = 3
AGENT = "import sys; from edge_agent.cli.main import main; sys.exit(main())"


async def device():
    """Answer every read with as many registers of 230.5, but those to the dead unit."""
    body = struct.pack(">f", 230.5) * 64

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(12)
                size = 2 * int.from_bytes(head[10:])
                if head[6] != DEAD:
                    writer.write(head[:4] + struct.pack(">HBBB", size + 3, head[6], head[7], size) + body[:size])

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def device_process():
    """Run the device until the block ends; give its port."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--device"], stdout=subprocess.PIPE, text=True, env=as_installed()
    )
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


async def bare(port, seconds):
    """Return CPU seconds, wall seconds and readings of a loop that asks and decodes."""
    from pymodbus.client import AsyncModbusTcpClient

    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    form, count = struct.Struct(f">{FLOATS}fH"), 0
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        for start in range(0, BLOCKS * BLOCK, BLOCK):
            answer = await client.read_input_registers(start, count=BLOCK, device_id=1)
            form.unpack(struct.pack(f">{BLOCK}H", *answer.registers))
            count += FLOATS
    result = time.process_time() - cpu, time.perf_counter() - began, count
    client.close()
    return result


def points(blocks):
    """Return the points that make so many full blocks: the last register of each is one of its own."""
    from edge_agent.model.profile import RegisterPoint

    for block in range(blocks):
        for n in range(FLOATS):
            address = BLOCK * block + 2 * n
            yield RegisterPoint(name=f"v{block}-{n}", function=4, address=address, type="float32")
        yield RegisterPoint(name=f"w{block}", function=4, address=BLOCK * block + BLOCK - 1, type="uint16")


def runner_for(port, units, poll_s, blocks):
    """Return a runner over one socket to some units."""
    from edge_agent.model.checked import Seconds
    from edge_agent.model.profile import BusLimits
    from edge_agent.model.site import ModbusSettings, Source
    from edge_agent.service.clock import Clock
    from edge_agent.service.door import Door
    from edge_agent.service.inbox import Inbox
    from edge_agent.service.runner import Runner
    from edge_agent.sources.modbus import links

    limits = BusLimits(latency=Seconds(0))
    sources = [
        Source(
            ModbusSettings(name=f"m{unit}", url=f"tcp://127.0.0.1:{port}", unit=unit, poll=Seconds(poll_s)),
            f"w:device:m{unit}", "device", tuple(points(blocks)), limits,
        )
        for unit in units
    ]  # fmt: skip
    (link,) = links(sources, Clock())
    return Runner(link, Inbox(), Clock(), lambda: 0.5, Door(sources))


async def run_for(runner, seconds):
    """Let a runner run, emptying its inbox ten times a second as a turn would; return CPU, wall and readings."""
    task = asyncio.create_task(runner.run())
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        await asyncio.sleep(0.1)
        runner._inbox.take()
    result = time.process_time() - cpu, time.perf_counter() - began, runner._inbox.received
    runner.stop(task)
    await asyncio.wait([task])
    return result


async def first_value(port, folder):
    """Return how long a whole agent takes from its start to its first record with a value at the broker."""
    from peers import Broker

    from edge_agent.model.site import BrokerAccess
    from edge_agent.mqtt import Session

    config = Path(folder) / "agent.toml"
    with Broker(folder) as broker:
        config.write_text(
            f'[agent]\nworld_id = "bench"\ndata_dir = "{folder}/data"\n[upstream]\nurl = "{broker.url}"\n[[sources]]\n'
            f'name = "m"\nkind = "modbus"\nurl = "tcp://127.0.0.1:{port}"\n[[sources.points]]\nname = "v"\n'
            'function = 4\naddress = 0\ntype = "float32"\n'
        )
        config.chmod(0o600)
        session = Session(broker.url, BrokerAccess(), "benchmark", max_packet=2**20)
        await session.open()
        await session.subscribe(["edge/v1/bench/record"])
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", AGENT, "run", str(config), env=as_installed(), stdout=subprocess.DEVNULL
        )
        try:
            while struct.pack(">f", 230.5) not in (await session.next_message()).payload:
                pass
            return time.perf_counter() - began
        finally:
            process.terminate()
            await process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="length of each window")
    parser.add_argument("--device", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.device:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(device())
        return
    with device_process() as port, tempfile.TemporaryDirectory() as folder:
        theirs, ours = [], []
        for _ in range(TURNS):
            theirs.append(asyncio.run(bare(port, args.seconds)))
            ours.append(asyncio.run(run_for(runner_for(port, [1], 0.0001, BLOCKS), args.seconds)))
        for name, runs in (("bare pymodbus loop", theirs), ("ours: link, runner, inbox", ours)):
            cpu_us = statistics.median(cpu / count * 1e6 for cpu, _, count in runs)
            rate = statistics.median(count / cpu for cpu, _, count in runs)
            print(f"{name:28}{cpu_us:6.2f} us of CPU a reading,{rate:10,.0f} readings a second of CPU", flush=True)
        ten = runner_for(port, UNITS, 0.5, 1)
        asyncio.run(run_for(ten, max(20.0, args.seconds)))
        shares = [
            t.answered / (t.answered + t.failed + t.skipped) for p, t in ten.tallies.items() if p.unit != str(DEAD)
        ]
        print(
            f"polls kept with 1 of 10 dead: {min(shares):.1%} of the worst of the nine, {statistics.mean(shares):.1%} of all"
        )
        print(f"time to first value upstream: {asyncio.run(first_value(port, folder)):.2f} s")


if __name__ == "__main__":
    main()
