"""Servers that share a Redis and take turns to drain."""

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.conftest import ON_REDIS, ON_VALKEY, StartServer
from tests.support.clients import closed, receive, receive_type
from tests.support.cluster import Cluster, wait_for
from tests.support.server import ServerProcess
from tests.support.store import StoreProcess
from wsctl.codes import ExitCode

pytestmark = pytest.mark.anyio

TURNS = ("--max-draining", "1")


@pytest.fixture
async def cluster(start_server: StartServer, store: StoreProcess) -> AsyncIterator[Cluster]:
    async with Cluster(start_server, store.url, *TURNS) as found:
        yield found


async def occupied(cluster: Cluster, count: int) -> tuple[list[ServerProcess], list[ClientConnection]]:
    """So many nodes, each with a client."""
    nodes = cluster.grow(count)
    return nodes, [await cluster.join(node, f"c{n}") for n, node in enumerate(nodes)]


def standing(facts: dict[str, Any]) -> tuple[str, int]:
    """The phase, and how many must drain before."""
    return facts["status"], facts["drain"]["waiting_for"]


@ON_VALKEY
async def test_one_drains_and_the_others_wait_in_the_order_in_which_they_asked(cluster: Cluster) -> None:
    (one, two, three), clients = await occupied(cluster, 3)
    for place, server in enumerate((two, one, three)):
        server.signal()
        expected = ("lameduck", place) if place else ("draining", 0)
        wait_for(server, lambda facts, expected=expected: facts["drain"] and standing(facts) == expected)
    assert one.http("GET", "/health/ready")[0] == 503
    shown = wait_for(three, lambda facts: [n["phase"] for n in facts["nodes"]].count("lameduck") == 2)
    assert [node["phase"] for node in shown["nodes"]] == ["lameduck", "draining", "lameduck"]
    # Who waits still takes clients, and tells nobody.
    late = await cluster.join(three, "late")
    for server, client, others in ((two, clients[1], (one, three)), (one, clients[0], (three,))):
        assert (await receive(client))["type"] == "shutdown"
        await client.close()
        assert server.wait() == ExitCode.DONE
        for place, other in enumerate(others):
            expected = ("lameduck", place) if place else ("draining", 0)
            wait_for(other, lambda facts, expected=expected: standing(facts) == expected)
    for client in (clients[2], late):
        assert (await receive(client))["type"] == "shutdown"
        await client.close()
    assert three.wait() == ExitCode.DONE


@ON_REDIS
async def test_who_waits_too_long_is_forced(cluster: Cluster) -> None:
    (one, two), clients = await occupied(cluster, 2)
    one.signal()
    wait_for(one, lambda facts: facts["status"] == "draining")
    two.api("POST", "/api/drain", {"timeout": 1.5})
    wait_for(two, lambda facts: standing(facts) == ("lameduck", 1))
    assert (await closed(clients[1]))[0] == 1012
    assert two.wait() == ExitCode.FORCED
    assert one.status()["status"] == "draining"


@ON_VALKEY
async def test_a_turn_is_given_back_by_who_cancels_and_by_who_is_killed(cluster: Cluster) -> None:
    (one, two, three), clients = await occupied(cluster, 3)
    one.api("POST", "/api/drain", {"timeout": 60})
    wait_for(one, lambda facts: facts["status"] == "draining")
    for place, server in enumerate((two, three), 1):
        server.api("POST", "/api/drain", {"timeout": 60})
        wait_for(server, lambda facts, place=place: standing(facts) == ("lameduck", place))
    assert one.api("DELETE", "/api/drain")[0] == 200
    wait_for(two, lambda facts: standing(facts) == ("draining", 0))
    wait_for(three, lambda facts: standing(facts) == ("lameduck", 1))
    os.kill(two.pid, signal.SIGKILL)
    assert (await receive_type(clients[2], "shutdown"))["deadline_s"] > 0
    assert standing(three.status()) == ("draining", 0)
    # Who has cancelled asks anew, and is the last again.
    one.api("POST", "/api/drain", {"timeout": 60})
    wait_for(one, lambda facts: standing(facts) == ("lameduck", 1))


@ON_REDIS
async def test_without_redis_nobody_waits(cluster: Cluster, store: StoreProcess) -> None:
    (one, two), clients = await occupied(cluster, 2)
    one.signal()
    wait_for(one, lambda facts: facts["status"] == "draining")
    two.signal()
    wait_for(two, lambda facts: facts["drain"] and standing(facts) == ("lameduck", 1))
    store.kill()
    for server, client in zip((one, two), clients, strict=True):
        assert (await receive_type(client, "shutdown"))["deadline_s"] > 0
        wait_for(server, lambda facts: standing(facts) == ("draining", 0))
        await client.close()
        assert server.wait() == ExitCode.DONE


@ON_VALKEY
async def test_who_has_no_clients_does_not_wait(cluster: Cluster) -> None:
    (one,), _ = await occupied(cluster, 1)
    (two,) = cluster.grow(1)
    one.signal()
    wait_for(one, lambda facts: facts["status"] == "draining")
    assert two.stop() == ExitCode.DONE
