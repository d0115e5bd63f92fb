"""The heartbeat."""

import asyncio

import pytest

from tests.support import frames
from tests.support.connections import RecordedConnection
from tests.support.server import DEADLINE
from wsctl.frame import Batch
from wsctl.hub.manager import ConnectionManager
from wsctl.hub.periodic import periodic_broadcast_task

pytestmark = pytest.mark.anyio


async def test_every_client_gets_numbered_heartbeats_with_the_time_and_the_count() -> None:
    manager = ConnectionManager(lambda: 0.0, asyncio.get_running_loop().call_soon)
    third = asyncio.Event()
    clients = [RecordedConnection(name, manager) for name in ("bob", "eve")]
    for client in clients:
        manager.connect(client, Batch((b"welcome",)))

    def wall() -> float:
        if len(clients[0].payloads) == 3:
            third.set()
        return 7.5

    task = asyncio.create_task(periodic_broadcast_task(manager, 0.001, wall))
    async with asyncio.timeout(DEADLINE):
        await third.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for client in clients:
        beats = [frames.read(payload) for payload in client.payloads[1:3]]
        assert beats == [{"type": "heartbeat", "ts": 7.5, "connections": 2, "n": n} for n in (1, 2)]
