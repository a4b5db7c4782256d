"""A boiler house on this machine: a simulated plant, the real agent, and a mirror that believes nothing.

The plant speaks real protocols: a Modbus TCP server with an energy meter and a pump, a serial sensor on a pty,
an MQTT sensor, and a broker. The agent runs as its own process, `edge-agent run`, on a configuration that is
left for you to read. All that is shown comes from the mirror, after it verified it. After a while the pump's
bearing begins to warm up. The agent then asks to close the pump's valve, and an operator approves it from outside:
`edge-agent approve` as its own process, with a key of its own, through the broker. With `--fault stuck-valve` the
valve does not move, which reading it back finds out.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from edge_agent.cli.scene import Scene
from edge_agent.cli.screen import screen
from edge_agent.cli.stored import open_folder
from edge_agent.config import load_profile
from edge_agent.model.errors import LinkError
from edge_agent.model.layout import DataDir
from edge_agent.model.profile import ModbusProfile, SerialProfile
from edge_agent.model.site import BrokerAccess
from edge_agent.plant.physics import BearingDrift
from edge_agent.plant.plant import FAULTS, METER_UNIT, PUMP_UNIT, ROOM_TOPIC, Addresses, Fault, Plant
from edge_agent.seal.digest import state_digest
from edge_agent.seal.keys import PrivateKey
from edge_agent.service.boot import restore
from edge_agent.store.keys import load_public
from edge_agent.uplink.mirror import Mirror

EXAMPLE = "edge-agent demo --seconds 20 --json"
WORLD = "boiler-house"
DRIFT_AFTER_S = 8.0
DRIFT_DEGC_PER_MIN = 45.0
"""So fast that nobody has to wait; a real bearing takes hours."""
STOP_S = 5.0
REFRESH_S = 0.25

CONFIG = """\
# The configuration of the demonstration. With devices of your own: change the urls and run
#   edge-agent run {path}

[agent]
world_id = "{world}"
data_dir = "{data}"

[sync]
interval = "200ms"              # a demonstration is in a hurry; "1s" is usual

[upstream]
url = "{broker}"
protocol = "3.1.1"              # the demonstration's broker knows no MQTT 5

[drift]
false_alarm_every = "30d"       # at most one false alarm of all variables in this time
warmup = 25                     # readings before there is an opinion; 120 is usual

[[sources]]
name = "meter"
kind = "modbus"
url = "{modbus}"
unit = {meter_unit}
profile = "eastron-sdm630"
poll = "200ms"

[[sources]]
name = "pump"
kind = "modbus"
url = "{modbus}"                # the same bus: one connection, one owner
unit = {pump_unit}
profile = "circulation-pump"
poll = "200ms"

[[sources]]
name = "heating-line"
kind = "serial"
url = "serial://{port}?baud=115200"
profile = "line-sensor"

[[sources]]
name = "room"
kind = "mqtt"
url = "{broker}"
access = {{ protocol = "3.1.1" }}
topic = "{topic}"
profile = "json-climate"

[[entities]]
id = "pump"
type = "pump"
criticality = 0.9

[[relationships]]
from = "pump"
relation = "connected_to"
to = "heating-line"

[[playbooks]]                   # what may be done about it, once somebody has approved it
name = "close-valve"
summary = "close the valve of the pump"
on = {{ anomaly = "any", variable = "pump.bearing_temp", severity = "medium" }}
steps = [{{ point = "pump.valve", value = false, expect = true }}]
risk = 0.2                      # what doing it puts at risk
if_it_fails = "the valve stays open and the bearing warms on"

[policy]                        # without it nothing is written
request_ttl = "5m"

[[policy.points]]
point = "pump.valve"
range = [0, 1]
min_interval = "1m"
daily_writes = 10

