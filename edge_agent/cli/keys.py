"""`keys show`, `keys new` and `keys rotate`: the keys of a gateway.

`new` makes the agent's key before the first start (which would make it too), so that agent.pub can be taken along;
`show` prints the public key in use, and those it replaced, from an agent.toml or a data_dir; `rotate` replaces the
key: one record on the chain, signed by the old and the new key, leads from the one to the other. Whoever took the old
agent.pub need not be told: verifiers and mirrors follow. The agent must not be running for `new` and `rotate`.
"""

import argparse
import json
from pathlib import Path

from edge_agent.cli.stored import data_of
from edge_agent.config import load
from edge_agent.model.errors import ConfigError, Problem
from edge_agent.model.layout import DataDir
from edge_agent.service.offline import rotate
from edge_agent.store.keys import load_or_make, load_public
from edge_agent.store.lock import Lock
from edge_agent.store.rotations import read_ring

EXAMPLE = "edge-agent keys rotate /etc/edge-agent/agent.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `keys` takes."""
    verbs = parser.add_subparsers(dest="verb", metavar="new | show | rotate", required=True)
    for name, what, words in (
        ("new", "agent.toml", "make the key of a gateway that has none"),
        ("show", "agent.toml or a data_dir", "print the public key, and those it replaced"),
        ("rotate", "agent.toml", "replace the key"),
    ):
        verb = verbs.add_parser(name, help=words, epilog=f"example: {EXAMPLE.replace('rotate', name)}")
        verb.add_argument("where", type=Path, metavar="WHERE", help=what)
        verb.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    if args.verb == "new":
        _new(args.where)
    if args.verb == "rotate":
        key, sealed = rotate(load(args.where))
        if not args.json:
            print(f"record {sealed.seq}: the key is now {key.keyid}; who has the old agent.pub goes on with it")
    return _show(data_of(args.where), as_json=args.json)


def _new(config: Path) -> None:
    site = load(config)
    data = DataDir(Path(site.settings.agent.data_dir))
    lock = Lock.take(data)
    try:
        if data.private_key.exists():
            found = f"a key in {data.private_key}"
            raise ConfigError([Problem("keys new", found, "none", "edge-agent keys rotate replaces it")])
        load_or_make(data, site.world_id)
    finally:
        lock.release()


def _show(data: DataDir, *, as_json: bool) -> int:
    ring = read_ring(data, load_public(data.public_key))
    line = data.public_key.read_text().strip()
    replaced = [{"keyid": each.was.keyid, "in_record": each.seq} for each in ring.rotations]
    if as_json:
        print(json.dumps({"keyid": ring.keyid, "public": line, "replaced": replaced}))
        return 0
    print(f"key {ring.keyid}\n{line}")
    for each in replaced:
        print(f"  it replaced {each['keyid']} in record {each['in_record']}")
    return 0
