"""Direct messages, on every road: each addressee sees itself alone, unless all are shown."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.generations import Generations
from tests.support.server import ServerProcess, wsctl
from tests.support.store import StoreProcess

pytestmark = pytest.mark.anyio

BOTH = ["bob", "eve"]


@pytest.fixture
def generations(start_server: StartServer) -> Iterator[Generations]:
    server = Generations(start_server("--broadcast-interval", "0"))
    yield server
    server.kill()


def publish(server: Any, data: str, **more: object) -> str:
    code, answer = server.api("POST", "/api/broadcast", {"data": data, "to": BOTH} | more)
    assert code == 200, answer
    return str(answer["id"])


async def seen(server: ServerProcess, client_id: str, since: str, count: int) -> list[tuple[object, object]]:
    """Data and addressees of what a client gets that resumes."""
    async with await join(server.ws_url, f"{client_id}?since={since}") as client:
        frames = [await receive_type(client, "message") for _ in range(count)]
    return [(frame["data"], frame["to"]) for frame in frames]


async def test_live_resumed_and_in_a_successor(generations: Generations) -> None:
    first = generations.first
    before = publish(generations, "before")
    async with await join(first.ws_url, "bob") as bob, await join(first.ws_url, "eve") as eve:
        publish(generations, "live")
        publish(generations, "shown", show_to=True)
        expected = [("live", ["eve"]), ("shown", BOTH)]
        for data, to in expected:
            frame = await receive_type(eve, "message")
            assert (frame["data"], frame["to"]) == (data, to)
        assert (await receive_type(bob, "message"))["to"] == ["bob"]
    assert await seen(first, "eve", before, 2) == expected
    assert (await asyncio.to_thread(generations.upgrade))["state"] == "done"
    assert await seen(first, "eve", before, 2) == expected
    publish(generations, "x" * 2000)
    assert (await seen(first, "bob", before, 3))[::2] == [("live", ["bob"]), ("x" * 2000, ["bob"])]


async def test_over_redis_and_from_the_command(start_server: StartServer, store: StoreProcess) -> None:
    one, other = (start_server("--broadcast-interval", "0", "--redis", store.url) for _ in range(2))
    async with await join(one.ws_url, "bob") as bob, await join(other.ws_url, "eve") as eve:
        before = publish(one, "before")
        for client in (bob, eve):
            await receive_type(client, "message")
        publish(one, "hidden")
        flags = ("--show-to", "--to", "bob", "--to", "eve", "--port", str(one.port))
        done = await asyncio.to_thread(wsctl, "broadcast", "shown", *flags, environ=one.environ)
        assert done.returncode == 0, done.stderr
        for name, client in (("bob", bob), ("eve", eve)):
            frames = [await receive_type(client, "message") for _ in range(2)]
            assert [frame["to"] for frame in frames] == [[name], BOTH]
    assert await seen(other, "bob", before, 2) == [("hidden", ["bob"]), ("shown", BOTH)]


async def test_of_workers(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0", "--workers", "2")
    async with await join(server.ws_url, "bob") as bob, await join(server.ws_url, "eve") as eve:
        publish(server, "hidden")
        publish(server, "shown", show_to=True)
        for name, client in (("bob", bob), ("eve", eve)):
            assert [(await receive_type(client, "message"))["to"] for _ in range(2)] == [[name], BOTH]