[[approvers]]                   # the demonstration's operator; its private key is the file operator beside this one
name = "operator"
key = "{operator}"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `demo` takes."""
    parser.add_argument(
        "--seconds", type=float, help="end after so many (default: at Ctrl-C, or 30 without a terminal)"
    )
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object at the end")
    parser.add_argument("--folder", type=Path, help="where configuration, log and keys go (default: a new folder)")
    parser.add_argument("--fault", choices=FAULTS, help="something else that is wrong with the plant")
    parser.add_argument("--seed", type=int, default=1, help="of the plant's noise (default 1)")


def run(args: argparse.Namespace) -> int:
    """Run the demonstration; 0 only when the mirror's twin equals the gateway's."""
    seconds = args.seconds if args.seconds is not None else (None if sys.stdout.isatty() and not args.json else 30.0)
    with contextlib.ExitStack() as stack:
        folder = args.folder
        if folder is None and args.json:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-agent-demo-")))
        elif folder is None:
            folder = Path(tempfile.mkdtemp(prefix="edge-agent-demo-"))
        folder.mkdir(parents=True, exist_ok=True)
        return asyncio.run(_demonstrate(folder.absolute(), seconds, args.seed, args.fault, as_json=args.json))


async def _demonstrate(folder: Path, seconds: float | None, seed: int, fault: Fault | None, *, as_json: bool) -> int:
    meter, pump, line = (load_profile(name) for name in ("eastron-sdm630", "circulation-pump", "line-sensor"))
    assert isinstance(meter, ModbusProfile)
    assert isinstance(pump, ModbusProfile)
    assert isinstance(line, SerialProfile)
    plant = Plant(
        meter, pump, line, seed=seed, drift=BearingDrift(DRIFT_AFTER_S, DRIFT_DEGC_PER_MIN), line_period_s=0.2
    )
    if fault is not None:
        plant.go_wrong(fault)
    where = await plant.start()
    try:
        config = _write_config(folder, where)
        async with _agent(config) as agent:
            mirror = Mirror(
                where.broker_url, WORLD, load_public(_data(folder).public_key), BrokerAccess(protocol="3.1.1")
            )
            async with mirror, _operator(mirror, where.broker_url, folder):
                return await _watch(mirror, agent, folder, seconds, as_json=as_json)
    finally:
        await plant.stop()


def _write_config(folder: Path, where: Addresses) -> Path:
    path = folder / "agent.toml"
    text = CONFIG.format(
        path=path, world=WORLD, data=folder / "data", broker=where.broker_url, modbus=where.modbus_url,
        meter_unit=METER_UNIT, pump_unit=PUMP_UNIT, port=where.serial_path, topic=ROOM_TOPIC,
        operator=_make_operator(folder),
    )  # fmt: skip
    path.write_text(text)
    path.chmod(0o600)
    return path


def _make_operator(folder: Path) -> str:
    """Make the operator's key, as ssh-keygen would, and return the line of its public half."""
    key, path = PrivateKey.from_seed(os.urandom(32)), folder / "operator"
    path.touch(mode=0o600)
    path.write_bytes(key.to_text())
    return key.public.to_text("operator").decode().strip()


@contextlib.asynccontextmanager
async def _operator(mirror: Mirror, broker_url: str, folder: Path) -> AsyncIterator[None]:
    """Have an operator who approves what waits, with the tool that operators have; it says so in operator.log."""
    task = asyncio.create_task(_approve_what_waits(mirror, broker_url, folder), name="operator")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _approve_what_waits(mirror: Mirror, broker_url: str, folder: Path) -> None:
    answered: set[str] = set()
    while True:
        await asyncio.sleep(REFRESH_S)
        for action in [a for a in mirror.world.actions.values() if a.stage == "waiting" and a.id not in answered]:
            answered.add(action.id)
            await _run_tool("approve", action.id, broker_url, folder)


async def _run_tool(verb: str, action: str, broker_url: str, folder: Path) -> None:
    words = [verb, action, "--yes", "--key", str(folder / "operator"), "--url", broker_url, "--protocol", "3.1.1"]
    words += ["--world", WORLD, "--gateway", str(_data(folder).public_key)]
    with (folder / "operator.log").open("ab") as log:
        tool = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge_agent.cli", *words, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        await tool.wait()
    finally:
        if tool.returncode is None:
            tool.kill()
            await tool.wait()


