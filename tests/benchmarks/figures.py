"""All the figures that were promised, beside a bare pymodbus loop in the same run; then how they grow with the plant.

    ./install.sh bench --svg growth.svg     (or: python tests/benchmarks/figures.py --seconds 15)

500 float32 variables on one Modbus TCP device, every second, half of them changing; broker on loopback. What each
figure is and how it is taken stands in polling.py, modbus.py, store.py and growth.py, which print more of them. Drift
is the difference to an agent that watches nothing, both as growth.py runs them. Readings/s is what one core would carry
at that cost. Flash is whole pages of the log and two files each quarter of an hour, for the kernel's own count tells of
its cache.
"""

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

import growth
import modbus
import polling
import store

UNWATCHED = "drift = false"
LARGE = 1000
PAIRS = 9


async def drain(folder):
    """Let 100 000 records go out; return (records/s, share of polls kept, memory as a share of that without them)."""
    from peers import Broker

    with Broker(folder) as broker, polling.child(polling.__file__, "--as", "device", "--variables", 20) as (_, port):
        path = store.configuration(folder / "backlog", port, broker.url, 20)
        store.build(path, size=0, waiting=store.WAITING)
        speed, _, alone, meanwhile, waiting, _ = await store.drain_ours(path, broker, folder)
        few = await store.memory_of_few(store.configuration(folder / "few", port, broker.url, 20))
    return speed, meanwhile / alone, waiting / few


def drift(folder):
    """Return what statistics cost a reading, µs: the median of pairs of runs, for one pair scatters by a third."""
    costs = []
    for pair in range(PAIRS):
        (folder / f"pair{pair}").mkdir()
        watched, unwatched = (
            growth.measured(folder / f"pair{pair}", polling.VARIABLES, 0.5, more)[0] for more in ("", UNWATCHED)
        )
        costs.append((watched - unwatched) * 1e3 / polling.VARIABLES)
    return statistics.median(costs)


async def first_value(folder):
    with modbus.device_process() as port:
        return await modbus.first_value(port, folder)


async def figures(folder, seconds):
    """Give (what, how much is promised, ours, the bare loop's); a promise is a bound from above or below."""

    def place(name):
        (folder / name).mkdir()
        return folder / name

    bare, agent = await polling.compare(place("all"), seconds)
    bare_large, large = await polling.compare(place("large"), seconds, LARGE)
    yield "CPU a reading, µs", "<= 25", agent.cpu_us, bare.cpu_us
    yield "  of which drift, µs", "<= 6", drift(folder), None
    yield "readings/s on one core", ">= 25000", 1e6 / agent.cpu_us, 1e6 / bare.cpu_us
    yield f"resident with {polling.VARIABLES} variables, MiB", "<= 48", agent.resident_mib, bare.resident_mib
    yield f"resident with {LARGE} variables, MiB", "<= 48", large.resident_mib, bare_large.resident_mib
    yield "first value published after, s", "<= 1", await first_value(place("first")), None
    yield "upstream a reading, bytes", "<= 4", agent.upstream["record"], None
    yield "upstream a changed value, bytes", "<= 8", 2 * agent.upstream["record"], None
    yield "flash a reading, bytes", "<= 40", agent.files, None
    speed, kept, share = await drain(place("drain"))
    yield "backlog of 100 000 drains, records/s", ">= 5000", speed, None
    yield "  polls kept meanwhile, %", ">= 95", 100 * kept, None
    yield "  resident with it, share of without", "<= 1.2", share, None


def row(what, promised, ours, bare):
    sign, bound = promised.split()
    kept = ours <= float(bound) if sign == "<=" else ours >= float(bound)
    ratio = "" if not bare else f"{bare:12.1f}{ours / bare:8.1f}"
    return f"{what:40}{promised:>10}{ours:12.2f}{'' if kept else '  MISSED':8}{ratio}"


async def told(folder, seconds):
    print(f"{'':40}{'promised':>10}{'ours':>12}{'':8}{'bare loop':>12}{'ratio':>8}")
    async for figure in figures(folder, seconds):
        print(row(*figure), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15, help="length of each window")
    parser.add_argument("--svg", help="file to write the picture of growth to")
    parser.add_argument("--dir", default="/var/tmp", help="where data folders are made; a real disk")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        asyncio.run(told(Path(folder), args.seconds))
        print("\nA turn and its memory, by the number of variables and the share of them that changes:\n")
        growth.told(folder, args.svg)


if __name__ == "__main__":
    main()
