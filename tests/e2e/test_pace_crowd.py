"""A crowd that is asked to leave, and where it comes to."""

import asyncio
import json
from datetime import datetime

import pytest

from tests.conftest import StartServer
from tests.support.raw_stream import RawStream
from tests.support.server import ServerProcess
from tests.support.sizes import Sizes

pytestmark = pytest.mark.anyio


async def test_a_crowd_of_aware_clients_comes_to_the_next_server_one_after_the_other(
    start_server: StartServer, sizes: Sizes
) -> None:
    leaving = start_server("--reconnect-window", str(sizes.window), "--broadcast-interval", "0")
    there = start_server("--log-format", "json")
    crowd = [await joined(leaving.port, f"c{n}") for n in range(sizes.clients)]
    leaving.signal()
    moves = [move(client, there.port, f"c{n}") for n, client in enumerate(crowd)]
    moments, crowd = zip(*await asyncio.gather(*moves), strict=True)
    assert sorted(moments) == pytest.approx([sizes.window * n / sizes.clients for n in range(sizes.clients)])
    assert await asyncio.to_thread(leaving.wait) == 0
    leaving.wait_for_line(f"drained.* left={sizes.clients} evicted=0 forced=0")

    for client in crowd:
        await client.leave()
    assert await asyncio.to_thread(there.stop) == 0
    came = _connected(there)
    assert len(came) == sizes.clients
    busiest = max(sum(at <= other < at + 1 for other in came) for at in came)
    assert busiest <= 1.5 * sizes.clients / sizes.window


async def joined(port: int, client_id: str) -> RawStream:
    client = await RawStream.connect(port)
    await client.join(client_id)
    return client


async def move(client: RawStream, port: int, client_id: str) -> tuple[float, RawStream]:
    """Wait to be asked, leave at the moment that is asked for, and go to another server: that moment."""
    asked = await client.receive()
    assert asked["type"] == "shutdown", asked
    moment: float = asked["reconnect_in_s"]
    await asyncio.sleep(moment)
    await client.leave()
    return moment, await joined(port, client_id)


def _connected(server: ServerProcess) -> list[float]:
    """When a server that has ended took its clients, by its own log: Unix seconds."""
    lines = [json.loads(line) for line in server.lines]
    return [datetime.fromisoformat(line["ts"]).timestamp() for line in lines if line["event"] == "connected"]
