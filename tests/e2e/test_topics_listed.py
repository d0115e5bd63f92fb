"""Topics as operators see them: of one server, of all workers, and behind an upgrade."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from tests.conftest import StartServer, StartStore, running_workers
from tests.support.clients import join
from tests.support.server import ServerProcess
from tests.support.workers import until

pytestmark = pytest.mark.anyio

Way = Callable[..., dict[str, Any]]
"""A way to ask for the topics."""

AS_OPERATOR = {"Authorization": "Bearer secret"}

PATTERNS = ("quotes.eu", "quotes.*", "orders.1", ">")
"""What clients subscribe to, one each."""

SUBSCRIBED = {"orders.1": 2, "quotes.eu": 3}
"""How many of them subscribe to each topic that one of them names."""


def through_the_socket(server: ServerProcess, query: str = "", path: str = "/api/topics") -> dict[str, Any]:
    code, told = server.api("GET", path + query)
    assert code == 200, told
    return dict(told)


def over_the_network(server: ServerProcess, query: str = "", path: str = "/api/topics") -> dict[str, Any]:
    code, told = server.http("GET", path + query, headers=AS_OPERATOR)
    assert code == 200, told
    return dict(told)


def publish(server: ServerProcess, topic: str) -> dict[str, Any]:
    code, receipt = server.api("POST", "/api/broadcast", {"data": 1, "topic": topic})
    assert code == 200, receipt
    return dict(receipt)


async def check_list(server: ServerProcess, ways: Sequence[Way]) -> None:
    clients = [await join(server.ws_url, f"client-{n}?topic={pattern}") for n, pattern in enumerate(PATTERNS)]
    wait_for(server, ways, SUBSCRIBED)
    receipt = publish(server, "quotes.us")
    assert receipt["recipients"] == 2
    wait_for(server, ways, SUBSCRIBED | {"quotes.us": 2})
    for way in ways:
        row = way(server)["topics"][-1]
        assert (row["messages"], row["newest_id"]) == (1, receipt["id"])
        assert row["bytes"] > 0
        kept = way(server, "?topic=quotes.*", "/api/history")
        assert [message["id"] for message in kept["messages"]] == [receipt["id"]]
        since = way(server, f"?since={receipt['id']}", "/api/history")
        assert (since["messages"], since["recovered"]) == ([], True)
        first = way(server, "?limit=2")
        assert ([row["topic"] for row in first["topics"]], first["more"]) == (["orders.1", "quotes.eu"], True)
    until(lambda: (server.status()["subscriptions"], server.status()["topics"]) == (4, 1), "all are counted")
    topics = {row["client_id"]: row["topics"] for row in server.status()["clients"]}
    assert topics == {f"client-{n}": [pattern] for n, pattern in enumerate(PATTERNS)}
    for client in clients:
        await client.close()
    wait_for(server, ways, {"quotes.us": 0})


def wait_for(server: ServerProcess, ways: Sequence[Way], subscribed: dict[str, int]) -> None:
    """Workers hear of each other's clients a moment later."""
    for way in ways:
        until(partial(_tells, way, server, subscribed), f"{subscribed} by {way.__name__}")


def _tells(way: Way, server: ServerProcess, subscribed: dict[str, int]) -> bool:
    return {row["topic"]: row["subscribers"] for row in way(server)["topics"]} == subscribed


async def test_a_server_lists_its_topics(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0", env={"WSCTL_TOKEN": "secret"})
    await check_list(server, [through_the_socket, over_the_network])
    assert server.http("GET", "/api/topics")[0] == 401
    code, told = server.http("GET", "/api/topics?limit=0", headers=AS_OPERATOR)
    assert (code, told["error"]["code"]) == (400, "bad_request")


async def test_workers_list_the_topics_of_all() -> None:
    with running_workers(
        2, "--broadcast-interval", "0", "--connections-per-id", "2", token="secret"
    ) as server:
        await check_list(server, [through_the_socket, over_the_network])
        clients = [await join(server.ws_url, name) for name in ("ann", "ann", "bob")]
        until(lambda: server.status()["connections"] == 3, "all are counted")
        facts = server.status()
        assert facts["client_ids"] == 2
        assert {row["client_id"]: row.get("connections") for row in facts["clients"]} == {
            "ann": 2,
            "bob": None,
        }
        for client in clients:
            await client.close()


async def test_servers_that_share_a_redis_list_the_topics_of_all(
    start_server: StartServer, start_store: StartStore
) -> None:
    flags = ("--broadcast-interval", "0", "--redis", start_store().url)
    one, other = start_server(*flags), start_server(*flags)
    async with await join(one.ws_url, "ann?topic=quotes.eu"), await join(other.ws_url, "bob?topic=quotes.>"):
        for server in (one, other):
            wait_for(server, [through_the_socket], {"quotes.eu": 2})
        receipt = publish(one, "quotes.eu")
        until(lambda: newest_kept(other) == receipt["id"], "the other server has the message")


def newest_kept(server: ServerProcess) -> Any:
    kept = through_the_socket(server, "?limit=1", "/api/history")["messages"]
    return kept[0]["id"] if kept else None
