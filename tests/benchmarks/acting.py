# ruff: noqa: E402, ASYNC110 - the path comes first; what is awaited happens in another thread or process
"""How long from an approval received to the coil written, and to verified; with and without load; and under a flood.

    python tests/benchmarks/acting.py --actions 20

A real agent in this process, a real Modbus server beside it, no broker: approvals are put where the uplink puts them.
The load is a second device of 500 float32 registers polled ten times a second. The flood is a thousand bad approvals
a second: polls must keep their rate, and the log may grow by a record a second because of it.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "scenarios")]

from acting import ANNA, PUMP_RULES, approvers
from sites import written

from edge_agent.config import load, load_profile
from edge_agent.plant.plant import PUMP_UNIT, Plant
from edge_agent.seal.approvals import answer, seal_approval
from edge_agent.service.agent import Agent

SITE = """
[sync]
interval = "200ms"
[[sources]]
name = "pump"
kind = "modbus"
url = "{url}"
unit = 2
profile = "circulation-pump"
poll = "100ms"
{load}
"""
LOAD = """
[[sources]]
name = "meter"
kind = "modbus"
url = "{url}"
unit = 1
profile = "eastron-sdm630"
poll = "50ms"
"""


async def one(load_it: bool, flood: int, flood_s: float = 0.0) -> tuple[float, float, float, float, int]:
    """Return seconds to written and to verified, polls a second without and with the flood, and its records."""
    plant = Plant(*map(load_profile, ("eastron-sdm630", "circulation-pump", "line-sensor")))
    where = await plant.start()
    with tempfile.TemporaryDirectory() as folder:
        text = SITE.replace("{load}", LOAD if load_it else "").replace("{url}", where.modbus_url)
        text += PUMP_RULES.format(risk=0.2)
        path = written(Path(folder), "")
        path.write_text(path.read_text() + text + approvers())
        agent = Agent(load(path))
        stop = asyncio.Event()
        running = asyncio.create_task(agent.run(stop, lambda: None))

        def action():
            return next(iter(agent.standing.world.actions.values()), None)

        while action() is None or action().stage != "waiting":
            await asyncio.sleep(0.005)
        calm = await rate(agent, plant, max(1.0, flood_s / 4), 0)
        before = agent.standing.world.version
        flooded = await rate(agent, plant, flood_s, flood) if flood else calm
        grown = agent.standing.world.version - before
        began = time.monotonic()
        agent.mailbox.put(seal_approval(answer(action(), "approve", "anna", 1, 900), ANNA), retained=False)
        while plant.modbus.writes == 0:
            await asyncio.sleep(0.001)
        written_s = time.monotonic() - began
        while action().stage not in ("verified", "unknown", "rolled_back", "failed"):
            await asyncio.sleep(0.005)
        verified_s = time.monotonic() - began
        assert action().stage == "verified", action()
        assert await plant.modbus.standing(PUMP_UNIT, "valve") is False
        stop.set()
        await running
        agent.close()
    await plant.stop()
    return written_s, verified_s, calm, flooded, grown


async def rate(agent: Agent, plant: Plant, seconds: float, flood: int) -> float:
    """Return answered polls a second, under so many bad approvals a second."""
    began, count = time.monotonic(), polls(agent)
    sent = 0
    while (passed := time.monotonic() - began) < seconds:
        while sent < flood * passed:
            agent.mailbox.put(b"\x83 no approval %d" % sent, retained=False)
            sent += 1
        await asyncio.sleep(0.005)
    return (polls(agent) - count) / passed


def polls(agent: Agent) -> int:
    return sum(tally.answered for runner in agent.runners for tally in runner.tallies.values())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--actions", type=int, default=5)
    parser.add_argument("--flood-seconds", type=float, default=60)
    args = parser.parse_args()
    for load_it in (False, True):
        runs = [asyncio.run(one(load_it, 0)) for _ in range(args.actions)]
        wrote, verified = (sorted(run[i] * 1000 for run in runs) for i in (0, 1))
        print(
            f"{'with' if load_it else 'without'} load ({runs[-1][2]:.0f} polls/s): approval to coil written "
            f"median {statistics.median(wrote):.0f} ms, most {wrote[-1]:.0f} ms; to verified "
            f"median {statistics.median(verified):.0f} ms (settling takes 2000 of them)"
        )
    _, _, calm, flooded, grown = asyncio.run(one(True, 1000, args.flood_seconds))
    print(
        f"1000 bad approvals a second for {args.flood_seconds:g} s: {flooded:.0f} polls/s (before: {calm:.0f}), {grown} records in all"
    )


if __name__ == "__main__":
    main()
