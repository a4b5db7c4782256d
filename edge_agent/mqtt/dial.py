"""From a url and how to be let in, to a connected socket: names, TCP, TLS, and who we say we are.

All of it blocks, so it runs in a thread of its own. No error text holds a user name or a password.
"""

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from edge_agent.model.checked import shown
from edge_agent.model.errors import ConfigError, LinkError, Problem
from edge_agent.model.site import BrokerAccess

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_MOST_LOGIN_BYTES = 65_535
"""What an MQTT string holds (MQTT 5, 1.5.4)."""


class Login(NamedTuple):
    """Who we say we are. Never shown."""

    username: str | None
    password: str | None


class Dialled(NamedTuple):
    """A connected socket and what to say on it."""

    sock: socket.socket
    login: Login


def endpoint(url: str) -> tuple[str, int, bool]:
    """Return (host, port, whether TLS) of `mqtt://host[:1883]` or `mqtts://host[:8883]`. Raises ConfigError."""
    wanted = "mqtt://host[:1883] or mqtts://host[:8883]"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number, a bracket left open
        raise ConfigError([Problem("url", shown(url), wanted)]) from None
    if "@" in parts.netloc:  # the text may hold a password: it is not repeated
        hint = "use username and password_file, or password_env"
        raise ConfigError([Problem("url", "a url with a user", wanted, hint)])
    if (
        parts.scheme not in _PORTS
        or not host
        or port == 0
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise ConfigError([Problem("url", shown(url), wanted)])
    return host, port or _PORTS[parts.scheme], parts.scheme == "mqtts"


async def dial(host: str, port: int, access: BrokerAccess, timeout_s: float, *, tls: bool) -> Dialled:
    """Connect, with TLS and the server's name verified where `tls` says so. Raises LinkError.

    Files and environment are read anew each time: what was replaced meanwhile counts.
    """

    def work() -> Dialled:
        try:
            context = _tls_context(access) if tls else None
            login = _login(access)
        except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
            raise LinkError(f"cannot use the credentials: {error}") from error
        return Dialled(_connected_socket(host, port, timeout_s, context), login)

    return await _in_thread(work)


def _tls_context(access: BrokerAccess) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=access.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if access.cert_file is not None:
        # the empty passphrase keeps a locked key from asking for one on the terminal
        context.load_cert_chain(access.cert_file, access.key_file, password="")
    return context


def _login(access: BrokerAccess) -> Login:
    username = access.username
    if username is None:
        username = _secret(access.username_file, access.username_env)
    return Login(username, _secret(access.password_file, access.password_env))


def _secret(file: str | None, variable: str | None) -> str | None:
    """Return what a file or a variable holds. Raises OSError or ValueError, and neither repeats it."""
    if file is not None:
        raw = Path(file).read_bytes()
    elif variable is not None:
        if variable not in os.environ:
            raise ValueError(f"the environment has no {variable}")
        raw = os.environb[os.fsencode(variable)]
    else:
        return None
    place = file or variable
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:  # its text would show the bytes
        raise ValueError(f"{place}: wanted text in UTF-8") from None
    if len(raw) > _MOST_LOGIN_BYTES or "\0" in text:
        raise ValueError(f"{place}: wanted at most {_MOST_LOGIN_BYTES} bytes of text")
    return text


def _connected_socket(host: str, port: int, timeout_s: float, context: ssl.SSLContext | None) -> socket.socket:
    """Return a connected socket, with TLS and the server's name verified when there is a context. Blocks."""
    try:
        # As bytes where it is ASCII: of text Python makes an international name, with tables of half a megabyte.
        name = host.encode() if host.isascii() else host
        sock = socket.create_connection((name, port), timeout_s)  # type: ignore[arg-type] # getaddrinfo takes both
    except socket.gaierror as error:
        raise LinkError(f"cannot resolve {host}: {error.strerror}") from error
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be one
        raise LinkError(f"cannot connect: {getattr(error, 'strerror', None) or error}") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is None:
        return sock
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise LinkError(f"the certificate does not hold: {error.verify_message}", "refused") from error
    except (OSError, ValueError) as error:
        raise LinkError(f"TLS failed: {error}") from error
    finally:
        sock.close()  # wrap_socket has taken over the descriptor, or has failed


async def _in_thread(work: Callable[[], Dialled]) -> Dialled:
    """Run `work` in a thread of its own; a socket that comes when nobody waits any more is closed.

    Not in the default executor: a name server may take minutes, the executor has few threads, and it waits for
    them at exit.
    """
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[Dialled] = loop.create_future()

    def deliver(outcome: Dialled | LinkError) -> None:
        if waiting.done():
            _discard(outcome)
        elif isinstance(outcome, LinkError):
            waiting.set_exception(outcome)
        else:
            waiting.set_result(outcome)

    def run() -> None:
        outcome: Dialled | LinkError
        try:
            outcome = work()
        except LinkError as error:
            outcome = error
        try:
            loop.call_soon_threadsafe(deliver, outcome)
        except RuntimeError:  # the loop has closed meanwhile
            _discard(outcome)

    threading.Thread(target=run, name="mqtt-dial", daemon=True).start()
    try:
        return await waiting
    except asyncio.CancelledError:
        if (
            waiting.done() and not waiting.cancelled() and waiting.exception() is None
        ):  # it came at the very moment of giving up
            _discard(waiting.result())
        raise


def _discard(outcome: Dialled | LinkError) -> None:
    if not isinstance(outcome, LinkError):
        outcome.sock.close()
