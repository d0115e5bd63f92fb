"""Topics over servers that share a Redis: who gets what, who is counted, and who is told of whom."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import ON_VALKEY, StartServer
from tests.support.clients import closed, receive, receive_type
from tests.support.cluster import Cluster
from tests.support.command_client import join_with_commands
from tests.support.generations import Generations
from tests.support.server import ServerProcess
from tests.support.store import StoreProcess

pytestmark = [pytest.mark.anyio, ON_VALKEY]


@pytest.fixture
async def cluster(start_server: StartServer, store: StoreProcess) -> AsyncIterator[Cluster]:
    async with Cluster(start_server, store.url, "--connections-per-id", "2") as found:
        yield found


async def publish(server: ServerProcess, data: Any, topic: str, *to: str) -> int:
    """Publish a message with a topic, and return how many connections it went to."""
    body = {"data": data, "topic": topic} | ({"to": to} if to else {})
    code, answer = await asyncio.to_thread(server.api, "POST", "/api/broadcast", body)
    assert code == 200, answer
    return int(answer["recipients"])


async def test_messages_reach_the_subscribers_of_all_nodes_and_these_are_counted(cluster: Cluster) -> None:
    one, other = cluster.grow(2)
    ann = await join_with_commands(one.ws_url, "ann", "a.*")
    bob = await join_with_commands(other.ws_url, "bob", "a.b", ">")
    second = await join_with_commands(one.ws_url, "bob", "c")
    await ann.until_present("a.b", {"ann": 1, "bob": 1})
    await bob.until_present("c", {"bob": 2})
    for node in (one, other):
        assert await publish(node, "both", "a.b") == 2
        assert await publish(node, "one", "a.c", "bob", "nobody") == 1
        assert await publish(node, "bob's", "c") == 2
    assert await ann.reads(2) == ["both"] * 2
    assert await bob.reads(6) == ["both", "one", "bob's"] * 2
    assert await second.reads(2) == ["bob's"] * 2
    await asyncio.gather(ann.close(), bob.close(), second.close())


async def test_clients_hear_who_comes_and_goes_at_other_nodes_and_of_no_upgrade(
    cluster: Cluster,
) -> None:
    one, other = cluster.grow(2)
    server = Generations(other)
    try:
        watcher = await join_with_commands(one.ws_url, "watcher")
        await watcher.ask("subscribe", topics=["a"], events=True)
        bob = await join_with_commands(other.ws_url, "bob", "a")
        told = [("joined", "a", "bob")]
        await watcher.hears(*told)
        eve = await join_with_commands(other.ws_url, "eve", "*")
        await bob.ask("unsubscribe", topics=["a"])
        told += [("joined", "a", "eve"), ("left", "a", "bob")]
        await watcher.hears(*told)
        outcome = await asyncio.to_thread(server.upgrade)
        assert (outcome["state"], outcome["moved"]) == ("done", 2), outcome
        await bob.ask("subscribe", topics=[">"])
        await watcher.hears(*told, ("joined", "a", "bob"))
        assert await watcher.presence("a") == await eve.presence("a") == {"watcher": 1, "bob": 1, "eve": 1}
        assert await publish(one, "all", "a") == 3
        await asyncio.gather(watcher.close(), bob.close(), eve.close())
    finally:
        server.kill()


async def test_the_clients_of_a_node_that_was_killed_have_left(cluster: Cluster) -> None:
    one, other = cluster.grow(2)
    watcher = await join_with_commands(one.ws_url, "watcher")
    await watcher.ask("subscribe", topics=["a"], events=True)
    await join_with_commands(other.ws_url, "bob", "a")
    await watcher.hears(("joined", "a", "bob"))
    other.signal(signal.SIGKILL)
    await watcher.hears(("joined", "a", "bob"), ("left", "a", "bob"))
    assert await publish(one, "alone", "a") == 1
    await watcher.close()


async def test_the_oldest_of_too_many_connections_is_closed_at_whichever_node(cluster: Cluster) -> None:
    one, other = cluster.grow(2)
    oldest = await join_with_commands(one.ws_url, "bob", "a")
    eve = await join_with_commands(other.ws_url, "eve", "a")
    await eve.until_present("a", {"bob": 1, "eve": 1})  # nodes know of each other's connections by and by
    second = await join_with_commands(other.ws_url, "bob", "a")
    await second.until_present("a", {"bob": 2, "eve": 1})
    newest = await join_with_commands(other.ws_url, "bob", "a")
    assert (await closed(oldest.connection))[0] == 4501
    await newest.until_present("a", {"bob": 2, "eve": 1})
    assert await publish(one, "two", "a", "bob") == 2
    await asyncio.gather(second.close(), newest.close(), eve.close())


async def test_who_resumes_at_another_node_gets_what_it_missed_of_its_topics(cluster: Cluster) -> None:
    one, other = cluster.grow(2, "--history", "20")
    bob = await connected(one)
    assert await publish(one, "first", "quiet") == 1
    since = (await receive_type(bob, "message"))["id"]
    await bob.close()
    await publish(one, "second", "quiet")
    for n in range(30):
        await publish(other, n, "busy")
    late = cluster.add("--history", "20")
    for node in (other, late):
        bob = await connected(node, f"&since={since}")
        found = [(await receive_type(bob, "message"))["data"] for _ in range(21)]
        assert found == ["second", *range(10, 30)]
        await bob.close()


async def connected(server: ServerProcess, query: str = "") -> ClientConnection:
    """A client of two topics; of the busy one it has lost something if it has seen anything."""
    url = f"{server.ws_url}/ws/bob?topic=quiet&topic=busy{query}"
    client = await connect(url, compression=None, proxy=None)
    welcome = await receive(client)
    assert (welcome.get("recovered"), welcome.get("lost")) == ((False, ["busy"]) if query else (None, None))
    return client
