"""A drain with a crowd."""

import asyncio
import time

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.conftest import StartServer
from tests.support.clients import closed, join, receive_type
from tests.support.server import ServerProcess
from tests.support.sizes import Sizes

pytestmark = pytest.mark.anyio


async def test_stayers_get_every_broadcast_until_the_deadline_and_then_1012(
    start_server: StartServer, sizes: Sizes
) -> None:
    server = start_server("--shutdown-timeout", str(sizes.drain))
    crowd = [await join(server.ws_url, f"c{n}", ping_interval=None) for n in range(sizes.clients)]
    leavers, stayers = crowd[::2], crowd[1::2]
    server.signal()
    signalled = time.monotonic()
    await asyncio.gather(*(receive_type(client, "shutdown") for client in crowd))
    published = asyncio.create_task(asyncio.to_thread(_publish, server, signalled + sizes.drain - 1))
    got = [asyncio.create_task(_messages(client)) for client in stayers]
    await asyncio.gather(*(client.close() for client in leavers))
    assert await published == len(stayers)

    sent = await asyncio.gather(*got)
    assert {code for code, _ in await asyncio.gather(*(closed(client) for client in stayers))} == {1012}
    assert await asyncio.to_thread(server.wait) == 4
    assert time.monotonic() - signalled < sizes.drain + 2
    assert {tuple(seen) for seen in sent} == {tuple(range(len(sent[0])))}
    assert len(sent[0]) > 10


def _publish(server: ServerProcess, until: float) -> int:
    """Number messages until a moment; returns how many clients the last one was sent to."""
    n, recipients = 0, 0
    while time.monotonic() < until:
        status, answer = server.api("POST", "/api/broadcast", {"data": n})
        assert status == 200
        n, recipients = n + 1, answer["recipients"]
        time.sleep(0.05)
    return recipients


async def _messages(client: ClientConnection) -> list[int]:
    seen = []
    try:
        while True:
            seen.append((await receive_type(client, "message"))["data"])
    except ConnectionClosed:
        return seen
