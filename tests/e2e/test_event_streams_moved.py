"""Upgrades in a row under a crowd of event streams and WebSockets, and as many streams as fit."""

import asyncio
import os
import resource
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from tests.bench.event_streams import MESSAGE, Clients
from tests.conftest import StartServer
from tests.support.crowd import Crowd
from tests.support.event_streams import StreamClient, messages_of
from tests.support.generations import Generations
from tests.support.outside import Outside
from tests.support.server import DEADLINE
from tests.support.sizes import Sizes
from wsctl.server.listening.limits import RESERVED_FILES, raise_open_files

pytestmark = pytest.mark.anyio

EACH, UPGRADES, RATE = 50, 5, 200
"""Clients of each kind, upgrades, and messages a second."""

MEANWHILE = 5
"""Messages for each upgrade, at least: it may take less than a tenth of a second."""


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
                old = server.pid
                outcome = await asyncio.to_thread(server.upgrade)
                assert (outcome["state"], outcome["moved"]) == ("done", 2 * EACH), outcome
                await asyncio.to_thread(server.wait_gone, old)  # until then it cannot be upgraded again
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
            assert len(data) > UPGRADES * MEANWHILE
    finally:
        server.kill()


async def test_streams_up_to_the_limit_of_descriptors_move_and_one_more_is_told_to_come_again(
    start_server: StartServer, sizes: Sizes
) -> None:
    limit = raise_open_files()
    count = sizes.idle if limit < 0 else min(sizes.idle, limit - 2 * RESERVED_FILES)

    def have_files_for_so_many() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + RESERVED_FILES,) * 2)

    server = Generations(start_server("--broadcast-interval", "0", preexec_fn=have_files_for_so_many))
    try:
        with Clients(server.port, "stream") as streams:
            opened = await asyncio.to_thread(streams.open, count)
            assert server.status()["connections"] == server.status()["capacity"] == count
            await _is_sent_away(server.port)
            outcome = await asyncio.to_thread(server.upgrade)
            assert (outcome["state"], outcome["moved"]) == ("done", count), outcome
            assert outcome["silence_s"] < 3
            await _is_sent_away(server.port)
            assert server.api("POST", "/api/broadcast", {"data": "here"})[1]["recipients"] == count
            read = await asyncio.to_thread(_messages, streams, count)
            assert read == Counter(opened)
    finally:
        server.kill()


async def _is_sent_away(port: int) -> None:
    """A stream more than there is room for ends at once, and says so where its client can read it."""
    async with StreamClient.connect(port, "/events/late") as late:
        assert late.status == 200
        await late.end()
        assert [event.type for event in late.events] == ["error", "close"]
        assert late.retry == 5000
    async with StreamClient.connect(port, "/events/late", Accept="*/*") as late:
        assert (late.status, late.headers["retry-after"]) == (503, "5")


def _messages(streams: Clients, count: int) -> Counter[int]:
    """How many messages came to each client, once so many have come."""
    found: Counter[int] = Counter()
    while found.total() < count:
        ready = streams.epoll.poll(DEADLINE)
        assert ready, found.total()
        for fd, _ in ready:
            data = os.read(fd, 65536)
            assert data, "a stream was ended"
            found[fd] += data.count(MESSAGE)
    return found
