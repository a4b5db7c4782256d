"""What keeping records costs, and how fast a backlog drains, beside SQLite (WAL, synchronous=FULL) in the same run.

    python tests/benchmarks/store.py

1. A turn: one sealed record of about 2 KB made durable. CPU, bytes to flash, and calls of fsync and fdatasync (counted
   by strace in a run of their own, where strace is installed).
2. A start after a kill: a log of 64 MiB whose newest snapshot is a quarter of an hour old. Ready is when the world
   stands, 900 records verified; all is when every segment was looked through, which the agent does while it serves. The
   rival's table holds the rows that wait: opened, and read with an integrity check.
3. A drain: 100 000 records wait on disk, the broker comes back, a device is polled meanwhile. The rival reads the same
   rows from its table, 500 at a time, publishes them through the same session and deletes what was acknowledged; it
   polls nothing.
4. Memory of the agent, with 100 000 records waiting and with a few.

Every subject is a process of its own, and so is the broker. CPU and flash are measured as polling.py does and says.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from polling import ROOT, child, usage

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

TURNS = 500
LOG_BYTES = 64 * 2**20
WAITING = 100_000
REPLAYED = 900
"""Records after the newest snapshot, as many as a quarter of an hour brings."""
POLL_S = 0.1
AGENT = "import sys; from edge_agent.cli.main import main; sys.exit(main())"
ROWS = "CREATE TABLE IF NOT EXISTS record (seq INTEGER PRIMARY KEY, envelope BLOB)"
CONFIG = """
[agent]
world_id = "bench"
data_dir = "{folder}/data"
[upstream]
url = "{broker}"
[[sources]]
name = "wide"
kind = "modbus"
url = "tcp://127.0.0.1:{port}"
poll = "{poll:g}s"
"""


def configuration(folder, port, broker, variables):
    """Write an agent.toml, and return its path."""
    points = "".join(
        f'[[sources.points]]\nname = "v{n}"\nfunction = 4\naddress = {2 * n}\ntype = "float32"\n'
        for n in range(variables)
    )
    path = folder / "agent.toml"
    folder.mkdir(exist_ok=True)
    path.write_text(CONFIG.format(folder=folder, broker=broker, port=port, poll=POLL_S) + points)
    path.chmod(0o600)
    return path


def chain(site, key):
    """Give one sealed record after another of a site whose every value changes each time: (record, world, head)."""
    import random

    from edge_agent.model.record import ZERO_DIGEST, Entry, Record
    from edge_agent.model.world import State, replace_world
    from edge_agent.seal.digest import entity_digests, root_digest
    from edge_agent.seal.records import seal_record
    from edge_agent.twin.baseline import baseline, empty_world
    from edge_agent.twin.diff import diff

    rng, at_ms = random.Random(1), time.time_ns() // 1_000_000 - 200_000_000
    before = empty_world(site.world_id)
    after, digests, head = baseline(site, before), entity_digests(before), ZERO_DIGEST
    facts = {"status": "synced", "anomalies": 0, "severity": None, "risk": 0.0, "ahead": 0.0, "confidence": 1.0}
    while True:
        seq, at_ms = before.version + 1, at_ms + 1000
        after = replace_world(after, version=seq, at_ms=at_ms)
        digests = entity_digests(after, (before, digests))
        state = root_digest(site.world_id, digests)
        audit = (Entry("turn", {**facts, "readings": len(after.variables)}),)
        record = Record(site.world_id, seq, head, bytes(16), at_ms, seq, True, diff(before, after), audit, state)
        sealed = seal_record(record, key)
        head = sealed.digest
        yield sealed, after, head, state
        before, fresh = after, {}
        for entity, states in after.states.items():
            fresh[entity] = {n: State(round(rng.gauss(230, 1) * 4) / 4, at_ms + 700, "good") for n in states}
        after = replace_world(after, states=fresh)


def quick_disk():
    """Return a disk that waits for nothing: a backlog is built in seconds, and synced at the end."""
    from edge_agent.store.disk import Disk

    disk = Disk()
    disk.sync = disk.sync_content = lambda _file: None
    disk.sync_folder = lambda _path: None
    return disk


def build(path, *, size, waiting):
    """Fill a data folder with a log of `size` bytes of which the last `waiting` records are not delivered.

    Its rows go into a table beside it, too. Returns how many records there are.
    """
    from edge_agent.config import load
    from edge_agent.model.layout import DataDir
    from edge_agent.model.record import Snapshot
    from edge_agent.seal.records import seal_snapshot
    from edge_agent.store.keys import load_or_make
    from edge_agent.store.log import Log
    from edge_agent.store.snapshots import Snapshots

    site = load(path)
    data = DataDir(Path(site.settings.agent.data_dir))
    data.root.mkdir()
    key = load_or_make(data, site.world_id)
    log = Log.open(data.log, max_bytes=256 * 2**20, disk=quick_disk())
    table = sqlite3.connect(path.parent / "rows.db", isolation_level=None)
    table.executescript(f"PRAGMA journal_mode=WAL; {ROWS}; BEGIN")
    snapshots = Snapshots.open(data.snapshots, 8)
    snapshot_at = 0
    for sealed, world, head, state in chain(site, key):
        log.append(sealed)
        table.execute("INSERT INTO record VALUES (?, ?)", (sealed.seq, sealed.envelope))
        if not snapshot_at and log.size >= size and sealed.seq >= waiting:
            snapshot_at = sealed.seq
            envelope = seal_snapshot(Snapshot(world, head, state, "interval"), key)
            snapshots.add(envelope, sealed.seq, world.at_ms, "interval", state)
        if snapshot_at and sealed.seq == snapshot_at + REPLAYED:
            break
    last = snapshot_at + REPLAYED
    log.acknowledge(last - waiting)
    log.close()
    table.execute("DELETE FROM record WHERE seq <= ?", (last - waiting,))
    table.execute("COMMIT")
    table.close()
    subprocess.run(["sync", "-f", str(data.root)], check=True)
    return last


def records_file(folder):
    """Write the envelopes of a turn's workload, and return the file."""
    from edge_agent.config import load
    from edge_agent.seal.keys import PrivateKey

    path = configuration(folder, 1, "mqtt://127.0.0.1:1", 420)
    found = []
    for sealed, *_ in chain(load(path), PrivateKey.from_seed(bytes(31) + b"\1")):
        found.append((sealed.seq, sealed.digest.hex(), sealed.envelope.hex()))
        if len(found) > TURNS:
            break
    file = folder / "records.json"
    file.write_text(json.dumps(found))
    return file


