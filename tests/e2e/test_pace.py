"""A drain that takes its time: before clients are told, when they leave, and when they are closed."""

import asyncio
import json
import signal
import time
from itertools import pairwise

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import StartServer
from tests.e2e.ways import ALL, Way, as_operator
from tests.support.clients import closed, join, receive, receive_type
from tests.support.server import ServerProcess, wsctl

pytestmark = pytest.mark.anyio


async def ended(server: ServerProcess) -> int:
    return await asyncio.to_thread(server.wait)


@pytest.mark.parametrize("way", ALL, ids=lambda way: way.__name__)
async def test_a_lame_server_is_not_ready_and_still_welcomes_clients(
    start_server: StartServer, way: Way
) -> None:
    server = way(start_server, "--drain-delay", "3", "--broadcast-interval", "0")
    bob = await join(server.ws_url, "bob")
    signalled = time.monotonic()  # before it: the server counts from when it hears of it
    server.signal()
    line = server.wait_for_line(r"lameduck reason=SIGTERM active=1 .*remaining_s=(\S+)")
    assert float(line[1]) == pytest.approx(1803, abs=1)  # of delay and timeout
    assert server.http("GET", "/health/ready") == (503, {"status": "lameduck"})
    assert server.http("GET", "/health/live") == (200, {"status": "lameduck"})
    eve = await join(server.ws_url, "eve")
    assert as_operator(server, "POST", "/api/broadcast", {"data": "on"})[0] == 200
    for client in (bob, eve):
        assert (await receive(client))["data"] == "on"

    for client in (bob, eve):
        told = await receive(client)
        assert (told["type"], told["reason"]) == ("shutdown", "SIGTERM")
        assert told["deadline_s"] == pytest.approx(1800, abs=1)
    assert time.monotonic() - signalled >= 3
    server.wait_for_line("draining reason=SIGTERM active=2 started_with=2 elapsed_s=3")
    async with connect(f"{server.ws_url}/ws/carl", proxy=None) as carl:
        assert [frame async for frame in carl] == []
        assert carl.close_code == 1001
    await bob.close()
    await eve.close()
    await ended(server)
    server.wait_for_line("drained.* left=2 ")


async def test_without_clients_too_the_delay_is_waited_out(start_server: StartServer) -> None:
    server = start_server("--drain-delay", "1")
    signalled = time.monotonic()  # before it: the server counts from when it hears of it
    server.signal()
    assert await ended(server) == 0
    assert time.monotonic() - signalled >= 1


async def test_ctrl_c_twice_ends_a_lame_server(start_server: StartServer) -> None:
    server = start_server("--drain-delay", "60")
    bob = await join(server.ws_url, "bob")
    server.signal(signal.SIGINT)
    server.wait_for_line("lameduck")
    until = time.monotonic() + 1.1  # from then on it is no longer the same key
    while time.monotonic() < until:
        assert (await asyncio.to_thread(server.status))["status"] == "lameduck"
    server.signal(signal.SIGINT)
    assert (await closed(bob))[0] == 1012
    assert await ended(server) == 130


async def test_a_requested_drain_is_moved_and_cancelled_while_clients_know_nothing(
    start_server: StartServer,
) -> None:
    server = start_server("--drain-delay", "60")
    bob = await join(server.ws_url, "bob")

    async def drain(*flags: str) -> str:
        done = await asyncio.to_thread(lambda: wsctl("drain", *flags, environ=server.environ))
        assert (done.returncode, done.stderr) == (0, "")
        return str(done.stdout)

    assert (await drain("--no-wait")).startswith("lameduck: 1 of 1 connected, elapsed 0:0")
    moved = json.loads(await drain("--no-wait", "--timeout", "10", "--json"))["drain"]
    assert moved["elapsed_s"] + moved["remaining_s"] == pytest.approx(70, abs=0.1)
    assert server.http("GET", "/health/ready")[0] == 503
    assert await drain("--cancel") == "drain cancelled\n"
    assert server.http("GET", "/health/ready")[0] == 200
    server.api("POST", "/api/broadcast", {"data": "as before"})
    assert (await receive(bob))["data"] == "as before"
    await bob.close()


CROWD = 40
SPREAD = 4.0
"""Seconds over which they are closed, the last ones of a drain of five."""


async def test_the_last_ones_are_closed_evenly_and_the_oldest_first(start_server: StartServer) -> None:
    server = start_server("--shutdown-timeout", "5", "--drain-spread", f"{SPREAD:g}")
    crowd = [await join(server.ws_url, f"c{n}", ping_interval=None) for n in range(CROWD)]
    server.signal()
    await asyncio.gather(*(receive_type(client, "shutdown") for client in crowd))
    told = time.monotonic()

    async def end(client: ClientConnection) -> tuple[int | None, float]:
        return (await closed(client))[0], time.monotonic() - told

    ends = await asyncio.gather(*(end(client) for client in crowd))
    assert {code for code, _ in ends} == {1012}
    moments = [at for _, at in ends]
    # Each within a second of its moment: other tests run on the same cores.
    for n, at in enumerate(moments, start=1):
        assert at == pytest.approx(1 + SPREAD * n / CROWD, abs=1)
    assert moments[-1] - moments[0] > SPREAD / 2
    assert max(later - earlier for earlier, later in pairwise(sorted(moments))) < SPREAD / 4
    assert await ended(server) == 4
    server.wait_for_line(f"drained.* left=0 evicted=0 forced={CROWD} aborted=0")


async def test_each_client_is_asked_to_leave_at_its_own_moment(start_server: StartServer) -> None:
    server = start_server("--reconnect-window", "10", "--broadcast-interval", "0")
    crowd = [await join(server.ws_url, f"c{n}") for n in range(20)]
    server.api("POST", "/api/drain")
    told = [await receive(client) for client in crowd]
    moments = [frame["reconnect_in_s"] for frame in told]
    assert sorted(moments) == [n / 2 for n in range(20)]
    assert moments != sorted(moments)
    (deadline,) = {frame["deadline_s"] for frame in told}
    assert deadline == pytest.approx(1800, abs=1)  # seconds left when it was told
    server.api("POST", "/api/drain", {"timeout": 3000})
    assert "reconnect_in_s" not in await receive(crowd[0])
    for client in crowd:
        await client.close()
    assert await ended(server) == 0
