"""`log show`, `log verify` and `log export`: read the log of a gateway, offline, while the agent may be running.

WHERE is an agent.toml or a data_dir, or a copy of one. `--key` is the agent.pub that was taken at install; keys that
replaced it are followed. Without it the one beside the log is used, which is good for nothing but mistakes: who can
change the log can change that file too.

`show` prints what the records say: audit entries, findings, and how many values came; each value with `--variable`,
`--entity` or `--kind value`. `verify` names the first place where something does not hold: segment, byte, record.
`export` writes records as JSON lines, or with `--raw` as a `record` message carries them.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from edge_agent.cli.chart import wants_colour
from edge_agent.cli.entries import Filter, Names, Row, count, in_words, instant, rows_of
from edge_agent.cli.stored import Folder, opened_envelope, place_of, reopened
from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.reading import iso_utc
from edge_agent.seal.squash import unseal_stretch
from edge_agent.service.logs import one_line
from edge_agent.store.shelf import Item
from edge_agent.store.verify import Verdict, verify

EXAMPLE = """edge-agent log verify /var/lib/edge-agent --key agent.pub
  edge-agent log show agent.toml --kind start --kind stop --since 2026-01-01
  edge-agent log show agent.toml --variable pump.bearing_temp --follow
  edge-agent log export agent.toml --from 1 --to 500 > records.jsonl"""
_LOOK_EVERY_S = 0.5
"""How often `--follow` looks for more: the agent writes at most once a beat."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `log` takes."""
    verbs = parser.add_subparsers(dest="verb", metavar="show | verify | export", required=True)
    show = verbs.add_parser("show", help="print what the records say")
    show.add_argument("--kind", action="append", default=[], help="of entry (formats.md §8), or value, finding, entity")
    show.add_argument("--entity", help="what concerns this entity")
    show.add_argument("--variable", help="what concerns this variable, `entity.name`")
    show.add_argument("--action", metavar="ID", help="what concerns this action; the beginning of its id is enough")
    show.add_argument("--since", type=instant, metavar="TIME", help="by the gateway's clock: 2026-01-31T12:00, UTC")
    show.add_argument("--until", type=instant, metavar="TIME", help="up to and with this time")
    show.add_argument("--follow", action="store_true", help="go on with what is still to come")
    command = verbs.add_parser("verify", help="verify every frame, signature, link, world and snapshot")
    export = verbs.add_parser("export", help="write records to standard output")
    export.add_argument("--raw", action="store_true", help="the signed bytes, back to back")
    for verb in (show, export):
        verb.add_argument("--from", dest="first", type=count, default=1, metavar="N", help="the first record")
        verb.add_argument("--to", dest="last", type=count, metavar="N", help="the last record")
    for verb in (show, command, export):
        verb.add_argument("where", type=Path, metavar="WHERE", help="agent.toml or a data_dir")
        verb.add_argument("--key", type=Path, help="the gateway's agent.pub")
    for verb in (show, command):
        verb.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 1 when something does not hold."""
    folder = place_of(args.where, args.key)
    if args.verb == "verify":
        return _verify(folder, as_json=args.json)
    if args.verb == "export":
        return _export(folder, args)
    chosen = Filter(
        frozenset(args.kind), args.entity, args.variable, args.since, args.until, args.first, args.last, args.action
    )
    return _show(folder, args, chosen)


def _verify(folder: Folder, *, as_json: bool) -> int:
    verdict = verify(folder.shelf, folder.snapshots, folder.key)
    if as_json:
        print(json.dumps({**asdict(verdict), "head": verdict.head.hex(), "key": folder.key.keyid}))
    else:
        print("\n".join(_told(verdict, folder)))
    return 0 if verdict.fault is None else 1


def _told(verdict: Verdict, folder: Folder) -> Iterator[str]:
    number = verdict.last - verdict.first + 1
    signers = ", then ".join(key.keyid for key in folder.key.keys)
    yield f"{number} records hold, {verdict.first} to {verdict.last}, signed by key {signers}"
    yield f"  {verdict.squashed} of them squashed, the world verified after {verdict.worlds}, {verdict.snapshots} snapshots"
    yield f"  head {verdict.head.hex()}"
    yield "everything holds" if verdict.fault is None else f"FAULT {verdict.fault}"


def _export(folder: Folder, args: argparse.Namespace) -> int:
    for item in _items(folder, args):
        if args.raw:
            sys.stdout.buffer.write(item.envelope)
            continue
        try:
            told = opened_envelope(item.envelope, folder.key)
        except (TrustError, WireError) as error:
            raise TrustError(f"record {item.seq}: {error}") from error
        print(json.dumps(told, ensure_ascii=False, allow_nan=False))
    return 0


def _show(folder: Folder, args: argparse.Namespace, chosen: Filter) -> int:
    on_terminal, code = sys.stdout.isatty() and not args.json, 0
    names = Names(folder)
    if on_terminal:
        head = f"{'record':>8} {'time':24}  {'kind':12} what"
        print(f"\033[1m{head}\033[0m" if wants_colour() else head)
    told = 0
    while True:
        reached = args.first - 1
        for item in _items(folder, args):
            reached = item.seq
            try:
                rows = rows_of(unseal_stretch(item.envelope, folder.key), names)
            except (TrustError, WireError) as error:
                print(f"edge-agent log: record {item.seq} does not verify: {error}", file=sys.stderr)
                code = 1
                continue
            for row in filter(chosen.takes, rows):
                told += 1
                print(_line(row, as_json=args.json))
        if not args.follow or (args.last is not None and reached >= args.last):
            if not told and not code:
                print("edge-agent log: no record says anything like that", file=sys.stderr)
            return code
        sys.stdout.flush()
        args.first = reached + 1
        time.sleep(_LOOK_EVERY_S)
        folder = reopened(folder)


def _items(folder: Folder, args: argparse.Namespace) -> Iterator[Item]:
    for item in folder.shelf.records(args.first):
        if args.last is not None and item.first > args.last:
            return
        yield item


def _line(row: Row, *, as_json: bool) -> str:
    if as_json:
        told = {"seq": row.seq, "at": iso_utc(row.at_ms), "synced": row.synced, "kind": row.kind, "facts": row.facts}
        return json.dumps(told, ensure_ascii=False, allow_nan=False)
    doubt = " " if row.synced else "?"
    return f"{row.seq:>8} {iso_utc(row.at_ms)}{doubt} {one_line(row.kind):12} {one_line(in_words(row))}"
