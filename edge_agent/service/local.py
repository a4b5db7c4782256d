"""Sockets of the data folder, mode 0600: whoever may open one connects, and is answered.

Nothing is read from whoever connects, so there is nothing to attack: which socket it is says what is wanted.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from edge_agent.model.errors import StoreError

_AT_ONCE = 8
_PATIENCE_S = 5.0
"""Whoever asks takes an answer in this time or not at all."""
_PEER = struct.Struct("3i")
"""Process, user and group of the other end (unix(7), SO_PEERCRED)."""

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def answering(path: Path, answer: Answer) -> AsyncIterator[None]:
    """Answer on the socket at `path` within the block. Raises StoreError when it cannot be made."""
    asking: set[asyncio.StreamWriter] = set()

    async def asked(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asking.add(writer)
        with contextlib.closing(writer), contextlib.suppress(OSError, TimeoutError):
            if len(asking) <= _AT_ONCE:
                await answer(writer)
        asking.discard(writer)

    # Nothing is waited for before `try`: who is cancelled there leaves no socket behind.
    server = await asyncio.start_unix_server(asked, sock=_listening(path), start_serving=False)
    try:
        await server.start_serving()
        yield
    finally:
        server.close()
        for writer in asking:
            writer.transport.abort()
        _remove(path)


async def say(writer: asyncio.StreamWriter, document: Any) -> None:
    """Say one document, as a line of JSON. Raises OSError and TimeoutError when it is not taken."""
    writer.write(json.dumps(document, ensure_ascii=False, allow_nan=False).encode() + b"\n")
    async with asyncio.timeout(_PATIENCE_S):
        await writer.drain()


def user_of(writer: asyncio.StreamWriter) -> int:
    """Return the user id of who is connected, as the kernel knows it."""
    other = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(other)[1])


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _listening(path: Path) -> socket.socket:
    """Return a socket at `path` that its owner alone may use, in the place of one that a dead process left.

    Bound by way of its folder's descriptor, for the name of a socket has at most 107 bytes (unix(7)) and that of a
    folder may have more. Nobody can connect before `listen`, so nobody can before the mode is set.
    """
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove(path)
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            found.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
        path.chmod(0o600)
        found.listen(_AT_ONCE)
    except OSError as error:
        found.close()
        raise StoreError(f"{path}: cannot make the socket: {error.strerror}") from error
    return found