# ---- 1. a turn


def turns(subject, folder, file):
    """Make each record of a file durable, after a first one that opens everything. Prints a figure a line."""
    from edge_agent.model.record import Sealed

    rows = [Sealed(seq, bytes.fromhex(d), bytes.fromhex(e)) for seq, d, e in json.loads(Path(file).read_text())]
    if subject == "ours":
        from edge_agent.store.log import Log

        keep = Log.open(folder / "log", max_bytes=256 * 2**20).append
    else:
        table = sqlite3.connect(folder / "t.db", isolation_level=None)
        table.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; {ROWS}")
        keep = functools.partial(insert, table)
    keep(rows[0])
    before, began, cpu = usage("self", folder), time.perf_counter(), time.process_time()
    for row in rows[1:]:
        keep(row)
    wall, cpu, after = time.perf_counter() - began, time.process_time() - cpu, usage("self", folder)
    count = len(rows) - 1
    flash = min(after.written - before.written, after.disk - before.disk)
    mean = sum(len(row.envelope) for row in rows[1:]) / count
    print(json.dumps([cpu * 1e6 / count, wall * 1e6 / count, flash / count, mean]))


def insert(table, row):
    table.execute("INSERT INTO record VALUES (?, ?)", (row.seq, row.envelope))


def cost_of_turns(subject, folder, file):
    """Return (CPU µs, wall µs, flash bytes, envelope bytes, syncs) a turn."""
    command = [sys.executable, __file__, "--as", f"turns-{subject}", "--file", str(file), "--dir"]
    figures = json.loads(subprocess.run([*command, folder / subject], check=True, capture_output=True).stdout)
    if shutil.which("strace") is None:
        return (*figures, None)
    trace = folder / f"{subject}.trace"
    options = ["-f", "-o", trace, "-e", "trace=fsync,fdatasync,msync,sync_file_range"]
    subprocess.run(["strace", *options, *command, folder / f"{subject}-traced"], check=True, capture_output=True)
    syncs = len(re.findall(r"^\d+ +f(?:data)?sync\(", trace.read_text(), re.MULTILINE))
    return (*figures, syncs / TURNS)


# ---- 2. a start


