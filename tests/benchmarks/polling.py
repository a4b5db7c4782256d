"""What polling costs: 500 float32 variables on one Modbus TCP device, every second, half of them changing.

    python tests/benchmarks/polling.py --seconds 30

Device, broker and subject are processes of their own. The subjects are (a) the floor, a bare pymodbus loop that
reads and decodes and does nothing else, and (b) the agent with everything on: twin, statistics, log, signatures,
upstream.

CPU is the time that all threads ran, user and system, from schedstat under /proc: the ticks of /proc/PID/stat are
too coarse for the floor. Bytes upstream are payloads as a subscriber gets them. Figures move by some per cent from run
to run; the ratios are what counts.

Flash is told in four ways. What system calls handed over (`wchar`) is the least. What files took in whole pages is what
a card writes. What the disk under --dir got is the same as seen by the disk, if nobody else writes to it: on a file
system of its own it is within a tenth of the pages, and decides. `write_bytes` of /proc/PID/io is what the kernel charged
the process: with large folios (Linux 6.18 on ext4) the 256 KiB around each page that changed, sixty times what is written.

    truncate -s 200M img && mkfs.ext4 -q img && sudo mount -o loop img /mnt && sudo chown $USER /mnt
    python tests/benchmarks/polling.py --dir /mnt
"""

import argparse
import asyncio
import contextlib
import functools
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

VARIABLES = 500
POLL_S = 1.0
BLOCK = 125
PAGE = 4096
SNAPSHOT_EVERY_S = 900
WARMUP = 20
"""Readings before the statistics have an opinion; the fewest that may be configured."""
AGENT = "import sys; from edge_agent.cli.main import main; sys.exit(main())"


class Usage(NamedTuple):
    """What a process has used so far: CPU seconds, bytes written, and memory."""

    cpu_s: float
    called: int
    """Bytes that it handed over to be written."""
    written: int
    """Bytes that the kernel charged it for."""
    disk: float
    """Bytes that all processes wrote to its disk."""
    resident: int


class Cost(NamedTuple):
    """What a subject cost over the window, a reading."""

    name: str
    cpu_us: float
    resident_mib: float
    called: float
    written: float
    disk: float
    upstream: Counter
    files: float
    """Bytes of files that were written, in whole pages: see `on_flash`."""


async def device(port_file, variables):
    """Serve the variables; each second every other one takes a new value around its own mean."""
    from edge_agent.model.checked import Name
    from edge_agent.model.profile import ModbusProfile, Provenance, RegisterPoint
    from edge_agent.plant.modbus import ModbusPlant

    points = tuple(
        RegisterPoint(name=Name(f"v{n}"), function=4, address=2 * n, type="float32") for n in range(variables)
    )
    profile = ModbusProfile(
        name=Name("wide"), title="", entity_type=Name("meter"), provenance=Provenance("", "", True), points=points,
        examples=(),
    )  # fmt: skip
    server = ModbusPlant({1: profile})
    await server.start()
    rng = random.Random(1)
    await server.show(1, {f"v{n}": rng.gauss(230, 1) for n in range(variables)})
    port_file.write(f"{server.port}\n")
    port_file.flush()
    half = 0
    while True:
        await asyncio.sleep(POLL_S)
        await server.show(1, {f"v{n}": rng.gauss(230, 1) for n in range(half, variables, 2)})
        half = 1 - half


async def floor(port, variables):
    """Read and decode every register each second, and nothing else."""
    from pymodbus.client import AsyncModbusTcpClient

    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    print("READY", flush=True)
    clock = asyncio.get_running_loop().time
    due = clock()
    while True:
        registers = []
        for start in range(0, 2 * variables, BLOCK):
            answer = await client.read_input_registers(start, count=min(BLOCK, 2 * variables - start), device_id=1)
            registers += answer.registers
        struct.unpack(f">{variables}f", struct.pack(f">{len(registers)}H", *registers))
        due += POLL_S
        await asyncio.sleep(due - clock())


