"""Resuming under plain uvicorn."""

from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import StartServer
from tests.e2e.ways import as_operator, embedded
from tests.support.clients import receive, receive_type
from tests.support.server import ServerProcess

pytestmark = pytest.mark.anyio


async def _join(server: ServerProcess, query: str = "") -> tuple[ClientConnection, dict[str, Any]]:
    connection = await connect(f"{server.ws_url}/ws/bob{query}", proxy=None, compression=None)
    welcome = await receive(connection)
    assert welcome["type"] == "welcome"
    return connection, welcome


def _publish(server: ServerProcess, data: object, *to: str) -> str:
    body = {"data": data, "to": list(to)} if to else {"data": data}
    code, published = as_operator(server, "POST", "/api/broadcast", body)
    assert code == 200, published
    assert isinstance(published, dict)
    return str(published["id"])


async def _next(connection: ClientConnection, count: int) -> list[object]:
    return [(await receive_type(connection, "message"))["data"] for _ in range(count)]


async def test_who_comes_back_gets_exactly_what_it_missed(start_server: StartServer) -> None:
    server = embedded(start_server, "--broadcast-interval", "0")
    bob, welcome = await _join(server)
    assert "recovered" not in welcome
    _publish(server, "seen")
    seen = await receive_type(bob, "message")
    await bob.close()
    long = "x" * 60_000
    for data, to in (("missed", ()), (long, ()), ("not for bob", ("eve",)), ("for bob", ("eve", "bob"))):
        newest = _publish(server, data, *to)
    bob, welcome = await _join(server, f"?since={seen['id']}")
    assert (welcome["recovered"], welcome["id"]) == (True, newest)
    _publish(server, "live")
    assert await _next(bob, 4) == ["missed", long, "for bob", "live"]
    await bob.close()


async def test_who_missed_more_than_its_queue_holds_gets_all_of_it_and_what_comes_meanwhile(
    start_server: StartServer,
) -> None:
    server = embedded(start_server, "--broadcast-interval", "0", "--max-queue", "100000")
    bob, welcome = await _join(server)
    await bob.close()
    # More than the client and both kernels take before it reads.
    for n in range(200):
        _publish(server, f"{n}:" + "x" * 60_000)
    bob, again = await _join(server, f"?since={welcome['id']}")
    assert again["recovered"] is True
    _publish(server, "200:")
    assert [str(data).split(":")[0] for data in await _next(bob, 201)] == [str(n) for n in range(201)]
    await bob.close()


async def test_after_an_id_that_was_never_given_it_is_told_so_and_gets_what_comes(
    start_server: StartServer,
) -> None:
    server = embedded(start_server, "--broadcast-interval", "0")
    _publish(server, "missed")
    bob, welcome = await _join(server, "?since=1-1")
    assert welcome["recovered"] is False
    _publish(server, "live")
    assert await _next(bob, 1) == ["live"]
    await bob.close()


async def test_after_what_history_no_longer_reaches_it_is_told_so(start_server: StartServer) -> None:
    server = embedded(start_server, "--broadcast-interval", "0", "--history", "2")
    ids = [_publish(server, n) for n in range(4)]
    for since, recovered in ((ids[0], False), (ids[1], True)):
        bob, welcome = await _join(server, f"?since={since}")
        assert welcome["recovered"] is recovered
        await bob.close()
