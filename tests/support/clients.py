"""WebSocket clients for tests."""

import asyncio
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support import frames
from tests.support.server import DEADLINE


async def join(ws_url: str, client_id: str, **options: Any) -> ClientConnection:
    """Connect and take the welcome."""
    connection = await connect(f"{ws_url}/ws/{client_id}", compression=None, proxy=None, **options)
    assert (await receive(connection))["type"] == "welcome"
    return connection


async def receive(connection: ClientConnection) -> dict[str, Any]:
    """The next frame, waited for."""
    async with asyncio.timeout(DEADLINE):
        return frames.read(await connection.recv())


async def receive_type(connection: ClientConnection, kind: str) -> dict[str, Any]:
    """The next frame of a type; what comes before it is skipped."""
    while True:
        frame = await receive(connection)
        if frame["type"] == kind:
            return frame


async def closed(connection: ClientConnection) -> tuple[int | None, str | None]:
    """Code and reason once the server has closed it."""
    async with asyncio.timeout(DEADLINE):
        await connection.wait_closed()
    return connection.close_code, connection.close_reason
