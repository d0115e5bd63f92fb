"""The life of a server, line by line, for every way to start one."""

import asyncio
import json
import re
import signal
import time

import pytest
from websockets.asyncio.client import connect

from tests.conftest import StartServer
from tests.e2e.ways import ALL, FORKED, OURS, Way, as_operator, descriptor, embedded, module
from tests.support.clients import closed, join, receive, receive_type
from tests.support.raw import RawClient
from tests.support.server import DEADLINE, ServerProcess

pytestmark = pytest.mark.anyio

EXIT_AFTER_LAST = 0.2
"""Seconds in which the process has ended once the last client has left."""


def each(ways: list[Way]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("way", ways, ids=lambda way: way.__name__)


async def ended(server: ServerProcess) -> int:
    return await asyncio.to_thread(server.wait)


@each(ALL)
async def test_a_drain_keeps_clients_and_turns_newcomers_away(start_server: StartServer, way: Way) -> None:
    server = way(start_server)
    bob, eve = await join(server.ws_url, "bob"), await join(server.ws_url, "eve")
    assert server.http("GET", "/health/ready")[0] == 200
    server.signal(signal.SIGTERM)
    told = await receive_type(bob, "shutdown")
    assert told["reason"] == "SIGTERM"
    assert 1700 < told["deadline_s"] <= 1800

    assert server.http("GET", "/health/ready") == (503, {"status": "draining"})
    assert server.http("GET", "/health/live") == (200, {"status": "draining"})
    health = server.http("GET", "/health")
    assert health[0] == 200
    assert (health[1]["status"], health[1]["connections"]) == ("draining", 2)

    async with connect(f"{server.ws_url}/ws/carl", proxy=None) as carl:
        assert [frame async for frame in carl] == []
        assert carl.close_code == 1001
        assert "draining" in (carl.close_reason or "")

    await bob.send("still here")
    assert (await receive_type(eve, "message"))["data"] == "still here"
    assert as_operator(server, "POST", "/api/broadcast", {"data": 7})[0] == 200
    assert (await receive_type(eve, "message"))["data"] == 7
    await bob.close()
    await eve.close()
    assert await ended(server) == (-signal.SIGTERM if way is embedded else 0)


@each(ALL)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_without_clients_a_signal_ends_it_at_once(
    start_server: StartServer, way: Way, signum: signal.Signals
) -> None:
    server = way(start_server)
    server.signal(signum)
    code = await ended(server)
    if way is embedded:
        assert code in (-signum, 0, 130)
    else:
        assert code == 0


@each(OURS)
async def test_the_process_is_gone_right_after_the_last_client(start_server: StartServer, way: Way) -> None:
    took = EXIT_AFTER_LAST
    for _ in range(3):  # the best of three: other tests run on the same cores
        if took < EXIT_AFTER_LAST:
            break
        server = way(start_server)
        bob = await join(server.ws_url, "bob")
        server.signal()
        await receive_type(bob, "shutdown")
        await bob.close()
        began = time.monotonic()
        assert await ended(server) == 0
        took = time.monotonic() - began
    assert took < EXIT_AFTER_LAST


@each(FORKED)
async def test_at_the_deadline_the_rest_is_closed_with_1012(start_server: StartServer, way: Way) -> None:
    server = way(start_server, "--shutdown-timeout", "1")
    bob, eve = await join(server.ws_url, "bob"), await join(server.ws_url, "eve")
    server.signal()
    for client in (bob, eve):
        code, reason = await closed(client)
        assert code == 1012
        assert reason
    assert await ended(server) == (-signal.SIGTERM if way is embedded else 4)
    server.wait_for_line("drained.* active=0 .*left=0 evicted=0 forced=2 aborted=0 .*undelivered=0")


@each(FORKED)
async def test_more_sigterms_change_nothing(start_server: StartServer, way: Way) -> None:
    server = way(start_server)
    bob = await join(server.ws_url, "bob")
    server.signal()
    first = await receive_type(bob, "shutdown")
    for _ in range(3):
        server.signal()
        assert as_operator(server, "POST", "/api/broadcast", {"data": "on"})[0] == 200
        assert (await receive_type(bob, "message"))["data"] == "on"
    assert server.http("GET", "/health")[1]["status"] == "draining"
    _, status = as_operator(server, "GET", "/api/status")
    drain = status["drain"]  # type: ignore[index]
    assert drain["remaining_s"] + drain["elapsed_s"] == pytest.approx(first["deadline_s"], abs=0.1)
    await bob.close()
    await ended(server)


@each([module, descriptor])
async def test_a_second_sigint_after_a_second_forces(start_server: StartServer, way: Way) -> None:
    server = way(start_server)
    bob = await join(server.ws_url, "bob")
    server.signal(signal.SIGINT)
    await receive_type(bob, "shutdown")
    server.signal(signal.SIGINT)  # the same Ctrl-C, delivered twice
    await _elapsed(server, 1.05)
    assert server.http("GET", "/health")[1]["status"] == "draining"
    server.signal(signal.SIGINT)
    assert (await closed(bob))[0] == 1012
    assert await ended(server) == 130


async def _elapsed(server: ServerProcess, seconds: float) -> None:
    """Wait until the drain itself says that so much time has passed."""
    async with asyncio.timeout(DEADLINE):
        while (left := seconds - (await asyncio.to_thread(server.status))["drain"]["elapsed_s"]) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)


