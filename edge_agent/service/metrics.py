"""Figures for Prometheus: the status document as OpenMetrics 1.0 text, over HTTP on 127.0.0.1, only when asked for.

Nothing but the first line and the host of a request is read. A request under a foreign name is refused, so that a web
page in a browser on this machine cannot read the figures by pointing a name of its own at it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_HOST = "127.0.0.1"
_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_PATIENCE_S = 5.0
_MOST_BYTES = 8192
_AT_ONCE = 8
AGAIN_S = 30.0
"""After so long a port that is taken is tried again: the plant is read meanwhile."""

_log = logging.getLogger(__name__)

Json = Mapping[str, Any]
Labels = Mapping[str, object]
Sample = tuple[Labels, float | None]
"""None leaves a sample out: what is not known is not 0."""


async def serve_metrics(port: int, document: Callable[[], Json]) -> NoReturn:
    """Serve for ever; while the port is taken, say so once and try again."""
    asking: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asking.add(writer)
        with contextlib.closing(writer), contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(_PATIENCE_S):
                if len(asking) <= _AT_ONCE:
                    head = await _head(reader)
                    writer.write(reply(head, lambda: openmetrics(document())))
                    await writer.drain()
        asking.discard(writer)

    server = await _listening(port, answer)
    try:
        await asyncio.Event().wait()
    finally:
        server.close()
        for writer in asking:
            writer.transport.abort()
    raise AssertionError


async def _listening(port: int, answer: Callable[..., Any]) -> asyncio.Server:
    told = False
    while True:
        try:
            return await asyncio.start_server(answer, _HOST, port, limit=_MOST_BYTES)
        except OSError as error:
            if not told:
                _log.warning("metrics: cannot listen on %s:%d: %s; trying again", _HOST, port, error.strerror)
            told = True
            await asyncio.sleep(AGAIN_S)


async def _head(reader: asyncio.StreamReader) -> bytes:
    """Return a request up to its empty line; what is longer than can be, or cut off, is no request."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return b""


def reply(head: bytes, text: Callable[[], str]) -> bytes:
    """Return the whole answer to the head of a request."""
    line, *fields = head.decode("latin-1").split("\r\n")
    words = line.split(" ")
    hosts = [field.partition(":")[2].strip() for field in fields if field.lower().startswith("host:")]
    if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - method, target, version (RFC 9112)
        return _answer("400 Bad Request", "text/plain", "not a request\n")
    if any((host.rpartition(":")[0] or host if host[-1:] != "]" else host) not in _NAMES for host in hosts):
        return _answer("403 Forbidden", "text/plain", "for this machine alone: ask 127.0.0.1\n")
    if words[0] not in ("GET", "HEAD"):
        return _answer("405 Method Not Allowed", "text/plain", "GET alone\n", "Allow: GET, HEAD\r\n")
    if words[1].partition("?")[0] != "/metrics":
        return _answer("404 Not Found", "text/plain", "the figures are at /metrics\n")
    found = _answer("200 OK", TYPE, text())
    return found[: found.index(b"\r\n\r\n") + 4] if words[0] == "HEAD" else found


def _answer(status: str, kind: str, text: str, more: str = "") -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}Connection: close\r\n\r\n"
    )
    return head.encode() + body


def openmetrics(document: Json) -> str:
    """Return the document as OpenMetrics text."""
    return "".join(line + "\n" for family in _families(document) for line in family) + "# EOF\n"


