"""What Prometheus reads of real servers."""

import asyncio
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from websockets.asyncio.client import ClientConnection

from tests.conftest import StartServer, StartStore, running_workers
from tests.e2e.ways import TOKEN, Way, as_operator, embedded, module
from tests.support.clients import closed, join, receive_type
from tests.support.cluster import Cluster, publish, wait_for
from tests.support.generations import Generations
from tests.support.scrapes import OPENMETRICS, Scrape, complaints, scraped
from tests.support.server import DEADLINE, ServerProcess
from wsctl.server.workers.group_control import REPLY_TIMEOUT
from wsctl.server.workers.worker import FRESH

pytestmark = pytest.mark.anyio

Seen = Callable[[Scrape], object]


async def until(server: ServerProcess, seen: Seen) -> Scrape:
    """The first scrape that is so."""
    end = time.monotonic() + DEADLINE
    while not seen(scrape := await asyncio.to_thread(scraped, server)):
        assert time.monotonic() < end, scrape.text
    return scrape


@pytest.mark.parametrize("way", [module, embedded])
async def test_operators_read_them_and_nobody_else(start_server: StartServer, way: Way) -> None:
    server = way(start_server, "--broadcast-interval", "0")
    bob = await join(server.ws_url, "bob")
    await bob.send("hello")
    await receive_type(bob, "message")
    code, refusal = server.http("GET", "/metrics")
    assert (code, refusal["error"]["code"]) == (401, "bad_token")
    assert server.http("GET", "/metrics", None, {"authorization": "Bearer wrong"})[0] == 401
    code, text = as_operator(server, "GET", "/metrics")
    assert code == 200
    assert b"\nwsctl_connections 1.0\n" in text  # type: ignore[operator]
    given = {"authorization": f"Bearer {TOKEN}", "accept": OPENMETRICS}
    code, text = server.http("GET", "/metrics", None, given)
    scrape = Scrape(text.decode())
    assert (scrape("wsctl_connections"), scrape("wsctl_messages_received_total")) == (1, 1)
    assert scrape("wsctl_received_bytes_total") >= len("hello")  # type: ignore[operator]
    await bob.close()


def test_without_a_token_only_the_control_socket_tells(start_server: StartServer) -> None:
    server = start_server()
    code, refusal = server.http("GET", "/metrics")
    assert (code, refusal["error"]["code"]) == (403, "control_only")
    assert server.http("GET", "/api/metrics")[0] == 403
    assert complaints(scraped(server).families) == []


