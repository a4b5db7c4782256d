"""A device that answers HTTP GET with JSON, on one port of 127.0.0.1."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.plant.faults import Trouble

_MOST_HEAD = 8192


class HttpPlant:
    """One device that answers every GET with what `says` returns; `port` 0 takes a free one."""

    def __init__(self, says: Callable[[], Mapping[str, Any]], trouble: Trouble, port: int = 0) -> None:
        self.port = port
        self.requests = 0
        self._says, self._trouble = says, trouble
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, limit=_MOST_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection; may be called when it is not open."""
        if self._server is None:
            return
        server, self._server = self._server, None  # whoever is let in from here on is turned away
        # A server of asyncio that is closed with a connection accepted, but not yet handed over, forgets it unclosed.
        asyncio.get_running_loop().remove_reader(server.sockets[0].fileno())
        await asyncio.sleep(0)
        server.close()
        for task, writer in self._serving.items():
            task.cancel()
            writer.transport.abort()  # a task that never began closes nothing
        await asyncio.gather(*list(self._serving), return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer), name="plant.http")
        self._serving[task] = writer
        task.add_done_callback(self._serving.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client has gone, or never spoke HTTP
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        passed_s = 0.0
        for delay_s, piece in self._trouble.pieces(self._response()):
            await asyncio.sleep(delay_s - passed_s)
            passed_s = delay_s
            writer.write(piece)
            await writer.drain()
        if self._trouble.has("dead"):
            await reader.read(1)  # until the client gives up

    def _response(self) -> bytes:
        status = "200 OK"
        if self._trouble.has("exception"):
            status = "500 Internal Server Error"
        elif self._trouble.has("busy"):
            status = "503 Service Unavailable"
        body = json.dumps(self._says(), allow_nan=False).encode()
        length = len(body) + 7 * self._trouble.has("wrong-length")
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        return head.encode() + body
