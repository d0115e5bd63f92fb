"""The periodic test message, by which a newcomer sees that something arrives."""

import asyncio
import time
from collections.abc import Callable

from wsctl import messages
from wsctl.hub.manager import ConnectionManager


async def periodic_broadcast_task(
    manager: ConnectionManager,
    interval: float,
    wall: Callable[[], float] = time.time,
    *,
    elsewhere: Callable[[], int] = lambda: 0,
) -> None:
    """Send a heartbeat to every client each `interval` seconds, until cancelled. `elsewhere` returns how many
    clients other processes of the server have."""
    n = 0
    while True:
        await asyncio.sleep(interval)
        n += 1
        manager.broadcast(messages.heartbeat(wall(), len(manager.active_connections) + elsewhere(), n))
