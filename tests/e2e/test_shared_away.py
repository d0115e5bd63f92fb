"""Servers whose Redis is away: they keep their clients, refuse what they cannot share, and catch up."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest
from websockets.asyncio.client import ClientConnection

from tests.conftest import ON_REDIS, StartServer, StartStore
from tests.support.clients import receive, receive_type
from tests.support.cluster import Cluster, publish, refused, wait_for
from tests.support.server import ServerProcess
from tests.support.store import StoreProcess, Watched

pytestmark = pytest.mark.anyio

KINDS = ("valkey", "redis")

ATTEMPTS = 5
"""Attempts to have a message on its way before the server knows that nobody will confirm it: it knows after a
second, which a busy machine may take to send it."""


@pytest.fixture
async def cluster(start_server: StartServer, store: StoreProcess) -> AsyncIterator[Cluster]:
    async with Cluster(start_server, store.url) as found:
        yield found


class Trouble(NamedTuple):
    """How a store gets into it and out of it, what a server says of it, and whether all is still there."""

    begin: Callable[[StoreProcess], object]
    end: Callable[[StoreProcess], object]
    why: str
    recovered: bool = True


TROUBLES = {
    "stopped": Trouble(StoreProcess.stop_process, StoreProcess.go_on, "no answer within 1.5 s"),
    "killed": Trouble(StoreProcess.kill, StoreProcess.restart, "nothing listens there"),
    "lost": Trouble(
        StoreProcess.kill, lambda store: store.restart(empty=True), "nothing listens there", recovered=False
    ),
    "full": Trouble(
        lambda store: store.command("CONFIG", "SET", "maxmemory", 1, "maxmemory-policy", "noeviction"),
        lambda store: store.command("CONFIG", "SET", "maxmemory", 0),
        "memory",
    ),
}


def changes(server: ServerProcess) -> list[str]:
    """What its log says of Redis, in order."""
    found = (re.search(r"Redis is (away|back)|messages were (lost)|what Redis says", x) for x in server.lines)
    return [match[1] or match[2] or match[0] for match in found if match]


async def heard_until(client: ClientConnection, last: object) -> list[Any]:
    """The data of all messages up to the last one."""
    found: list[Any] = []
    while last not in found:
        found.append((await receive_type(client, "message"))["data"])
    return found


def assert_internals_stay_inside(text: str) -> None:
    """Addresses, numbers of errors, commands and scripts are for the log and the status."""
    assert not re.search(r"\d{2,}|[Rr]edis|rror|OOM|script|memory|connect", text), text


@pytest.mark.parametrize(
    ("store", "what"),
    [("valkey", "stopped"), ("redis", "killed"), ("valkey", "lost"), ("redis", "full")],
    indirect=["store"],
)
async def test_clients_stay_publishers_are_refused_at_once_and_all_go_on_afterwards(
    cluster: Cluster, store: StoreProcess, what: str
) -> None:
    trouble = TROUBLES[what]
    one, two = cluster.grow(2)
    clients = [await cluster.join(one, "bob"), await cluster.join(two, "eve")]
    before = publish(one, "before")
    for client in clients:
        assert await heard_until(client, "before") == ["before"]

    trouble.begin(store)
    error, waited = await asyncio.to_thread(refused, one, "at first")
    assert waited < 2, waited
    possible = ["at first"] if error["code"] == "unconfirmed" else []
    for client in clients:
        told = await receive(client)
        assert told["code"] == "degraded"
        assert_internals_stay_inside(told["message"])
    assert_internals_stay_inside(error["message"])
    for server in (one, two):
        # What failed first may have been a connection that was lost, which has no address any more.
        facts = wait_for(server, lambda facts: trouble.why in (facts["degraded"] or ""))
        assert trouble.why in facts["redis"]["why"]
        assert facts["redis"]["state"] == "away"
        code, health = server.http("GET", "/health")
        assert (code, health["status"], health["degraded"]) == (200, "serving", True)
        error, waited = refused(server, "then")
        assert (error["code"], waited < 0.5, "was not published" in error["message"]) == (
            "degraded",
            True,
            True,
        )
    await clients[0].send("a text")
    error = await receive(clients[0])
    assert (error["type"], error["code"]) == ("error", "degraded")
    assert_internals_stay_inside(error["message"])
    clients.append(await cluster.join(one, "carol", before["id"]))
    assert cluster.welcome["server"]["degraded"] is True

    trouble.end(store)
    for client in clients:
        welcome = await receive(client)
        assert (welcome["type"], welcome["recovered"]) == ("welcome", trouble.recovered)
        assert "degraded" not in welcome["server"]
    wait_for(two, lambda facts: facts["cluster"]["connections"] == len(facts["clients"]) == 3)
    after = publish(two, "after")
    assert after["recipients"] == 3
    for client in clients:
        said = await heard_until(client, "after")
        assert [data for data in said if data not in possible] == ["after"]
    await cluster.join(two, "dave", before["id"], recovered=trouble.recovered)
    await cluster.join(one, "dora", after["id"])
    for server in (one, two):
        facts = wait_for(server, lambda facts: len(facts["nodes"]) == 2)
        assert (facts["degraded"], facts["redis"]["state"], facts["redis"]["why"]) == (None, "up", None)
        assert changes(server) == ["away", "back"]


@pytest.mark.parametrize(
    ("store", "road"), [("redis", "HTTP"), ("valkey", "a client's frame")], indirect=["store"]
)
async def test_what_was_on_its_way_to_a_redis_that_hangs_may_have_been_published_and_is_told_so(
    cluster: Cluster, store: StoreProcess, road: str
) -> None:
    (one,) = cluster.grow(1)
    bob = await cluster.join(one, "bob")
    for _ in range(ATTEMPTS):
        publish(one, "before")
        assert (await heard_until(bob, "before"))[-1] == "before"
        store.stop_process()
        if road == "HTTP":
            error, _ = await asyncio.to_thread(refused, one, "asked for")
        else:
            await bob.send("asked for")
            error = await receive_type(bob, "error")
        late, _ = await asyncio.to_thread(refused, one, "never asked for")
        store.go_on()
        wait_for(one, lambda facts: not facts["degraded"])
        if error["code"] == "unconfirmed":
            break
    assert error["code"] == "unconfirmed"
    assert "may still be delivered" in error["message"]
    assert (late["code"], "not published" in late["message"]) == ("degraded", True)
    publish(one, "after")
    assert set(await heard_until(bob, "after")) <= {"asked for", "after"}


@ON_REDIS
async def test_one_node_alone_that_is_let_in_no_more_catches_up_when_it_is(
    start_server: StartServer, store: StoreProcess
) -> None:
    def let_in(password: str) -> None:
        store.command("ACL", "SETUSER", "one", "on", "resetpass", f">{password}", "~*", "&*", "+@all")
        store.command("CLIENT", "KILL", "USER", "one")

    let_in("right")
    async with Cluster(start_server, store.url) as cluster:
        one = cluster.add("--redis", store.url.replace("://", "://one:right@"))
        two = cluster.add()
        bob, eve = await cluster.join(one, "bob"), await cluster.join(two, "eve")
        wait_for(two, lambda facts: facts["cluster"]["connections"] == 2)
        let_in("another")
        assert (await receive(bob))["code"] == "degraded"
        for n in range(1000):
            publish(two, n)
        let_in("right")
        welcome = await receive(bob)
        assert (welcome["type"], welcome["recovered"]) == ("welcome", True)
        publish(one, "last")
        for client in (bob, eve):
            assert await heard_until(client, "last") == [*range(1000), "last"]
        assert (changes(one), changes(two)) == (["away", "back"], [])


@pytest.mark.parametrize("kind", KINDS)
async def test_when_another_redis_becomes_primary_they_go_on_with_that(
    start_server: StartServer, start_store: StartStore, kind: str
) -> None:
    watched: Watched = start_store(what=Watched, kind=kind)
    async with Cluster(start_server, watched.url) as cluster:
        one, two = cluster.grow(2)
        bob, eve = await cluster.join(one, "bob"), await cluster.join(two, "eve")
        for n in range(10):
            publish(one, n)
        watched.primary.command("WAIT", 1, 5000)
        watched.primary.kill()
        for client in (bob, eve):
            assert (await receive_type(client, "error"))["code"] == "degraded"
            assert (await receive_type(client, "welcome"))["recovered"] is True
        wait_for(two, lambda facts: not facts["degraded"])
        publish(two, "after")
        late = await cluster.join(one, "late")
        publish(one, "last")
        for client in (bob, eve):
            assert (await heard_until(client, "last"))[-2:] == ["after", "last"]
        assert await heard_until(late, "last") == ["last"]
        assert changes(one) == changes(two) == ["away", "back"]