def start(subject, folder):
    """Open what stands in a folder and read it to its end. Prints milliseconds."""
    if subject == "sqlite":
        began, cpu = time.perf_counter(), time.process_time()
        table = sqlite3.connect(folder / "rows.db")
        last = table.execute("SELECT max(seq) FROM record").fetchone()[0]
        opened = time.perf_counter() - began
        count = sum(1 for _ in table.execute("SELECT seq, envelope FROM record ORDER BY seq"))
        whole = table.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert whole
        assert last >= count
    else:
        from edge_agent.cli.stored import open_folder
        from edge_agent.service.boot import restore
        from edge_agent.store.log import Log

        began, cpu = time.perf_counter(), time.process_time()
        found = open_folder(folder / "data")
        log = Log.open(found.data.log, max_bytes=256 * 2**20)
        restored = restore("bench", log.head[:2], log.records, found.snapshots, found.key)
        opened = time.perf_counter() - began
        assert restored.notes == ()
        while log.inspect():
            pass
        count = log.head.seq
        log.close()
    print(json.dumps([opened * 1e3, (time.perf_counter() - began) * 1e3, (time.process_time() - cpu) * 1e3, count]))


def cost_of_start(subject, folder):
    command = [sys.executable, __file__, "--as", f"start-{subject}", "--dir", str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


# ---- 3. a drain


async def subscribe(url, world, counted):
    """Count the records that come, until cancelled."""
    from edge_agent.model.site import BrokerAccess
    from edge_agent.mqtt import Session
    from edge_agent.seal.canonical import split

    session = Session(url, BrokerAccess(), "counter", max_packet=64 * 2**20)
    await session.open()
    await session.subscribe([f"edge/v1/{world}/record"])
    counted[1] = time.perf_counter()
    while True:
        message = await session.next_message()
        counted[0] += len(split(message.payload))
        counted[1] = time.perf_counter()


async def drained(process, url, world, folder, begin):
    """Return (records/s, CPU µs a record) of a process that empties its backlog, from the first message on.

    It may wait for a moment before it connects; that is not what is measured.
    """
    counted, first = [0, 0.0], None
    listening = asyncio.create_task(subscribe(url, world, counted))
    await begin()
    async with asyncio.timeout(300):
        while counted[0] < WAITING:
            await asyncio.sleep(0.002 if first is None else 0.05)
            if first is None and counted[0]:
                first = (counted[0], time.perf_counter(), usage(process.pid, folder).cpu_s)
            if listening.done():
                listening.result()
    spent = usage(process.pid, folder).cpu_s - first[2]
    listening.cancel()
    count = counted[0] - first[0]
    return count / (counted[1] - first[1]), spent * 1e6 / count


async def rival(url, folder):
    """Publish a table's rows, 500 at a time in order, and delete what was acknowledged."""
    from edge_agent.model.site import BrokerAccess
    from edge_agent.mqtt import Session

    table = sqlite3.connect(folder / "rows.db", isolation_level=None)
    table.executescript("PRAGMA synchronous=FULL")
    print("READY", flush=True)
    sys.stdin.readline()
    session = Session(url, BrokerAccess(), "rival")
    await session.open()
    while rows := table.execute("SELECT seq, envelope FROM record ORDER BY seq LIMIT 500").fetchall():
        await session.publish("edge/v1/rival/record", b"".join(envelope for _, envelope in rows))
        table.execute("DELETE FROM record WHERE seq <= ?", (rows[-1][0],))
    await session.close()
    await asyncio.Event().wait()


def asked(path):
    """Return the status of the agent that runs on a configuration."""
    from edge_agent.cli.status import ask

    return ask(path.parent / "data")


def polls(path):
    """Return (time, polls answered so far)."""
    found = asked(path)
    return time.perf_counter(), sum(poll["answered"] for bus in found["buses"] for poll in bus["polls"])


async def rate(path, seconds):
    before = polls(path)
    await asyncio.sleep(seconds)
    after = polls(path)
    return (after[1] - before[1]) / (after[0] - before[0])


async def drain_ours(path, broker, folder):
    """Return (records/s, CPU µs a record, polls/s before, polls/s meanwhile, resident before and after)."""
    broker.kill()
    with child("-c", AGENT, "run", path) as (process, _):
        await asyncio.sleep(2)
        alone = await rate(path, 4)
        waiting = asked(path)["memory"]["bytes"]
        await asyncio.to_thread(broker.restart)
        before = polls(path)
        speed, cpu = await drained(process, broker.url, "bench", folder, functools.partial(asyncio.sleep, 0))
        after = polls(path)
        resident = asked(path)["memory"]["bytes"]
    return speed, cpu, alone, (after[1] - before[1]) / (after[0] - before[0]), waiting, resident


async def memory_of_few(path):
    """Return the resident bytes of an agent with next to nothing waiting."""
    with child("-c", AGENT, "run", path):
        await asyncio.sleep(6)
        return asked(path)["memory"]["bytes"]


async def compare(folder):
    from peers import Broker, free_port

    from edge_agent.model.checked import Name
    from edge_agent.model.profile import ModbusProfile, Provenance, RegisterPoint
    from edge_agent.plant.modbus import ModbusPlant

    file = records_file(folder / "turns")
    costs = {name: cost_of_turns(name, folder / "turns", file) for name in ("ours", "sqlite")}
    points = tuple(RegisterPoint(name=Name(f"v{n}"), function=4, address=2 * n, type="float32") for n in range(20))
    provenance = Provenance("", "", True)
    profile = ModbusProfile(
        name=Name("wide"), title="", entity_type=Name("meter"), provenance=provenance, points=points, examples=()
    )
    device = ModbusPlant({1: profile})
    await device.start()
    with Broker(folder) as broker:
        path = configuration(folder / "big", device.port, broker.url, len(points))
        total = build(path, size=LOG_BYTES, waiting=WAITING)
        starts = {}
        for name in ("ours", "sqlite"):
            starts[name] = await asyncio.to_thread(cost_of_start, name, folder / "big")
        ours = await drain_ours(path, broker, folder)
        with rival_child(broker.url, folder / "big") as process:
            go = functools.partial(asyncio.to_thread, process.stdin.write, "go\n")
            theirs = await drained(process, broker.url, "rival", folder, go)
        few = await memory_of_few(configuration(folder / "few", device.port, f"mqtt://127.0.0.1:{free_port()}", 20))
    await device.stop()
    report(costs, starts, total, ours, theirs, few)


@contextlib.contextmanager
def rival_child(url, folder):
    command = [sys.executable, __file__, "--as", "rival", "--dir", str(folder), "--url", url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        assert process.stdout.readline() == "READY\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def report(costs, starts, total, ours, theirs, few):
    """Print the tables."""
    print(f"a turn, {costs['ours'][3]:.0f} bytes sealed, {TURNS} of them:\n")
    print(f"{'':12}{'CPU µs':>10}{'wall µs':>10}{'flash B':>10}{'syncs':>8}")
    for name, (cpu, wall, flash, _, syncs) in costs.items():
        print(f"{name:12}{cpu:10.0f}{wall:10.0f}{flash:10.0f}{'-' if syncs is None else f'{syncs:.2f}':>8}")
    print(f"{'ratio':12}" + "".join(f"{costs['sqlite'][n] / max(costs['ours'][n], 1):10.1f}" for n in range(3)))
    print(f"\na start, {LOG_BYTES >> 20} MiB, {total} records (SQLite: the {WAITING} that wait):\n")
    print(f"{'':12}{'ready ms':>10}{'all ms':>10}{'CPU ms':>10}")
    for name, (opened, whole, cpu, _) in starts.items():
        print(f"{name:12}{opened:10.0f}{whole:10.0f}{cpu:10.0f}")
    speed, cpu, alone, meanwhile, waiting, after = ours
    print(f"\na drain of {WAITING} records:\n")
    print(f"{'':12}{'records/s':>10}{'CPU µs':>10}{'polls/s before':>16}{'meanwhile':>11}")
    print(f"{'ours':12}{speed:10.0f}{cpu:10.1f}{alone:16.1f}{meanwhile:11.1f} ({meanwhile / alone:.1%})")
    print(f"{'sqlite':12}{theirs[0]:10.0f}{theirs[1]:10.1f}")
    sizes = (few, waiting, after)
    print("\nresident MiB with few, with all waiting, after the drain: " + ", ".join(f"{n / 2**20:.1f}" for n in sizes))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", default="/var/tmp", type=Path, help="where everything is made; a real disk")
    parser.add_argument("--as", dest="role", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    args = parser.parse_args()
    kind, _, subject = (args.role or "").partition("-")
    if kind == "turns":
        args.dir.mkdir()
        turns(subject, args.dir, args.file)
    elif kind == "start":
        start(subject, args.dir)
    elif kind == "rival":
        asyncio.run(rival(args.url, args.dir))
    else:
        with tempfile.TemporaryDirectory(dir=args.dir) as folder:
            asyncio.run(compare(Path(folder)))


if __name__ == "__main__":
    main()