def _data(folder: Path) -> DataDir:
    return DataDir(folder / "data")


@contextlib.asynccontextmanager
async def _agent(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `edge-agent run` beside us, from READY to the end; its log goes to agent.log."""
    with (config.parent / "agent.log").open("wb") as log:
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge_agent.cli", "run", str(config), stdout=asyncio.subprocess.PIPE, stderr=log
        )
    try:
        assert agent.stdout is not None
        line = await agent.stdout.readline()
        if line.strip() != b"READY":
            said = (config.parent / "agent.log").read_text()[-2000:]
            raise LinkError(f"the agent did not start:\n{said}")
        yield agent
    finally:
        if agent.returncode is None:
            agent.kill()
            await agent.wait()


async def _watch(
    mirror: Mirror, agent: asyncio.subprocess.Process, folder: Path, seconds: float | None, *, as_json: bool
) -> int:
    scene = Scene(folder)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    feed = asyncio.create_task(_feed(mirror, scene))
    try:
        with screen(as_json=as_json) as show:
            await _show_until(lambda: stop.is_set() or agent.returncode is not None, seconds, scene, show, feed)
            if agent.returncode is None:
                agent.terminate()
            code = await asyncio.wait_for(agent.wait(), STOP_S)
            last = open_folder(_data(folder).root).shelf.stand.seq
            await _show_until(lambda: mirror.world.version >= last, STOP_S, scene, show, feed)
    finally:
        feed.cancel()
        await asyncio.wait([feed])
    return _conclude(mirror, scene, code, as_json=as_json)


async def _feed(mirror: Mirror, scene: Scene) -> None:
    async for change in mirror:
        scene.take(change)


async def _show_until(
    done: Callable[[], bool],
    seconds: float | None,
    scene: Scene,
    show: Callable[[Scene], None],
    feed: "asyncio.Task[None]",
) -> None:
    """Show the scene until it is done or the time is over. Raises what ended the feed: a lie."""
    end_s = None if seconds is None else time.monotonic() + seconds
    while not done() and (end_s is None or time.monotonic() < end_s):
        show(scene)
        await asyncio.wait([feed], timeout=REFRESH_S)
        if feed.done():
            feed.result()
    show(scene)


def _conclude(mirror: Mirror, scene: Scene, code: int, *, as_json: bool) -> int:
    """Compare the twin that the gateway left on disk with the one that the mirror verified, and say so."""
    folder = open_folder(_data(scene.folder).root)
    gateway = restore(WORLD, folder.end, folder.shelf.records, folder.snapshots, folder.key).standing
    if code != 0:
        said = (scene.folder / "agent.log").read_text()[-2000:]
        print(f"the agent ended with exit code {code}:\n{said}", file=sys.stderr)
    ours, theirs = state_digest(mirror.world).hex(), state_digest(gateway.world).hex()
    result = {
        "readings": scene.readings,
        "records": gateway.world.version,
        "anomalies": len(scene.sentences),
        "records_verified": mirror.counts["records"],
        "findings": scene.sentences,
        "actions": [
            {
                "id": a.id,
                "plan": a.plan.summary,
                "stage": a.stage,
                "reason": a.reason,
                "approvals": [n for n, _ in a.approvals],
            }
            for a in mirror.world.actions.values()
        ],
        "gateway_digest": theirs,
        "mirror_digest": ours,
        "equal": ours == theirs,
        "agent_exit_code": code,
    }
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        print(
            f"\n{scene.readings} readings, {result['records']} records, {result['records_verified']} verified by the mirror"
        )
        print(f"  gateway's twin {theirs}\n  mirror's twin  {ours}\n  {'equal' if ours == theirs else 'NOT EQUAL'}")
        for action in mirror.world.actions.values():
            print(f"  action {action.plan.summary}: {action.stage}, {action.reason}")
        print(f"everything is in {scene.folder}; try: edge-agent log verify {scene.folder / 'data'}")
    return 0 if ours == theirs and code == 0 else 1
