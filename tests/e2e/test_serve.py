"""`wsctl serve` from outside: clients, messages, the API."""

import pytest
from websockets.asyncio.client import connect

from tests.conftest import StartServer
from tests.support.clients import closed, join, receive, receive_type

pytestmark = pytest.mark.anyio


async def test_what_a_client_sends_reaches_everyone_in_order(start_server: StartServer) -> None:
    server = start_server()
    bob, eve = await join(server.ws_url, "bob"), await join(server.ws_url, "eve")
    for n in range(20):
        await bob.send(str(n))
    for client in (bob, eve):
        frames = [await receive_type(client, "message") for _ in range(20)]
        assert [f["data"] for f in frames] == [str(n) for n in range(20)]
        assert {f["from"] for f in frames} == {"bob"}
    await bob.close()
    await eve.close()
    assert server.stop() == 0


async def test_a_newer_connection_of_an_id_replaces_the_older(start_server: StartServer) -> None:
    server = start_server()
    older = await join(server.ws_url, "bob")
    newer = await join(server.ws_url, "bob")
    assert await closed(older) == (4501, "replaced by a newer connection of this id")
    assert server.api("POST", "/api/broadcast", {"data": 1})[1]["recipients"] == 1
    assert (await receive_type(newer, "message"))["data"] == 1
    await newer.close()


async def test_who_comes_back_learns_whether_anything_was_missed(start_server: StartServer) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    seen = []
    for n in range(2):
        server.api("POST", "/api/broadcast", {"data": n})
        seen.append((await receive_type(bob, "message"))["id"])
    await bob.close()
    for since, recovered in ((seen[1], True), (seen[0], True), ("0-1", False), ("never-given", False)):
        async with connect(f"{server.ws_url}/ws/bob?since={since}", proxy=None) as again:
            welcome = await receive(again)
            assert (welcome["id"], welcome["recovered"]) == (seen[1], recovered)