async def test_one_more_sigint_aborts_a_client_that_does_not_answer(start_server: StartServer) -> None:
    server = start_server()
    with RawClient(server.port) as mute:
        mute.join("mute")
        server.signal(signal.SIGINT)
        await _elapsed(server, 1.05)
        server.signal(signal.SIGINT)
        assert server.http("GET", "/health")[1]["status"] == "closing"
        await _elapsed(server, 1.5)  # sooner it would be the same key
        server.signal(signal.SIGINT)
        began = time.monotonic()
        assert await ended(server) == 130
        assert time.monotonic() - began < 5
    server.wait_for_line("drained.* forced=0 aborted=1")


async def test_a_stalled_client_cannot_hold_the_exit_and_progress_is_logged(
    start_server: StartServer,
) -> None:
    server = start_server("--shutdown-timeout", "16", "--log-format", "json", "--max-queue", "8m")
    bob = await join(server.ws_url, "bob")
    with RawClient(server.port, receive_buffer=4096) as stalled:
        stalled.join("stalled")
        server.signal()
        await receive_type(bob, "shutdown")
        # It stalls so late that the deadline comes before the ten seconds it may.
        await asyncio.to_thread(server.wait_for_line, "still draining")
        for _ in range(100):
            server.api("POST", "/api/broadcast", {"data": "x" * 60_000})
            await receive_type(bob, "message")
        await bob.close()
        assert await asyncio.to_thread(server.wait, 40) == 4
    lines = [json.loads(line) for line in server.lines]
    told = {line["event"]: line for line in reversed(lines) if line["logger"] == "wsctl.drain"}
    assert told["draining"]["active"] == 2
    assert told["draining"]["remaining_s"] == pytest.approx(16, abs=0.5)
    assert told["still draining"]["elapsed_s"] == pytest.approx(10, abs=1)
    assert told["still draining"]["active"] == 2
    end = told["drained"]
    assert (end["left"], end["aborted"], end["active"], end["exit_code"]) == (1, 1, 0, 4)
    assert end["undelivered"] > 0


@each(FORKED)
async def test_a_drain_by_request_can_be_moved_and_cancelled(start_server: StartServer, way: Way) -> None:
    server = way(start_server)
    bob = await join(server.ws_url, "bob")
    assert as_operator(server, "POST", "/api/drain", {"timeout": 600})[0] == 200
    assert (await receive(bob))["deadline_s"] == pytest.approx(600, abs=1)
    assert as_operator(server, "POST", "/api/drain", {"timeout": 300})[0] == 200
    assert (await receive(bob))["deadline_s"] == pytest.approx(300, abs=1)
    assert as_operator(server, "DELETE", "/api/drain")[0] == 200
    assert (await receive(bob))["deadline_s"] is None
    assert server.http("GET", "/health/ready")[0] == 200
    eve = await join(server.ws_url, "eve")
    status, body = as_operator(server, "DELETE", "/api/drain")
    assert (status, body["error"]["code"]) == (409, "not_now")  # type: ignore[index]
    await bob.close()
    await eve.close()
    await asyncio.to_thread(server.stop)