def _families(d: Json) -> Iterator[Iterator[str]]:
    none: Labels = {}
    yield _family("build", "info", "", "what runs", [({"version": d["agent"]["version"], "world": d["world"]}, 1)])
    yield _family("uptime_seconds", "gauge", "seconds", "since start", [(none, d["agent"]["uptime_s"])])
    yield _family("clock_synced", "gauge", "", "1 when the wall clock is synchronised", [(none, d["clock"]["synced"])])
    memory = [({"which": which}, d["memory"][which]) for which in ("bytes", "most")]
    yield _family("memory_bytes", "gauge", "bytes", "resident, and the most it was", memory)
    yield _family("record_sequence", "gauge", "", "number of the newest record", [(none, d["twin"]["version"])])
    yield _family("variables", "gauge", "", "in the twin", [(none, d["twin"]["variables"])])
    yield _family("findings", "gauge", "", "open", [(none, d["twin"]["findings"])])
    yield _family("readings", "counter", "", "taken in since start", [(none, d["readings"])])
    yield _family("turns", "counter", "", "of the loop since start", [(none, d["turns"]["count"])])
    turns = [({"of": which}, d["turns"][f"{which}_s"]) for which in ("last", "mean", "most")]
    yield _family("turn_duration_seconds", "gauge", "seconds", "of the last 60 turns", turns)
    yield _family("log_bytes", "gauge", "bytes", "the log takes on disk", [(none, d["log"]["bytes"])])
    yield _family("log_limit_bytes", "gauge", "bytes", "it may take", [(none, d["log"]["max_bytes"])])
    yield _family("squashed_records", "counter", "", "squashed since start", [(none, d["log"]["squashed"])])
    yield _family("log_holes", "gauge", "", "ranges of records that are lost", [(none, d["log"]["holes"])])
    if d["upstream"] is not None:
        yield from _upstream(d["upstream"])
    yield from _polls(d["buses"])


def _upstream(up: Json) -> Iterator[Iterator[str]]:
    waiting = up["waiting"]
    connected: list[Sample] = [({}, up["connected_s"] is not None)]
    yield _family("upstream_connected", "gauge", "", "1 while there is a session with the broker", connected)
    yield _family("delivered_sequence", "gauge", "", "the last record that was delivered", [({}, up["delivered"])])
    yield _family("waiting_records", "gauge", "", "not yet delivered", [({}, waiting["records"])])
    yield _family("waiting_bytes", "gauge", "bytes", "of segments with such records", [({}, waiting["bytes"])])
    yield _family("waiting_age_seconds", "gauge", "seconds", "of the oldest of them", [({}, waiting["oldest_s"])])
    ends = [({"whose": c["whose"], "subject": c["subject"]}, c["days"] * 86_400) for c in up["certificates"]]
    yield _family("certificate_remaining_seconds", "gauge", "seconds", "until it expires; below 0 when it has", ends)


def _polls(buses: Sequence[Json]) -> Iterator[Iterator[str]]:
    named = [
        ({"bus": bus["bus"], "source": poll["source"], "unit": poll["unit"], "poll": poll["detail"]}, poll)
        for bus in buses
        for poll in bus["polls"]
    ]
    up = [({"bus": bus["bus"]}, bus["last_error"] is None) for bus in buses]
    yield _family("bus_up", "gauge", "", "1 unless the link is down", up)
    ends = [
        ({**labels, "result": end}, poll[end]) for labels, poll in named for end in ("answered", "failed", "skipped")
    ]
    yield _family("polls", "counter", "", "due since start, by what came of them", ends)
    lasted = [(labels, poll["latency_s"]) for labels, poll in named]
    yield _family("poll_latency_seconds", "gauge", "seconds", "from question to answer", lasted)
    ages = [(labels, poll["last_good_s"]) for labels, poll in named]
    yield _family("poll_age_seconds", "gauge", "seconds", "of the newest good answer", ages)
    given_up = [(labels, poll["given_up"]) for labels, poll in named]
    yield _family("poll_given_up", "gauge", "", "1 while the unit is asked less often", given_up)


def _family(name: str, kind: str, unit: str, words: str, samples: Sequence[Sample]) -> Iterator[str]:
    """Give the lines of one family, when it has a sample."""
    known = [(labels, value) for labels, value in samples if value is not None]
    if not known:
        return
    full = f"edge_agent_{name}"
    yield f"# TYPE {full} {kind}"
    if unit:
        yield f"# UNIT {full} {unit}"
    yield f"# HELP {full} {words}"
    suffix = {"counter": "_total", "info": "_info"}.get(kind, "")
    for labels, value in known:
        told = ",".join(f'{key}="{_escaped(str(text))}"' for key, text in labels.items())
        yield f"{full}{suffix}{'{' + told + '}' if told else ''} {float(value)!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
