"""How the agent is, told to whoever asks on this machine: one JSON document a connection, on a socket of mode 0600.

The document's shape is reference/status.schema.json. Times are ages in seconds of the monotonic clock, for the wall clock may be wrong;
text from the network stands in it as it was cut and escaped where it came in.
"""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from edge_agent import __version__
from edge_agent.model.errors import StoreError, WireError
from edge_agent.model.reading import Instant, iso_utc
from edge_agent.model.site import BufferSettings, Site
from edge_agent.model.world import World
from edge_agent.service.certificates import Held
from edge_agent.service.inbox import Inbox
from edge_agent.service.ledger import DiskLedger
from edge_agent.service.local import answering, say
from edge_agent.service.runner import Runner, Tally
from edge_agent.service.upstream import Upstream
from edge_agent.sources import Poll
from edge_agent.sync import Ground

Json = dict[str, Any]

_VERSION = 3
LAST_TURNS = 60


class Life:
    """This run of the agent: since when, since when as it is configured now, and how long the loop's turns take."""

    def __init__(self, started: Instant) -> None:
        self.started = self.configured = started
        self.count = 0
        self._last_ns: deque[int] = deque(maxlen=LAST_TURNS)

    def took(self, ns: int) -> None:
        """Take note of a turn."""
        self.count += 1
        self._last_ns.append(ns)

    def told(self) -> Json:
        """Return it for the document: of the last `LAST_TURNS`, None when there was none."""
        last = self._last_ns
        if not last:
            return {"count": self.count, "last_s": None, "mean_s": None, "most_s": None}
        return {
            "count": self.count, "last_s": _seconds(last[-1]), "mean_s": _seconds(sum(last) / len(last)),
            "most_s": _seconds(max(last)),
        }  # fmt: skip


def _seconds(ns: float) -> float:
    return round(ns / 1e9, 6)


@contextlib.asynccontextmanager
async def telling(path: Path, document: Callable[[], Json]) -> AsyncIterator[None]:
    """Answer on the socket at `path` within the block. Raises StoreError when it cannot be made."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        await say(writer, document())

    async with answering(path, answer):
        yield


def document(
    ground: Ground,
    world: World,
    now: Instant,
    life: Life,
    inbox: Inbox,
    runners: Sequence[Runner],
    ledger: DiskLedger,
    upstream: Upstream | None,
) -> Json:
    """Return the whole document."""
    site = ground.site
    return {
        "v": _VERSION,
        "running": True,
        "world": site.world_id,
        "agent": {
            "version": __version__, "pid": os.getpid(), "uptime_s": _age_s(life.started.mono_ns, now),
            "config": site.digest, "config_s": _age_s(life.configured.mono_ns, now), "policy": ground.policy_digest.hex(),
        },
        "clock": {"now": iso_utc(now.at_ms), "synced": now.synced},
        "memory": _memory(),
        "twin": {
            "version": world.version, "entities": len(world.entities), "variables": len(world.variables),
            "findings": len(world.findings),
        },
        "turns": life.told(),
        "log": _log(site, ledger),
        "upstream": None if upstream is None else _upstream(site, ledger, upstream, now),
        "readings": inbox.received,
        "buses": [_bus(runner, now) for runner in runners],
    }  # fmt: skip


def _age_s(mono_ns: int, now: Instant) -> float:
    return round(max(0, now.mono_ns - mono_ns) / 1e9, 3)


def _memory() -> Json:
    """Return what the process takes and took at most (proc(5))."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {name: int(fields[field].split()[0]) * 1024 for name, field in (("bytes", "VmRSS"), ("most", "VmHWM"))}


def _log(site: Site, ledger: DiskLedger) -> Json:
    settings = site.settings.upstream
    held = ledger.on_disk
    return {
        "first": held.oldest, "last": ledger.head_seq, "bytes": held.bytes,
        "max_bytes": (settings.buffer if settings else BufferSettings()).max_bytes,
        "squashed": ledger.squashed, "holes": held.holes,
    }  # fmt: skip


def _upstream(site: Site, ledger: DiskLedger, upstream: Upstream, now: Instant) -> Json:
    settings, trouble, receipts = site.settings.upstream, upstream.trouble, upstream.receipts
    assert settings is not None
    return {
        "url": settings.url,
        "connected_s": None if upstream.connected_ns is None else _age_s(upstream.connected_ns, now),
        "last_error": None if trouble is None else {"text": trouble[1], "age_s": _age_s(trouble[0], now)},
        "release": settings.release,
        "delivered": ledger.acked,
        "published": upstream.publisher.published,
        "waiting": {
            "records": ledger.head_seq - ledger.acked, "bytes": ledger.on_disk.waiting_bytes,
            "oldest_s": _oldest_s(ledger, now),
        },
        "counts": dict(upstream.publisher.counts),
        "receipts": None if receipts is None else {
            "first": None if receipts.last is None else receipts.last.first,
            "seq": None if receipts.last is None else receipts.last.seq, "fault": receipts.fault or None,
            "counts": dict(receipts.counts),
        },
        "certificates": [_certificate(held, now) for held in upstream.certificates.held],
    }  # fmt: skip


def _oldest_s(ledger: DiskLedger, now: Instant) -> float | None:
    """Return how long the oldest record waits, by the wall clock: it may be of an earlier boot."""
    at_ms = None
    with contextlib.suppress(StoreError, WireError):  # damage: the log says so itself
        at_ms = ledger.oldest_waiting_ms()
    return None if at_ms is None else max(0, now.at_ms - at_ms) / 1000


def _certificate(held: Held, now: Instant) -> Json:
    return {
        "whose": held.whose, "subject": held.certificate.subject, "until": iso_utc(held.certificate.not_after_ms),
        "days": round(held.days(now.at_ms), 1),
    }  # fmt: skip


def _bus(runner: Runner, now: Instant) -> Json:
    polls = [_poll(runner, poll, runner.tallies.get(poll, Tally()), now) for poll in runner.link.polls]
    return {"bus": runner.link.bus, "last_error": runner.trouble or None, "polls": polls}


def _poll(runner: Runner, poll: Poll, tally: Tally, now: Instant) -> Json:
    return {
        "source": poll.source, "unit": poll.unit, "detail": poll.detail, "points": len(poll.points),
        "every_s": poll.period_s, "answered": tally.answered, "failed": tally.failed, "skipped": tally.skipped,
        "kept": _kept(tally), "latency_s": None if tally.took_ns is None else _seconds(tally.took_ns),
        "last_good_s": None if tally.good_ns is None else _age_s(tally.good_ns, now),
        "given_up": runner.given_up(poll),
    }  # fmt: skip


def _kept(tally: Tally) -> float | None:
    """Return the share of due polls that were answered well; None before the first was due."""
    due = tally.answered + tally.failed + tally.skipped
    return round(tally.answered / due, 4) if due else None
