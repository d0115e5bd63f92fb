"""Several servers that share a Redis: for their clients they are one."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.conftest import ON_REDIS, ON_VALKEY, StartServer, StartStore
from tests.e2e.ways import as_operator, embedded
from tests.support.clients import closed, receive_type
from tests.support.cluster import Cluster, connections_of, publish, wait_for
from tests.support.server import ServerProcess, wsctl
from tests.support.store import StoreProcess
from wsctl.codes import ExitCode

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cluster(start_server: StartServer, store: StoreProcess) -> AsyncIterator[Cluster]:
    async with Cluster(start_server, store.url) as found:
        yield found


async def heard(client: ClientConnection, count: int) -> list[dict[str, Any]]:
    """The next so many messages."""
    return [await receive_type(client, "message") for _ in range(count)]


@ON_VALKEY
async def test_whoever_publishes_wherever_all_nodes_deliver_in_one_order(cluster: Cluster) -> None:
    nodes = cluster.grow(3)
    clients = [await cluster.join(node, f"c{n}") for n, node in enumerate(nodes)]
    wait_for(nodes[0], lambda facts: facts["cluster"]["connections"] == 3)
    outside = [asyncio.to_thread(_publish_some, node, f"o{n}", 40) for n, node in enumerate(nodes)]
    inside = [_say_some(client, f"i{n}", 20) for n, client in enumerate(clients)]
    receipts, *_ = await asyncio.gather(asyncio.gather(*outside), *inside)
    seen = await asyncio.gather(*(heard(client, 180) for client in clients))
    assert seen[0] == seen[1] == seen[2]
    ids = [tuple(map(int, message["id"].split("-"))) for message in seen[0]]
    assert sorted(set(ids)) == ids
    said = [message["data"] for message in seen[0]]
    for writer in ("o0", "o1", "o2", "i0", "i1", "i2"):
        count = 40 if writer[0] == "o" else 20
        assert [data for data in said if data.startswith(writer)] == [f"{writer}:{n}" for n in range(count)]
    answered = {receipt["id"]: receipt["recipients"] for each in receipts for receipt in each}
    assert answered == {m["id"]: 3 for m in seen[0] if m["data"][0] == "o"}


def _publish_some(server: ServerProcess, writer: str, count: int) -> list[dict[str, Any]]:
    return [publish(server, f"{writer}:{n}") for n in range(count)]


async def _say_some(client: ClientConnection, writer: str, count: int) -> None:
    for n in range(count):
        await client.send(f"{writer}:{n}")


@ON_REDIS
async def test_a_client_resumes_at_another_node_also_at_one_that_came_later(cluster: Cluster) -> None:
    one, two = cluster.grow(2)
    bob = await cluster.join(one, "bob")
    seen = publish(one, "seen")
    await bob.close()
    for n, server in enumerate((one, two, one)):
        publish(server, n)
    publish(two, "for eve", "eve")
    three = cluster.add()
    for server in (two, three, one):
        wait_for(server, lambda facts: facts["cluster"]["connections"] == 0)
        bob = await cluster.join(server, "bob", seen["id"])
        assert [m["data"] for m in await heard(bob, 3)] == [0, 1, 2]
        publish(two, "live", "bob")
        assert [m["data"] for m in await heard(bob, 1)] == ["live"]
        await bob.close()


@ON_VALKEY
async def test_direct_messages_find_their_addressees_anywhere_and_are_counted(cluster: Cluster) -> None:
    one, two = cluster.grow(2)
    bob, eve = await cluster.join(one, "bob"), await cluster.join(two, "eve")
    wait_for(one, lambda facts: sorted(c["client_id"] for c in facts["clients"]) == ["bob", "eve"])
    wait_for(two, lambda facts: sorted(c["client_id"] for c in facts["clients"]) == ["bob", "eve"])
    assert publish(one, "to eve", "eve")["recipients"] == 1
    assert publish(two, "to both", "bob", "eve")["recipients"] == 2
    assert publish(two, "to nobody", "carol")["recipients"] == 0
    assert publish(one, "to bob", "bob")["recipients"] == 1
    assert publish(one, "to all")["recipients"] == 2
    assert [m["data"] for m in await heard(bob, 3)] == ["to both", "to bob", "to all"]
    assert [m["data"] for m in await heard(eve, 3)] == ["to eve", "to both", "to all"]


@ON_REDIS
async def test_a_newer_connection_replaces_the_older_one_at_another_node(cluster: Cluster) -> None:
    one, two = cluster.grow(2)
    older = await cluster.join(one, "bob")
    for server, there in ((two, [1, 0]), (one, [0, 1]), (two, [1, 0])):
        wait_for(
            one, lambda facts, there=there: connections_of(facts) == there and len(facts["clients"]) == 1
        )
        newer = await cluster.join(server, "bob")
        assert (await closed(older))[0] == 4501
        older = newer
    facts = wait_for(one, lambda facts: connections_of(facts) == [0, 1])
    assert facts["cluster"] == {"nodes": 2, "connections": 1}
    assert publish(one, "once")["recipients"] == 1
    assert (await heard(older, 1))[0]["data"] == "once"


@ON_VALKEY
async def test_every_node_shows_all_of_them(cluster: Cluster, environ: dict[str, str]) -> None:
    one, two = cluster.grow(2)
    bob, eve = await cluster.join(one, "bob"), await cluster.join(two, "eve")
    shown = wait_for(one, lambda facts: connections_of(facts) == [1, 1] and len(facts["clients"]) == 2)
    assert [(n["pid"], n["url"], n["phase"], n["this"]) for n in shown["nodes"]] == [
        (one.pid, one.url, "serving", True),
        (two.pid, two.url, "serving", False),
    ]
    assert (shown["redis"]["state"], shown["redis"]["why"], shown["degraded"]) == ("up", None, None)
    assert shown["redis"]["url"].startswith("redis://127.0.0.1:")
    names = [node["node"] for node in shown["nodes"]]
    here, there = shown["clients"]
    assert (here["client_id"], here["node"], here["waiting_bytes"]) == ("bob", names[0], 0)
    assert (there["client_id"], there["node"], there["waiting_bytes"]) == ("eve", names[1], None)
    assert (here["address"] is None, there["address"]) == (False, None)
    assert 0 <= there["connected_s"] < 60
    assert one.http("GET", "/health")[1]["degraded"] is False
    told = await asyncio.to_thread(wsctl, "status", "--clients", "--url", two.url, environ=environ)
    assert told.returncode in (ExitCode.DONE, ExitCode.REFUSED), told.stderr
    two.signal()
    facts = wait_for(one, lambda facts: facts["nodes"][1]["phase"] == "draining")
    assert facts["nodes"][1]["connections"] == 1
    await eve.close()
    assert two.wait() == 0
    # Who ends says goodbye: nobody waits for its lease.
    wait_for(one, lambda facts: facts["cluster"] == {"nodes": 1, "connections": 1}, deadline=3)
    assert bob.state.name == "OPEN"


@ON_REDIS
async def test_a_node_that_is_killed_is_forgotten_and_its_clients_go_on_elsewhere(cluster: Cluster) -> None:
    one, two = cluster.grow(2)
    bob = await cluster.join(one, "bob")
    eve = await cluster.join(two, "eve")
    wait_for(two, lambda facts: facts["cluster"]["connections"] == 2)
    seen = publish(two, "seen")
    assert seen["recipients"] == 2
    os.kill(one.pid, signal.SIGKILL)
    await closed(bob)
    publish(two, "missed")
    bob = await cluster.join(two, "bob", seen["id"])
    assert (await heard(bob, 1))[0]["data"] == "missed"
    facts = wait_for(two, lambda facts: len(facts["nodes"]) == 1)
    assert facts["cluster"] == {"nodes": 1, "connections": 2}
    assert publish(two, "after")["recipients"] == 2
    assert [m["data"] for m in await heard(eve, 3)] == ["seen", "missed", "after"]
    assert eve.state.name == bob.state.name == "OPEN"


@ON_VALKEY
async def test_a_guest_of_uvicorn_is_one_of_them(
    cluster: Cluster, start_server: StartServer, store: StoreProcess
) -> None:
    own = cluster.add()
    hosted = embedded(start_server, "--redis", store.url, "--broadcast-interval", "0")
    wait_for(own, lambda facts: len(facts["nodes"]) == 2)
    bob, eve = await cluster.join(own, "bob"), await cluster.join(hosted, "eve")
    wait_for(own, lambda facts: connections_of(facts) == [1, 1])
    seen = publish(own, "from own")
    code, answer = as_operator(hosted, "POST", "/api/broadcast", {"data": "from the embedded one"})
    assert (code, answer["recipients"]) == (200, 2)  # type: ignore[index]
    for client in (bob, eve):
        assert [m["data"] for m in await heard(client, 2)] == ["from own", "from the embedded one"]
    again = await cluster.join(hosted, "bob", seen["id"])
    assert (await closed(bob))[0] == 4501
    assert (await heard(again, 1))[0]["data"] == "from the embedded one"
    hosted.signal()
    await again.close()
    await eve.close()
    hosted.wait()
    wait_for(own, lambda facts: len(facts["nodes"]) == 1, deadline=3)


def _refusal(environ: dict[str, str], url: str, **env: str) -> str:
    """The one line of a server that does not start."""
    done = wsctl("serve", "--port", "0", environ=environ | {"WSCTL_REDIS": url} | env)
    assert (done.returncode, done.stdout) == (ExitCode.CANNOT_START, ""), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return str(done.stderr)


@ON_REDIS
def test_a_server_without_its_redis_does_not_start(environ: dict[str, str], store: StoreProcess) -> None:
    place = store.url.removeprefix("redis://")
    assert "authentication failed" in _refusal(environ, f"redis://:wr%2Fong@{place}")
    assert "wr/ong" not in _refusal(environ, store.url, WSCTL_REDIS_PASSWORD="wr/ong")
    store.command("CONFIG", "SET", "requirepass", "right")
    for url in (store.url, f"redis://:wrong@{place}"):
        text = _refusal(environ, url)
        assert f"redis://{place}" in text
        assert "wrong" not in text
    store.kill()
    assert "nothing listens there" in _refusal(environ, store.url)


def test_without_the_package_it_says_what_to_install(start_server: StartServer) -> None:
    program = "import sys; sys.modules['redis'] = None; from wsctl.__main__ import main; main()"
    command = (sys.executable, "-c", program, "serve", "--port", "0", "--redis", "redis://127.0.0.1:1")
    server = start_server(command=command, serving=r"pip install '(\.\[redis\])'")
    assert server.wait() == ExitCode.CANNOT_START
    assert len(server.lines) == 1


async def test_a_password_is_never_shown(start_server: StartServer, start_store: StartStore) -> None:
    store = start_store(login=("default", "s3cr/et"))
    async with Cluster(start_server, store.url, "--log-level", "debug") as cluster:
        server = cluster.add()
        plain = store.url.replace("default:s3cr%2Fet@", "")
        other = cluster.add("--redis", plain, env={"WSCTL_REDIS_PASSWORD": "s3cr/et"})
        bob = await cluster.join(server, "bob")
        assert publish(other, "both are in")["id"] == (await heard(bob, 1))[0]["id"]
    told = str(server.status())
    server.signal(signal.SIGUSR1)
    server.wait_for_line(r"status .*redis")
    store.kill()
    server.wait_for_line("Redis is away")
    told += str(server.status()) + "".join(server.lines + other.lines)
    assert "s3cr" not in told
    assert f"redis://127.0.0.1:{store.port}/0" in told


@ON_VALKEY
async def test_what_cannot_be_read_in_redis_harms_no_server_that_is_there_or_starts(
    cluster: Cluster, store: StoreProcess
) -> None:
    node = cluster.add()
    bob = await cluster.join(node, "bob")
    good = {"p": "1-0", "w": "w", "n": "1", "r": "0", "t": "", "m": '{"ts":1,"from":"x","data":"poison"}'}
    for bad in ({"p": "garbage"}, {"m": "[" * 100_000}, {"t": '{"bob": 1}'}):
        store.command(
            "XADD", "{wsctl}:v1:log", "*", *(word for pair in (good | bad).items() for word in pair)
        )
    store.command("HSET", "{wsctl}:v1:nodes", "stranger", "what")
    publish(node, "behind it")
    assert (await receive_type(bob, "message"))["data"] == "behind it"
    wait_for(node, lambda facts: facts["redis"]["unreadable"] and not facts["degraded"])
    newer = cluster.add()
    eve = await cluster.join(newer, "eve")
    publish(newer, "from the one that came")
    for client in (bob, eve):
        assert (await receive_type(client, "message"))["data"] == "from the one that came"
    for server in cluster.nodes:
        assert server.faults == []