@each(FORKED)
async def test_a_drain_by_signal_cannot_be_cancelled(start_server: StartServer, way: Way) -> None:
    server = way(start_server)
    bob = await join(server.ws_url, "bob")
    server.signal()
    await receive_type(bob, "shutdown")
    assert as_operator(server, "DELETE", "/api/drain")[0] == 409
    assert as_operator(server, "POST", "/api/drain", {"timeout": 0})[0] == 200
    assert (await closed(bob))[0] == 1012
    await ended(server)


async def test_who_waits_for_the_drain_learns_how_it_ended(start_server: StartServer) -> None:
    server = start_server()
    bob, eve = await join(server.ws_url, "bob"), await join(server.ws_url, "eve")
    waiting = asyncio.create_task(asyncio.to_thread(server.api, "GET", "/api/drain"))
    server.api("POST", "/api/drain")
    await bob.close()
    server.api("POST", "/api/drain", {"timeout": 0})
    await closed(eve)
    _, end = await waiting
    assert end["exit_code"] == 4
    assert (end["drain"]["phase"], end["drain"]["left"], end["drain"]["forced"]) == ("stopped", 1, 1)
    assert await ended(server) == 4


async def test_sigusr1_prints_progress(start_server: StartServer) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    server.signal(signal.SIGUSR1)
    server.wait_for_line("status status=serving connections=1")
    server.signal()
    await receive_type(bob, "shutdown")
    server.signal(signal.SIGUSR1)
    server.wait_for_line("status status=draining connections=1 .*remaining_s=")
    await bob.close()
    assert await ended(server) == 0


async def test_under_plain_uvicorn_too_a_stalled_client_cannot_hold_the_exit(
    start_server: StartServer,
) -> None:
    server = embedded(start_server, "--shutdown-timeout", "1", "--max-queue", "64m")
    bob = await join(server.ws_url, "bob")
    with RawClient(server.port, receive_buffer=4096) as stalled:
        stalled.join("stalled")
        for _ in range(100):
            as_operator(server, "POST", "/api/broadcast", {"data": "x" * 60_000})
            await receive_type(bob, "message")
        server.signal()
        assert (await closed(bob))[0] == 1012
        await asyncio.to_thread(server.wait, 30)
    server.wait_for_line("drained.* forced=1 aborted=1")
    assert server.faults == []


@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["alone", "workers"])
async def test_each_step_of_an_operator_is_one_line_with_who_and_from_when_to_when(
    start_server: StartServer, flags: tuple[str, ...]
) -> None:
    server = start_server(*flags, env={"WSCTL_TOKEN": "t"})
    bob = await join(server.ws_url, "bob")
    bearer = {"Authorization": "Bearer t"}
    assert server.api("POST", "/api/drain")[0] == 200
    await receive_type(bob, "shutdown")
    assert server.http("POST", "/api/drain", {"timeout": 600}, bearer)[0] == 200
    assert server.api("DELETE", "/api/drain")[0] == 200
    at = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    steps = [
        f'draining .*deadline={at} by="control socket"',
        f'drain deadline moved by="token, from 127.0.0.1" from={at} to={at}',
        'drain cancelled by="control socket"',
    ]
    for step in steps:
        await asyncio.to_thread(server.wait_for_line, step)
        assert len([line for line in server.lines if re.search(step, line)]) == 1
    server.signal(signal.SIGTERM)
    await asyncio.to_thread(server.wait_for_line, "draining .*by=SIGTERM")
    await bob.close()
    assert await ended(server) == 0
    last = [line for line in server.lines if re.search(r"\b(disconnected|drained)\b", line)]
    assert "drained" in last[-1]
    assert 'how="1 left by itself"' in last[-1]
