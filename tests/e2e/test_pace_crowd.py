"""A thousand clients that are asked to leave, and where they come to."""

import asyncio
import json
from datetime import datetime

import pytest

from tests.conftest import StartServer
from tests.support.aware import AwareClient
from tests.support.server import ServerProcess

pytestmark = pytest.mark.anyio


THOUSAND = 1000
WINDOW = 10


async def test_a_thousand_aware_clients_come_to_the_next_server_one_after_the_other(
    start_server: StartServer,
) -> None:
    leaving = start_server("--reconnect-window", str(WINDOW), "--broadcast-interval", "0")
    there = start_server("--log-format", "json")
    crowd = [AwareClient(f"c{n}") for n in range(THOUSAND)]
    for client in crowd:
        await client.join(leaving.port)
    leaving.signal()
    moments = await asyncio.gather(*(client.move(there.port) for client in crowd))
    assert sorted(moments) == pytest.approx([WINDOW * n / THOUSAND for n in range(THOUSAND)])
    assert await asyncio.to_thread(leaving.wait) == 0
    leaving.wait_for_line(f"drained.* left={THOUSAND} evicted=0 forced=0")

    for client in crowd:
        await client.leave()
    assert await asyncio.to_thread(there.stop) == 0
    came = _connected(there)
    assert len(came) == THOUSAND
    busiest = max(sum(at <= other < at + 1 for other in came) for at in came)
    assert busiest <= 1.5 * THOUSAND / WINDOW


def _connected(server: ServerProcess) -> list[float]:
    """When a server that has ended took its clients, by its own log: Unix seconds."""
    lines = [json.loads(line) for line in server.lines]
    return [datetime.fromisoformat(line["ts"]).timestamp() for line in lines if line["event"] == "connected"]
