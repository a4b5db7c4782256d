"""Devices that answer HTTP GET with JSON.

One connection for each answer: none is kept that could die in between. The deadline covers the answer as a whole,
however slowly it drips, because bytes are received on the event loop, where waiting can be given up at any moment;
what they mean is then the standard library's business. Redirects are not followed, to whatever host: a device that
answers with one is not the device that was named. What is in the file of headers is sent and never shown.
"""

import asyncio
import io
import ssl
from collections import Counter
from collections.abc import Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from edge_agent.model.checked import shown
from edge_agent.model.errors import ConfigError, LinkError, Problem, TrustError, WireError
from edge_agent.model.profile import PathPoint
from edge_agent.model.reading import GOOD, Anchor, Reading, Value, bad
from edge_agent.model.site import HttpAccess, HttpSettings, Source
from edge_agent.sources import Clock, Link, Poll
from edge_agent.twin.dating import Dating
from edge_agent.twin.paths import MISSING, compile_path, find, own_time_ms, parse_message, path_value
from edge_agent.twin.paths import Path as JsonPath

_PORTS = {"http": 80, "https": 443}
MAX_BODY = 256 * 1024
_MAX_HEAD = 32 * 1024
_MAX_HEADERS = 16 * 1024
_CHUNK = 16 * 1024
_OK, _REDIRECTS = 200, range(300, 400)
_MISSED = 3
"""An answer whose own time is older than so many polls is stale."""
_FRESH_S = 30.0
"""And never before this: a device's clock has steps too."""


class _Server(NamedTuple):
    host: str
    port: int
    tls: bool


def links(sources: Sequence[Source], now: Clock) -> list[Link]:
    """Return one link for each source. Raises ConfigError with all that is wrong."""
    problems: list[Problem] = []
    found: list[Link] = []
    for source in sources:
        settings = source.settings
        assert isinstance(settings, HttpSettings)
        place = f"sources.{source.name}"
        before = len(problems)
        server = _server(settings.url, f"{place}.url", problems)
        path = "/" if settings.path is None else settings.path
        if not (path.startswith("/") and path.isascii() and path.isprintable() and not {" ", "#"} & set(path)):
            problems.append(Problem(f"{place}.path", shown(path), "a path such as /status?id=0"))
        points = []
        for point in source.points:
            assert isinstance(point, PathPoint)
            steps = _steps(point.path, f"{place}.points.{point.name}.path", problems)
            points.append((point, steps))
        time = None if settings.time is None else _steps(settings.time, f"{place}.time", problems)
        if server is not None and len(problems) == before:
            found.append(HttpDevice(source, server, path, points, time, now))
    if problems:
        raise ConfigError(problems)
    return found


def _server(url: str, place: str, problems: list[Problem]) -> _Server | None:
    wanted = "http://host[:80] or https://host[:443]"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number, a bracket left open
        problems.append(Problem(place, shown(url), wanted))
        return None
    if "@" in parts.netloc:  # the text may hold a password: it is not repeated
        problems.append(Problem(place, "a url with a user", wanted, "use headers_file"))
    elif parts.path not in ("", "/") or parts.query:
        problems.append(Problem(place, shown(url), wanted, "what is asked for is `path`"))
    elif parts.scheme not in _PORTS or not host or port == 0 or parts.fragment or not host.isascii():
        problems.append(Problem(place, shown(url), wanted))
    else:
        return _Server(host, port or _PORTS[parts.scheme], parts.scheme == "https")
    return None


def _steps(text: str, place: str, problems: list[Problem]) -> JsonPath:
    try:
        return compile_path(text)
    except ValueError as error:
        problems.append(Problem(place, shown(text), str(error).removeprefix("wanted ")))
        return ()


