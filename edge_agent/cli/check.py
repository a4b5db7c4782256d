"""List every problem with its place, what was found, what was wanted and the close match; exit code 1.

For a good file: what the agent will do. Nothing connects and nothing is written.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from edge_agent.cli.inspection import inspect
from edge_agent.cli.watch import fitted
from edge_agent.judge.comparison import bound_of
from edge_agent.judge.rulebook import rulebook_in_words
from edge_agent.model.layout import variable_path
from edge_agent.model.site import TRUST_WEIGHTS, Site, Source
from edge_agent.service.clock import Clock
from edge_agent.sources import Foreseeing, Link

EXAMPLE = "edge-agent check /etc/edge-agent/agent.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `check` takes."""
    parser.add_argument("config", type=Path, help="agent.toml")
    parser.add_argument("--json", action="store_true", help="print problems and plan as JSON")
    parser.add_argument(
        "--elsewhere", action="store_true", help="it is for another machine: do not look at its data_dir here"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing of a good file")


def run(args: argparse.Namespace) -> int:
    """Check; 1 when there are problems."""
    site, connections, problems = inspect(args.config, Clock(), elsewhere=args.elsewhere)
    lines = [] if site is None else list(_plan(site, connections))
    if args.json:
        found_wrong = [{"place": p.place, "got": p.got, "wanted": p.wanted, "hint": p.hint} for p in problems]
        print(json.dumps({"ok": not problems, "problems": found_wrong, "plan": lines}))
    else:
        told = list(fitted([*map(str, problems), *([] if args.quiet else lines)]))
        if problems:
            told.append(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in {args.config}")
        if told:
            print("\n".join(told))
    return 1 if problems else 0


def _plan(site: Site, found: list[Link]) -> Iterator[str]:
    settings = site.settings
    yield f"{site.world_id}: a turn every {settings.sync.interval:g} s, state in {settings.agent.data_dir}"
    for link in found:
        yield f"  {link.bus}"
        for poll in link.polls:
            often = f"every {poll.period_s:g} s" if poll.period_s else f"as it speaks, stale after {poll.timeout_s:g} s"
            yield f"    {poll.source}: {poll.detail}, {len(poll.points)} points, {often}"
        if isinstance(link, Foreseeing):
            yield from (f"      {line}" for line in link.outlook())
    count = sum(len(source.points) for source in site.sources)
    watched = sum(point.drift for source in site.sources for point in source.points)
    yield f"  {count} variables, {watched} of them watched for drift"
    limits = [
        f"{variable_path(source.entity, point.name)} {word} {limit:g}"
        for source in site.sources
        for point in source.points
        for word, limit in (("above", point.alarm_above), ("below", point.alarm_below))
        if limit is not None
    ]
    if limits:
        yield f"  alarm when {', '.join(limits)}"
    yield from _shared(site)
    yield from _compared(site)
    for rule in settings.transitions:
        when = f"{rule.when.variable} is {rule.when.is_} {rule.when.value} for {rule.when.lasting:g} s"
        yield f"  {rule.entity} passes from {rule.src} to {rule.dst} when {when}"
    if settings.upstream is None:
        yield "  nothing leaves this gateway: there is no [upstream]"
    else:
        size = settings.upstream.buffer.max_bytes // 1024**2
        yield f"  upstream {settings.upstream.url}: deltas and audit records, up to {size} MiB kept while it is away"
        if settings.upstream.mirror_key is not None:
            signs = "frees" if settings.upstream.release == "mirror" else "is heard, and frees nothing"
            yield f"    a receipt signed by {settings.upstream.mirror_key} {signs}"
    if settings.metrics is not None:
        yield f"  figures for Prometheus at http://127.0.0.1:{settings.metrics.port}/metrics, for this machine alone"
    yield from (f"  {line}" for line in rulebook_in_words(settings))


def _compared(site: Site) -> Iterator[str]:
    points = {variable_path(source.entity, point.name): point for source in site.sources for point in source.points}
    for pair in site.settings.comparisons:
        other = points[pair.with_]
        bound = bound_of(pair, other, site.settings.drift)
        unit = f" {other.unit}" if other.unit else ""
        how = "their difference is watched for drift"
        if bound is not None:
            how = f"by {bound:g}{unit} at most" + (f", for {pair.lasting:g} s" if pair.lasting else "")
        yield f"  {pair.variable} is held against {pair.with_}: {how}"


def _shared(site: Site) -> Iterator[str]:
    """Tell of variables that several sources give, and whom their name means while all of them are well."""
    given: dict[str, list[Source]] = {}
    for source in site.sources:
        for point in source.points:
            given.setdefault(variable_path(source.entity, point.name), []).append(source)
    for path, sources in given.items():
        if len(sources) > 1:
            ranked = sorted(sources, key=lambda source: -TRUST_WEIGHTS[source.trust])
            said = ", ".join(f"{source.name} ({source.trust} {TRUST_WEIGHTS[source.trust]:g})" for source in ranked)
            yield f"  {path} is given by {said}: the trust model decides"
