"""A crowd that is asked to leave, and where it comes to."""

import asyncio
import json
from datetime import datetime

import pytest

from tests.conftest import StartServer
from tests.support.aware import AwareClient
from tests.support.server import ServerProcess
from tests.support.sizes import Sizes

pytestmark = pytest.mark.anyio


async def test_a_crowd_of_aware_clients_comes_to_the_next_server_one_after_the_other(
    start_server: StartServer, sizes: Sizes
) -> None:
    leaving = start_server("--reconnect-window", str(sizes.window), "--broadcast-interval", "0")
    there = start_server("--log-format", "json")
    crowd = [AwareClient(f"c{n}") for n in range(sizes.clients)]
    for client in crowd:
        await client.join(leaving.port)
    leaving.signal()
    moments = await asyncio.gather(*(client.move(there.port) for client in crowd))
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


def _connected(server: ServerProcess) -> list[float]:
    """When a server that has ended took its clients, by its own log: Unix seconds."""
    lines = [json.loads(line) for line in server.lines]
    return [datetime.fromisoformat(line["ts"]).timestamp() for line in lines if line["event"] == "connected"]
