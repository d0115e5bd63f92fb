"""Clients that speak `wsctl.2`, on real servers: on every road, over workers, and in an upgrade."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.conftest import StartServer
from tests.e2e.ways import embedded, module
from tests.support.clients import join, receive, receive_type
from tests.support.generations import Generations
from tests.support.issuer import Issuer, bearer
from tests.support.server import ServerProcess

pytestmark = pytest.mark.anyio

OFFERED = [Subprotocol("wsctl.2"), Subprotocol("wsctl")]

Start = Callable[..., ServerProcess]


@pytest.fixture(params=[module, embedded])
def start(request: pytest.FixtureRequest, start_server: StartServer) -> Start:
    """A server of ours, and one that is not."""

    def begin(*flags: str) -> ServerProcess:
        server: ServerProcess = request.param(start_server, "--broadcast-interval", "0", *flags)
        return server

    return begin


async def commanding(server: ServerProcess, client_id: str, **options: Any) -> ClientConnection:
    """A client that speaks commands."""
    connection = await join(server.ws_url, client_id, subprotocols=OFFERED, **options)
    assert connection.subprotocol == "wsctl.2"
    return connection


async def ask(connection: ClientConnection, **command: Any) -> dict[str, Any]:
    """Send a command, and return its answer; messages before it are skipped."""
    await connection.send(json.dumps(command | {"ref": "asked"}))
    while True:
        frame = await receive(connection)
        if frame.get("ref") == "asked":
            return frame


async def refused(server: ServerProcess, path: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"{server.ws_url}/ws/{path}", proxy=None, **options)
    answer = caught.value.response
    return answer.status_code, json.loads(bytes(answer.body or b""))["error"]["code"]


async def test_commands_are_carried_out_and_refused_under_every_server(start: Start) -> None:
    server = start("--max-subscriptions", "3")
    async with (
        await commanding(server, "bob?topic=quotes.*") as bob,
        await join(server.ws_url, "eve?topic=quotes.eu") as eve,
    ):
        answer = await ask(bob, type="publish", data={"price": 3}, topic="quotes.eu")
        message = await receive_type(eve, "message")
        assert message["id"] == answer["id"]
        assert (message["from"], message["topic"], message["data"]) == ("bob", "quotes.eu", {"price": 3})
        present = await ask(bob, type="presence", topic="quotes.eu")
        assert present["count"] == 2
        assert (await ask(bob, type="subscribe", topics=["a", "b", "c"]))["code"] == "too_many_subscriptions"
        assert (await ask(bob, type="dance"))["code"] == "unknown_command"
        assert (await ask(bob, type="publish", data=1, to=["eve"]))["code"] == "direct_not_allowed"
        since = (await ask(bob, type="publish", data="one", topic="news"))["id"]
        await ask(bob, type="publish", data="two", topic="news")
        resumed = await ask(bob, type="subscribe", topics=["news"], since=since)
        assert resumed["recovered"] is True
        assert (await receive_type(bob, "message"))["data"] == "two"
        await ask(bob, type="subscribe", topics=["quotes.eu"], events=True)
        async with await join(server.ws_url, "dan?topic=quotes.>"):
            joined = await receive_type(bob, "joined")
            assert (joined["topic"], joined["client_id"]) == ("quotes.eu", "dan")
        assert (await receive_type(bob, "left"))["client_id"] == "dan"
    assert await refused(server, "bob?topic=a..b") == (400, "bad_topic")
    assert await refused(server, "bob?topic=a&topic=b&topic=c&topic=d") == (400, "too_many_subscriptions")


async def test_a_token_says_what_its_client_may(start: Start, tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    server = start(*issuer.flags)
    claim = {"subscribe": ["orders.>"], "publish": ["orders.bob.*"], "direct": True}
    token = issuer.token("bob", wsctl=claim)
    assert await refused(server, "bob?topic=news", additional_headers=bearer(token)) == (
        403,
        "topic_not_allowed",
    )
    async with await commanding(server, "bob?topic=orders.eu", additional_headers=bearer(token)) as bob:
        assert (await ask(bob, type="publish", data=1, topic="orders.bob.x"))["type"] == "ok"
        assert (await ask(bob, type="publish", data=1, topic="orders.eve.x"))["code"] == "topic_not_allowed"
        assert (await ask(bob, type="publish", data=1))["code"] == "topic_not_allowed"
        assert (await ask(bob, type="publish", data=1, topic="orders.bob.x", to=["eve"]))["type"] == "ok"
        less = issuer.token("bob", wsctl={"subscribe": ["orders.us"]})
        assert (await ask(bob, type="renew", token=less))["expires_in_s"] > 0
        ended = await receive_type(bob, "error")
        assert (ended["code"], ended["topics"]) == ("topic_not_allowed", ["orders.eu"])
    malformed = issuer.token("bob", wsctl={"subscribe": "orders.>"})
    assert (await refused(server, "bob", additional_headers=bearer(malformed)))[0] == 401


async def test_an_upgrade_changes_nothing_for_a_client_with_topics(
    start_server: StartServer, tmp_path: Path
) -> None:
    issuer = Issuer(tmp_path)
    server = Generations(start_server("--broadcast-interval", "0", *issuer.flags))
    claim = {"subscribe": ["a.>", "b"], "publish": ["a.>", "b"]}
    token = issuer.token("bob", wsctl=claim)
    try:
        async with (
            await commanding(server.first, "bob?topic=a.x", additional_headers=bearer(token)) as bob,
            await commanding(server.first, "eve", additional_headers=bearer(issuer.token("eve"))) as eve,
        ):
            await ask(bob, type="subscribe", topics=["a.y"], events=True)
            since = (await ask(eve, type="publish", data="of b", topic="b"))["id"]
            await ask(eve, type="publish", data="of b again", topic="b")
            for n in range(2):
                assert (await asyncio.to_thread(server.upgrade))["state"] == "done"
                await ask(eve, type="publish", data=n, topic="a.x")
                assert (await receive_type(bob, "message"))["data"] == n
            assert (await ask(bob, type="publish", data=1, topic="c"))["code"] == "topic_not_allowed"
            assert (await ask(bob, type="subscribe", topics=["b"], since=since))["recovered"] is True
            assert (await receive_type(bob, "message"))["data"] == "of b again"
            await ask(eve, type="subscribe", topics=["a.*"])
            assert (await receive_type(bob, "joined"))["client_id"] == "eve"
            assert (await ask(eve, type="presence", topic="a.y"))["count"] == 2
    finally:
        server.kill()


async def test_all_workers_are_one_server_for_topics_too(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0", "--workers", "2")
    clients = [await commanding(server, f"c{n}?topic=t.{n}") for n in range(6)]
    try:
        for n in range(1, 6):
            await ask(clients[0], type="publish", data=n, topic=f"t.{n}")
        for n in range(1, 6):
            assert (await receive_type(clients[n], "message"))["data"] == n
        await ask(clients[0], type="subscribe", topics=["all"], events=True)
        for client in clients[1:]:
            await ask(client, type="subscribe", topics=["all"])
        joined = {(await receive_type(clients[0], "joined"))["client_id"] for _ in clients[1:]}
        assert joined == {"c1", "c2", "c3", "c4", "c5"}
        assert (await ask(clients[0], type="presence", topic="all"))["count"] == 6
    finally:
        for client in clients:
            await client.close()
