"""`snapshots list`, `show`, `diff A B`, `restore N` and `accept`: the restore points of a gateway.

A and B and N are the numbers of the records that snapshots stand at. `list`, `show` and `diff` read an agent.toml's
data folder, or a data_dir, while the agent may be running. `restore` brings back the twin, no device: the next
readings go on from there; it is one audited record on the same chain. `accept` says that a log which ended before
a snapshot (an older copy of the card was put back, or the end was lost) may be gone on with: until then nothing is
written to a device. The agent must not be running for `restore` and `accept`.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_agent.cli.mirror import as_object, in_words
from edge_agent.cli.stored import Folder, place_of
from edge_agent.cli.twin import tell
from edge_agent.config import load
from edge_agent.model.errors import ConfigError, Problem, TrustError, WireError
from edge_agent.model.reading import iso_utc
from edge_agent.model.record import Snapshot
from edge_agent.seal.records import unseal_snapshot
from edge_agent.service.logs import one_line
from edge_agent.service.offline import accept, restore_twin
from edge_agent.store.doubt import read_doubt
from edge_agent.uplink.follower import changes_between
from edge_agent.uplink.formats.world_state import world_state

EXAMPLE = """edge-agent snapshots list agent.toml
  edge-agent snapshots diff agent.toml 120 180
  edge-agent snapshots restore agent.toml 120"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `snapshots` takes."""
    verbs = parser.add_subparsers(dest="verb", metavar="list | show | diff | restore | accept", required=True)
    for name, numbers, words in (
        ("list", (), "print which snapshots are kept, and whether they verify"),
        ("show", ("n",), "print the world of a snapshot"),
        ("diff", ("a", "b"), "print what changed from one snapshot to another"),
        ("restore", ("n",), "bring the twin back to a snapshot; devices are not touched"),
        ("accept", (), "say that a log that was rolled back may be gone on with"),
    ):
        verb = verbs.add_parser(name, help=words)
        writes = name in ("restore", "accept")
        verb.add_argument(
            "where", type=Path, metavar="WHERE", help="agent.toml" if writes else "agent.toml or a data_dir"
        )
        for number in numbers:
            verb.add_argument(number, type=int, metavar=number.upper(), help="the record a snapshot stands at")
        if not writes:
            verb.add_argument("--key", type=Path, help="the gateway's agent.pub")
            verb.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 1 when a snapshot does not verify."""
    if args.verb == "restore":
        sealed = restore_twin(load(args.where), args.n)
        print(f"record {sealed.seq}: the twin is what it was at record {args.n}; no device was touched")
        return 0
    if args.verb == "accept":
        return _accept(args.where)
    folder = place_of(args.where, args.key)
    if args.verb == "list":
        return _list(folder, as_json=args.json)
    if args.verb == "show":
        _show(_found(folder, args.n), as_json=args.json)
    else:
        _diff(_found(folder, args.a), _found(folder, args.b), as_json=args.json)
    return 0


def _accept(config: Path) -> int:
    sealed = accept(load(config))
    told = "nothing to accept" if sealed is None else f"record {sealed.seq}: accepted, devices may be written to again"
    print(told)
    return 0


def _list(folder: Folder, *, as_json: bool) -> int:
    rows = list(_rows(folder))
    if as_json:
        print(json.dumps(rows))
    else:
        print(f"{'record':>8}  {'time':24}  {'reason':10}  {'bytes':>8}  {'state':16}  holds")
        for row in rows:
            holds = "yes" if row["fault"] is None else f"NO: {one_line(row['fault'])}"
            print(
                f"{row['seq']:>8}  {row['at']}  {one_line(row['reason']):10}  {row['bytes']:>8}  {row['state'][:16]}  {holds}"
            )
        doubt = read_doubt(folder.data)
        if doubt is not None:
            print(f"nothing is written to a device: {doubt.reason}")
    return 1 if any(row["fault"] is not None for row in rows) else 0


def _rows(folder: Folder) -> Iterator[dict[str, Any]]:
    for stored in folder.snapshots:
        fault = None
        try:
            unseal_snapshot(stored.envelope, folder.key)
        except (TrustError, WireError) as error:
            fault = str(error)
        yield {
            "seq": stored.seq,
            "at": iso_utc(stored.at_ms),
            "reason": stored.reason,
            "bytes": len(stored.envelope),
            "state": stored.state.hex(),
            "fault": fault,
        }


def _found(folder: Folder, seq: int) -> Snapshot:
    kept = {stored.seq: stored.envelope for stored in folder.snapshots}
    if seq not in kept:
        wanted = f"one of {', '.join(map(str, sorted(kept)))}" if kept else "a snapshot, and none is kept"
        raise ConfigError([Problem("snapshot", str(seq), wanted, "edge-agent snapshots list WHERE tells of each")])
    return unseal_snapshot(kept[seq], folder.key)


def _show(snapshot: Snapshot, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(world_state(snapshot.world, snapshot.state, None), allow_nan=False, ensure_ascii=False))
    else:
        tell(snapshot.world)


def _diff(one: Snapshot, other: Snapshot, *, as_json: bool) -> None:
    changes = changes_between(one.world, other.world)
    if as_json:
        print(json.dumps(as_object(changes) if changes else {"seq": other.world.version, "changes": []}))
    else:
        print("\n".join(map(in_words, changes)) or "nothing changed")
