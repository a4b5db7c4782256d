"""A data folder as an agent leaves it, made without waiting: a bench's records, snapshots and baselines on a real disk."""

import json
import random

from acting import KEY, Bench, config

from edge_agent.model.layout import DataDir
from edge_agent.seal.records import seal_snapshot
from edge_agent.store.baselines import Baselines
from edge_agent.store.log import Log
from edge_agent.store.snapshots import Snapshots

HOSTILE = "<script>alert(1)</script>\"'&"
STORY = config(
    policy="actions_per_hour = 10", extra='[drift]\nwarmup = 20\nfalse_alarm_every = "1h"\nseason = "0s"\n'
).replace(
    "points = [",
    'points = [\n {{ name = "serial_number", function = 4, address = 9, type = "string", length = 32, identity = "serial", drift = false }},',
)


def story(folder):
    """Return the bench of a gateway whose voltage left its baseline, upon which an approved relay was opened.

    Its folder is `folder`/data, and its device says something hostile of itself.
    """
    bench, noise = Bench(folder, STORY), random.Random(1)
    bench.plant.points["serial_number"] = HOSTILE
    for _ in range(60):
        bench.turn(volts=230 + noise.gauss(0, 1))
    bench.ask()
    bench.approve("anna")
    for _ in range(30):
        bench.turn(volts=400 + noise.gauss(0, 1))
    on_disk(bench)
    return bench


def on_disk(bench):
    """Write what a bench holds into its configuration's data_dir."""
    data = DataDir(bench.folder / "data")
    for each in (data.log, data.keys):
        each.mkdir(parents=True, exist_ok=True)
    data.public_key.write_bytes(KEY.public.to_text("w"))
    log = Log.open(data.log, max_bytes=64 * 1024 * 1024, key=KEY.public)
    for sealed in bench.ledger.sealed:
        log.append(sealed)
    log.close()
    shelf = Snapshots.open(data.snapshots, 8)
    for each in bench.ledger.snapshots:
        snapshot = each if hasattr(each, "world") else each[0]
        shelf.add(
            seal_snapshot(snapshot, KEY), snapshot.world.version, snapshot.world.at_ms, snapshot.reason, snapshot.state
        )
    Baselines(data.baselines).save(json.dumps(bench.ground.watch.to_state()))