async def test_the_numbers_are_those_of_status_and_health(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0")
    telling = [f"telling-{n}" for n in range(3)]
    clients = [await join(server.ws_url, name) for name in telling]
    publish(server, "hello")
    publish(server, "hello", telling[0])
    before, scrape, after = server.status(), scraped(server), server.status()
    assert before["messages"] == after["messages"]
    assert {k: scrape(f"wsctl_messages_{k}_total") for k in before["messages"]} == before["messages"]
    health = server.http("GET", "/health")[1]
    assert scrape("wsctl_connections") == before["connections"] == health["connections"] == 3
    assert scrape("wsctl_phase", wsctl_phase=health["status"]) == 1
    assert before["uptime_s"] < scrape("wsctl_uptime_seconds") < after["uptime_s"]  # type: ignore[operator]
    (build,) = [
        s.labels for family in scrape.families if family.name == "wsctl_build" for s in family.samples
    ]
    assert build == {"version": health["version"], "python": platform.python_version()}
    assert "telling" not in scrape.text
    for client in clients:
        await client.close()


async def test_closes_are_counted_by_code(start_server: StartServer) -> None:
    server = start_server("--max-message-size", "100", "--shutdown-timeout", "0")
    polite, strange, first, binary, big, left = [
        await join(server.ws_url, name) for name in ("polite", "strange", "twice", "binary", "big", "left")
    ]
    await polite.close()
    await strange.close(3456)
    second = await join(server.ws_url, "twice")
    await binary.send(b"0")
    await big.send("." * 200)
    left.transport.abort()
    assert [(await closed(c))[0] for c in (first, binary, big)] == [4501, 1003, 1009]
    scrape = await until(
        server, lambda s: s("wsctl_connections") == 1 and s("wsctl_closing_connections") == 0
    )
    codes = ("1000", "1003", "1006", "1009", "4501", "other")
    assert [scrape("wsctl_connections_closed_total", code=code) for code in codes] == [1] * 6
    assert scrape("wsctl_connections_opened_total") == 7
    await second.close()
    await left.wait_closed()


async def test_a_drain_is_told_while_it_lasts(start_server: StartServer) -> None:
    server = start_server("--shutdown-timeout", "300")
    stays, leaves = [await join(server.ws_url, name) for name in ("stays", "leaves")]
    assert scraped(server)("wsctl_drain_remaining_seconds") is None
    server.signal()
    await receive_type(leaves, "shutdown")
    await leaves.close()
    scrape = await until(server, lambda s: s("wsctl_drain_clients", state="left") == 1)
    drain = server.status()["drain"]
    states = ("started_with", "active", "left", "evicted", "forced", "aborted", "handed_over")
    assert {s: scrape("wsctl_drain_clients", state=s) for s in states} == {s: drain[s] for s in states}
    assert scrape("wsctl_phase", wsctl_phase="draining") == 1
    assert drain["remaining_s"] <= scrape("wsctl_drain_remaining_seconds") <= 300  # type: ignore[operator]
    await stays.close()
    assert await asyncio.to_thread(server.wait) == 0


async def test_a_successor_says_which_generation_it_is_and_whom_it_took_over(
    start_server: StartServer,
) -> None:
    server = Generations(start_server("--broadcast-interval", "0", env={"WSCTL_TOKEN": TOKEN}))
    try:
        bob = await join(server.first.ws_url, "bob")
        assert (await asyncio.to_thread(server.upgrade))["state"] == "done"
        code, text = as_operator(server.first, "GET", "/metrics")  # on the port, which the successor has
        assert code == 200
        lines = str(text, "utf-8").splitlines()  # type: ignore[call-overload]
        for line in ("generation 2.0", "connections 1.0", "connections_adopted_total 1.0"):
            assert f"wsctl_{line}" in lines
        assert "wsctl_connections_opened_total 0.0" in lines
        await bob.close()
    finally:
        server.kill()


async def test_servers_that_share_a_store_tell_of_it(
    start_server: StartServer, start_store: StartStore
) -> None:
    store = start_store()
    async with Cluster(start_server, store.url) as cluster:
        one, other = cluster.grow(2)
        await cluster.join(one, "bob")
        publish(other, "hello")
        wait_for(
            one, lambda facts: facts["messages"]["published"] == 1 and facts["cluster"]["connections"] == 1
        )
        wait_for(other, lambda facts: facts["cluster"]["connections"] == 1)
        for node in (one, other):
            scrape = await until(
                node,
                lambda s: (
                    s("wsctl_redis_position_timestamp_seconds") == s("wsctl_log_position_timestamp_seconds")
                ),
            )
            assert (scrape("wsctl_redis_up"), scrape("wsctl_redis_away_seconds")) == (1, 0)
            assert (scrape("wsctl_cluster_nodes"), scrape("wsctl_cluster_connections")) == (2, 1)
            assert scrape("wsctl_redis_lag_seconds") == 0
            assert complaints(scrape.families) == []
        store.kill()
        scrape = await until(one, lambda s: s("wsctl_redis_up") == 0)
        assert scrape("wsctl_redis_away_seconds") >= 0  # type: ignore[operator]


@pytest.fixture(scope="module")
def two_workers() -> Iterator[ServerProcess]:
    """A parent with two workers, for all tests that leave it as it was."""
    with running_workers(2, "--broadcast-interval", "0", token=TOKEN) as server:
        yield server


def by_worker(scrape: Scrape, name: str) -> list[float | None]:
    return [scrape(name, worker=number) for number in ("1", "2")]


async def test_a_scrape_of_one_worker_tells_of_all(two_workers: ServerProcess) -> None:
    server = two_workers
    clients: list[ClientConnection] = [await join(server.ws_url, f"telling{n}") for n in range(20)]
    facts = await asyncio.to_thread(wait_for, server, lambda facts: facts["connections"] == 20)
    counts = [row["connections"] for row in facts["workers"]]
    given = {"authorization": f"Bearer {TOKEN}", "accept": OPENMETRICS}
    assert server.http("GET", "/metrics")[0] == 401
    answers = [server.http("GET", "/metrics", None, given) for _ in range(4)]
    for scrape in (scraped(server), *(Scrape(text.decode()) for _, text in answers)):
        assert by_worker(scrape, "wsctl_worker_up") == [1, 1]
        assert by_worker(scrape, "wsctl_connections") == counts
        assert all("worker" in labels for name, labels in scrape.labels.items() if labels), scrape.labels
        assert complaints(scrape.families) == []
        assert "telling" not in scrape.text
    assert b"# TYPE wsctl_connections gauge" in server.api("GET", "/metrics")[1]
    for client in clients:
        await client.close()


async def test_a_worker_that_hangs_is_left_out_and_told_of(
    two_workers: ServerProcess, request: pytest.FixtureRequest
) -> None:
    server = two_workers
    hung = server.status()["workers"][0]["pid"]
    os.kill(hung, signal.SIGSTOP)
    request.addfinalizer(lambda: os.kill(hung, signal.SIGCONT))
    began = time.monotonic()
    scrape = await asyncio.to_thread(scraped, server)
    assert time.monotonic() - began < REPLY_TIMEOUT + 1
    assert by_worker(scrape, "wsctl_worker_up") == [0, 1]
    assert by_worker(scrape, "wsctl_connections") == [None, 0]
    # Once it is known to hang, nobody waits for it.
    while time.monotonic() - began < FRESH + REPLY_TIMEOUT:
        asked = time.monotonic()
        assert by_worker(await asyncio.to_thread(scraped, server), "wsctl_worker_up") == [0, 1]
        if time.monotonic() - asked < REPLY_TIMEOUT / 2:
            return
    raise AssertionError("each scrape waits for it")
