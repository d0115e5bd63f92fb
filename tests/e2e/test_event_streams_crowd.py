"""Upgrades in a row under a crowd of event streams and WebSockets."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.conftest import StartServer
from tests.support.crowd import Crowd
from tests.support.event_streams import StreamClient, messages_of
from tests.support.generations import Generations
from tests.support.outside import Outside

pytestmark = pytest.mark.anyio

EACH, UPGRADES, RATE = 50, 5, 50
"""Clients of each kind, upgrades, and messages a second."""


async def test_upgrades_are_noticed_by_no_stream_and_no_websocket(start_server: StartServer) -> None:
    server = Generations(start_server("--broadcast-interval", "0", "--rate", "0"))
    try:
        async with AsyncExitStack() as stack:
            crowd = await stack.enter_async_context(Crowd(server.port))
            streams = [
                await stack.enter_async_context(StreamClient.connect(server.port, f"/events/s{n}"))
                for n in range(EACH)
            ]
            for stream in streams:
                await stream.event("welcome")
            await crowd.join(EACH)
            outside, over = Outside(server, RATE), asyncio.Event()
            publishing = asyncio.create_task(outside.run(over))
            for _ in range(UPGRADES):
                outcome = await asyncio.to_thread(server.upgrade)
                assert (outcome["state"], outcome["moved"]) == ("done", 2 * EACH), outcome
            over.set()
            await publishing
            status, _ = await asyncio.to_thread(
                server.api, "POST", "/api/broadcast", {"data": "the last one"}
            )
            assert status == 200
            await crowd.level_at("the last one")
            data = crowd.data()
            assert crowd.faults == []
            assert set(outside.accepted) <= set(data)
            assert len(set(data)) == len(data)
            for stream in streams:
                await stream.until(lambda stream: "the last one" in messages_of(stream.events[-1:]))
                assert messages_of(stream.events) == data
                assert not stream.is_over
                assert [event.type for event in stream.events].count("welcome") == 1
            assert len(data) > UPGRADES * RATE / 10
    finally:
        server.kill()
