"""Handovers of a server that shares a Redis with others."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import ON_REDIS, ON_VALKEY, StartServer
from tests.support.clients import receive_type
from tests.support.cluster import Cluster, publish, wait_for
from tests.support.crowd import Crowd
from tests.support.generations import Generations
from tests.support.publishers import Publishers
from tests.support.server import ServerProcess
from tests.support.store import StoreProcess
from wsctl.server.handover.forwarded_log import ENDED

pytestmark = pytest.mark.anyio

CLIENTS = 400
"""Half of them with each node: more than a packet of connections."""

CLOSING = "the server is closing its clients"

FAULTY = (sys.executable, "-m", "tests.support.faulty", "serve", "--port", "0")


@pytest.fixture
async def cluster(start_server: StartServer, store: StoreProcess) -> AsyncIterator[Cluster]:
    async with Cluster(start_server, store.url, "--rate", "0") as found:
        yield found


@asynccontextmanager
async def traffic(server: Generations, other: ServerProcess) -> AsyncIterator[Crowd]:
    """While messages flow from both nodes and from clients of both; in the end everybody has seen all."""
    async with Crowd(server.port, other.port, resumes=True) as crowd:
        await crowd.join(CLIENTS)
        over = asyncio.Event()
        everybody = Publishers(server.folder, 100, lambda: [server.pid, other.pid])
        flowing = [asyncio.create_task(everybody.run(over)), asyncio.create_task(crowd.talk(50, over))]
        yield crowd
        over.set()
        await asyncio.gather(*flowing)
        await crowd.level_at(await everybody.last())
        data = crowd.data()
        assert crowd.faults == []
        assert len(set(data)) == len(data)
        # Who has just handed over takes nothing more, and may end before it hears of what it took.
        # Of what a busy Redis did not confirm in time, nobody knows.
        never = {text: why for text, why in everybody.refused.items() if "may still be delivered" not in why}
        assert set(never.values()) <= {CLOSING, ENDED.text}
        assert not never.keys() & set(data)
        assert set(everybody.accepted) <= set(data)


def _names(facts: dict[str, Any]) -> list[tuple[str, int]]:
    return [(node["node"], node["generation"]) for node in facts["nodes"]]


@ON_REDIS
async def test_it_stays_the_node_that_it_was_and_nobody_notices(cluster: Cluster) -> None:
    first, other = cluster.grow(2)
    server = Generations(first)
    (name, _), (others_name, _) = _names(other.status())
    try:
        async with traffic(server, other) as crowd:
            for generation in (2, 3):
                old = server.pid
                outcome = await asyncio.to_thread(server.upgrade)
                assert (outcome["state"], outcome["moved"]) == ("done", CLIENTS // 2), outcome
                expected = [(name, generation), (others_name, 1)]
                wait_for(other, lambda facts, expected=expected: sorted(_names(facts)) == sorted(expected))
                await asyncio.to_thread(server.wait_gone, old)  # until then it cannot be upgraded again
        assert crowd.resumed == 0
        assert other.status()["nodes"][0]["pid"] in (server.pid, other.pid)
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("store", "what"),
    [("valkey", "exits"), ("redis", "dies when the first have moved")],
    indirect=["store"],
)
async def test_when_it_fails_the_server_goes_on_as_that_node(
    cluster: Cluster, tmp_path: Path, what: str
) -> None:
    (tmp_path / "fault").write_text(what)
    first = cluster.add(command=FAULTY, env={"FAULT_FILE": str(tmp_path / "fault")})
    (other,) = cluster.grow(1)
    server = Generations(first)
    before = _names(other.status())
    try:
        async with traffic(server, other) as crowd:
            outcome = await asyncio.to_thread(server.begin_upgrade().outcome)
            assert outcome["state"] == "failed"
            assert publish(first, "goes on")["id"]
        assert (crowd.resumed > 0) is (what != "exits")
        wait_for(other, lambda facts: _names(facts) == before)
    finally:
        server.kill()


@ON_VALKEY
async def test_who_cannot_move_hears_what_is_published_elsewhere(
    cluster: Cluster, certificate: tuple[str, str]
) -> None:
    cert, key = certificate
    first, other = cluster.add("--ssl-certfile", cert, "--ssl-keyfile", key), cluster.add()
    server = Generations(first)
    trusting = ssl.create_default_context(cafile=cert)
    url = f"wss://127.0.0.1:{server.port}/ws/alice"
    try:
        async with connect(url, ssl=trusting, proxy=None, compression=None) as alice:
            await receive_type(alice, "welcome")
            bob = await cluster.join(other, "bob")
            outcome = await asyncio.to_thread(server.upgrade)
            assert (outcome["moved"], outcome["staying"]) == (0, 1)
            wait_for(other, lambda facts: facts["cluster"]["connections"] >= 1)
            assert publish(other, "to all")["recipients"] == 2
            assert publish(other, "to alice", "alice")["recipients"] == 1
            assert server.api("POST", "/api/broadcast", {"data": "old"}, pid=first.pid)[1]["recipients"] == 2
            await alice.send("hers")
            said = [(await receive_type(alice, "message"))["data"] for _ in range(4)]
            assert said[:3] == ["to all", "to alice", "old"]
            assert said[3] == "hers"
            assert [(await receive_type(bob, "message"))["data"] for _ in range(3)] == [
                "to all",
                "old",
                "hers",
            ]
            await cluster.join(other, "alice")
            with pytest.raises(ConnectionClosed, match="4501"):
                await receive_type(alice, "message")
        assert server.first_ended() == 0
    finally:
        server.kill()