def configuration(folder, device_port, broker_url, variables, more=""):
    """Write an agent.toml for the device, and return its path. `more` stands with each point."""
    points = "".join(
        f'[[sources.points]]\nname = "v{n}"\nfunction = 4\naddress = {2 * n}\ntype = "float32"\n{more}\n'
        for n in range(variables)
    )
    path = folder / "agent.toml"
    path.write_text(
        f'[agent]\nworld_id = "bench"\ndata_dir = "{folder}/data"\n[upstream]\nurl = "{broker_url}"\n'
        f'[drift]\nwarmup = {WARMUP}\n[[sources]]\nname = "wide"\nkind = "modbus"\n'
        f'url = "tcp://127.0.0.1:{device_port}"\npoll = "{POLL_S:g}s"\n{points}'
    )
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def child(*command):
    """Run a program until the block ends; give it with the first line that it printed."""
    command = [sys.executable, *map(str, command)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=as_installed())
    try:
        line = process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{command[:3]} ended before it was ready")
        yield process, line
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@functools.cache
def as_installed():
    """Return the environment in which a subject runs as it does where it is installed: with its bytecode compiled."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPATH"] = str(ROOT)
    subprocess.run([sys.executable, "-c", "import edge_agent.cli.run, edge_agent.sources.modbus"], check=True, env=env)
    return env


def disk_written(folder):
    """Return the bytes written so far to the disk under `folder`, or infinity where the kernel keeps no count."""
    device = Path(folder).stat().st_dev
    try:
        fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    except FileNotFoundError:
        return float("inf")
    return int(fields[6]) * 512


def usage(pid, folder):
    """Read what a process has used so far."""
    ran_ns = sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    lines = Path(f"/proc/{pid}/io").read_text() + Path(f"/proc/{pid}/status").read_text()
    table = dict(line.split(":", 1) for line in lines.splitlines())
    resident = int(table["VmRSS"].split()[0]) * 1024
    return Usage(ran_ns / 1e9, int(table["wchar"]), int(table["write_bytes"]), disk_written(folder), resident)


def logged(folder):
    """Return (bytes, records) of the log of an agent that runs, nothing where there is none."""
    if not (folder / "data").exists():
        return 0, 0
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(f"{folder}/data/status.sock")
        log = json.loads(asked.makefile().read())["log"]
    return log["bytes"], log["last"]


def on_flash(folder, before, after, seconds):
    """Return the bytes that an agent has written in a window, as a card counts them.

    The log is written into a file that has its size already, so that a record costs the pages it touches and nothing
    of the file system; what comes each quarter of an hour is two files.
    """
    size, records = after[0] - before[0], after[1] - before[1]
    snapshot = sum(path.stat().st_size for path in (folder / "data").glob("*.json"))
    return size + records * PAGE + snapshot * seconds / SNAPSHOT_EVERY_S


async def measure(name, process, folder, settle_s, seconds, upstream, variables):
    """Let a subject settle, then watch it for the window."""
    await asyncio.sleep(settle_s)
    upstream.clear()
    before, log_before = usage(process.pid, folder), logged(folder)
    await asyncio.sleep(seconds)
    if process.poll() is not None:
        raise SystemExit(f"{name} ended while it was measured")
    after, log_after = usage(process.pid, folder), logged(folder)
    readings = variables / POLL_S * seconds
    disk = after.disk - before.disk if before.disk < float("inf") else float("inf")
    return Cost(
        name=name,
        cpu_us=(after.cpu_s - before.cpu_s) * 1e6 / readings,
        resident_mib=after.resident / 2**20,
        called=(after.called - before.called) / readings,
        written=(after.written - before.written) / readings,
        disk=disk / readings,
        upstream=Counter({channel: count / readings for channel, count in upstream.items()}),
        files=on_flash(folder, log_before, log_after, seconds) / readings,
    )


async def count_upstream(url, upstream):
    """Add up the payload bytes by channel, until cancelled."""
    from edge_agent.model.site import BrokerAccess
    from edge_agent.mqtt import Session

    session = Session(url, BrokerAccess(), "benchmark", max_packet=64 * 2**20)
    await session.open()
    await session.subscribe(["edge/v1/bench/#"])
    while True:
        message = await session.next_message()
        upstream[message.topic.rpartition("/")[2]] += len(message.payload)


async def compare(folder, seconds, variables=VARIABLES, more=""):
    """Measure both subjects, one after the other."""
    from peers import Broker

    upstream, size = Counter(), ("--variables", variables)
    with Broker(folder) as broker, child(__file__, "--as", "device", *size) as (_, port):
        with child(__file__, "--as", "floor", "--port", port, *size) as (process, _):
            bare = await measure("bare pymodbus loop", process, folder, 3, seconds, Counter(), variables)
        listening = asyncio.create_task(count_upstream(broker.url, upstream))
        with child("-c", AGENT, "run", configuration(folder, port, broker.url, variables, more)) as (process, _):
            settle_s = (WARMUP + 5) * POLL_S
            agent = await measure("edge-agent run", process, folder, settle_s, seconds, upstream, variables)
        listening.cancel()
    return bare, agent


def report(bare, agent, seconds, variables):
    """Print the table."""
    print(f"{variables} variables every {POLL_S:g} s, half of them changing, over {seconds:g} s; a reading:\n")
    print(f"{'':22}{'CPU µs':>10}{'RSS MiB':>10}{'upstream B':>12}")
    for cost in (bare, agent):
        sent = cost.upstream["record"]
        print(f"{cost.name:22}{cost.cpu_us:10.1f}{cost.resident_mib:10.1f}{sent:12.1f}")
    print(f"{'ratio':22}{agent.cpu_us / max(bare.cpu_us, 1e-9):10.1f}{agent.resident_mib / bare.resident_mib:10.1f}")
    other = ", ".join(f"{key} {n:.1f} B" for key, n in agent.upstream.items() if key != "record") or "nothing"
    print(f"\na changed value: {2 * agent.upstream['record']:.1f} B upstream; besides records: {other}")
    print(
        f"flash a reading: files in whole pages {agent.files:.1f} B, handed over in system calls {agent.called:.1f} B, "
        f"to the disk by all {agent.disk:.1f} B, as the kernel charges it {agent.written:.1f} B"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30, help="length of each window")
    parser.add_argument("--dir", default="/var/tmp", help="where the agent's data folder is made; a real disk")
    parser.add_argument("--variables", type=int, default=VARIABLES)
    parser.add_argument("--as", dest="role", choices=("device", "floor"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        if args.role == "device":
            asyncio.run(device(sys.stdout, args.variables))
        elif args.role == "floor":
            asyncio.run(floor(args.port, args.variables))
        else:
            with tempfile.TemporaryDirectory(dir=args.dir) as folder:
                costs = asyncio.run(compare(Path(folder), args.seconds, args.variables))
                report(*costs, args.seconds, args.variables)


if __name__ == "__main__":
    main()