class HttpDevice:
    """One device and what is asked of it."""

    def __init__(
        self,
        source: Source,
        server: _Server,
        path: str,
        points: Sequence[tuple[PathPoint, JsonPath]],
        time: JsonPath | None,
        now: Clock,
    ) -> None:
        settings = source.settings
        assert isinstance(settings, HttpSettings)
        self.bus = settings.url
        self.polls: Sequence[Poll] = [
            Poll(
                source=source.name,
                unit=path,
                points=tuple(point.name for point, _ in points),
                period_s=settings.poll,
                timeout_s=settings.timeout,
                detail=f"GET {path}",
            )
        ]
        self.dropped: Counter[str] = Counter()
        """What was ignored, by reason."""
        self._server, self._path, self._points, self._time, self._now = server, path, points, time, now
        self._access, self._timeout_s = settings.access, settings.timeout
        self._stale_s = max(_MISSED * settings.poll, _FRESH_S)
        self._dating = Dating()
        self._request = b""
        self._tls: ssl.SSLContext | None = None
        self._is_open = False

    async def open(self) -> None:
        """Read what lets us in; nothing connects yet. Raises LinkError."""
        try:
            headers = await asyncio.to_thread(_headers, self._access)
            self._tls = await asyncio.to_thread(_tls_context, self._access) if self._server.tls else None
        except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
            raise LinkError(f"{self.bus}: cannot use the credentials: {error}") from error
        host = f"[{self._server.host}]" if ":" in self._server.host else self._server.host
        default = self._server.port == _PORTS["https" if self._server.tls else "http"]
        lines = [
            f"GET {self._path} HTTP/1.1",
            f"Host: {host}" if default else f"Host: {host}:{self._server.port}",
            "Accept: application/json",
            "Connection: close",
            *headers,
        ]
        self._request = "\r\n".join([*lines, "", ""]).encode("ascii")
        self._is_open = True

    async def read(self, poll: Poll) -> list[Reading]:
        """Ask once. Raises LinkError, or WireError when the answer is no good."""
        if not self._is_open:
            raise LinkError(f"{self.bus}: not open")
        where = f"{self.bus}{self._path}"
        try:
            async with asyncio.timeout(self._timeout_s):
                status, body = await self._asked(where)
        except TimeoutError as error:
            raise LinkError(f"{where}: no whole answer within {self._timeout_s:g} s", "timeout") from error
        except OSError as error:
            raise LinkError(f"{where}: {error}") from error
        if status in _REDIRECTS:
            raise WireError(f"{where}: got a redirect ({status}), which is never followed", "refused")
        if status != _OK:
            raise WireError(f"{where}: got status {status}, wanted {_OK}", "refused")
        try:
            message = parse_message(body, MAX_BODY)
        except WireError as error:
            raise WireError(f"{where}: {error}", error.reason) from error
        at = self._now()
        date = self._dating.date(
            None, None if self._time is None else own_time_ms(self._time, message), at, self._stale_s
        )
        if date.verdict != "new":
            self.dropped["older than known"] += date.verdict == "older"
            stale = date.quality != GOOD
            return [
                Reading(Anchor(poll.source, poll.detail, at), name, None, bad("stale")) for name in poll.points if stale
            ]
        anchor = Anchor(poll.source, poll.detail, date.at)
        readings = []
        for point, path in self._points:
            found = find(path, message)
            value, quality = (None, bad("missing")) if found is MISSING else path_value(point, found)
            readings.append(Reading(anchor, point.name, value, date.quality if quality == GOOD else quality))
        return readings

    async def write(self, source: str, point: str, value: Value, hold_s: float | None = None) -> None:  # noqa: ARG002 - the contract's
        """Refuse. Raises TrustError: this kind of device is read only."""
        raise TrustError(f"{source}.{point}: got a write of {shown(value)} to a device that is only read")

    async def close(self) -> None:
        """Forget what lets us in; may be called when it is not open."""
        self._is_open = False
        self._request, self._tls = b"", None

    async def _asked(self, where: str) -> tuple[int, bytes]:
        """Return status and body of one answer. Raises WireError or OSError."""
        reader, writer = await asyncio.open_connection(self._server.host, self._server.port, ssl=self._tls)
        try:
            writer.write(self._request)
            received, look_at = bytearray(), 1
            while True:
                chunk = await reader.read(_CHUNK)
                received += chunk
                if len(received) > _MAX_HEAD + MAX_BODY:
                    raise WireError(f"{where}: got more than {MAX_BODY} bytes")
                if not chunk or (len(received) >= look_at and received.find(b"\r\n\r\n") >= 0):
                    found = _answer(bytes(received), where, ended=not chunk)
                    if isinstance(found, tuple):
                        return found
                    # Seldom enough that no way of dripping makes it dear: what is whole also ends the connection.
                    look_at = found or len(received) * 5 // 4
        finally:
            writer.transport.abort()


class _Received(io.BytesIO):
    """Bytes that were received, as the standard library wants to read them from a socket."""

    def makefile(self, _mode: str) -> "_Received":
        return self


def _answer(received: bytes, where: str, *, ended: bool) -> tuple[int, bytes] | int:
    """Return status and body; or how many bytes there must be before it is whole, 0 when that is not known.

    Raises WireError.
    """
    response = HTTPResponse(cast("ssl.SSLSocket", _Received(received)), method="GET")
    try:
        response.begin()
        if not ended and not response.chunked:
            head = received.index(b"\r\n\r\n") + 4
            if response.length is None or len(received) < head + response.length:
                return 0 if response.length is None else head + response.length
        return response.status, _body(response)
    except (HTTPException, ValueError, OSError) as error:
        if not ended:
            return 0
        raise WireError(f"{where}: got an answer that is none: {str(error)[:80]!r}") from error


def _body(response: HTTPResponse) -> bytes:
    body = response.read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise HTTPException(f"more than {MAX_BODY} bytes")
    # Given a limit, it does not say when less has come than was promised.
    if response.length:
        raise HTTPException(f"{response.length} bytes are missing")
    return body


def _tls_context(access: HttpAccess) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=access.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if access.cert_file is not None:
        # the empty passphrase keeps a locked key from asking for one on the terminal
        context.load_cert_chain(access.cert_file, access.key_file, password="")
    return context


def _headers(access: HttpAccess) -> list[str]:
    """Return the lines of the file of headers. Raises OSError or ValueError, which tells no word of what is in it."""
    if access.headers_file is None:
        return []
    with Path(access.headers_file).open("rb") as file:
        text = file.read(_MAX_HEADERS + 1)
    lines = [line.strip() for line in text.decode("latin-1").splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        name, colon, said = line.partition(":")
        sound = name.replace("-", "").isalnum() and colon and said.strip() and line.isascii() and line.isprintable()
        if not sound or len(text) > _MAX_HEADERS:
            raise ValueError(f"{access.headers_file}: line {number} is not of the form `Name: value`")
    return lines
