"""A device on HTTP that is unplugged and plugged in again, whenever somebody is just connecting."""

import asyncio
import contextlib
import gc
import socket

import pytest

from edge_agent.plant.faults import Trouble
from edge_agent.plant.http import HttpPlant


@pytest.mark.parametrize("turns", range(6), ids="{}-turns-later".format)
def test_whoever_connects_while_it_is_unplugged_is_turned_away_and_nothing_is_left_open(turns):
    """The turns of the loop in between are those in which a server accepts, hands over and begins to serve."""

    async def case():
        plant = HttpPlant(lambda: {"t": 21.5}, Trouble(()))
        await plant.start()
        with socket.create_connection(("127.0.0.1", plant.port)) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            await plant.stop()
            client.setblocking(False)
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(60):
                    assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
        gc.collect()  # what is left open says so here
        await plant.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", plant.port)
        writer.write(b"GET /status HTTP/1.1\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await plant.stop()
        return answer

    assert asyncio.run(case()).endswith(b'{"t": 21.5}')
