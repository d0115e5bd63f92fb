"""A handover that goes wrong: the server goes on, and nobody misses anything without being told."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.generations import Generations
from tests.support.server import DEADLINE

pytestmark = pytest.mark.anyio

CLIENTS = 450
"""More than two packets of connections."""

StartFaulty = Callable[..., Generations]
Fault = Callable[[str], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where it is written."""
    return tmp_path / "fault"


@pytest.fixture
def fault(file: Path) -> Callable[[str], None]:
    """Say what is wrong with the next successor."""

    def say(what: str) -> None:
        file.write_text(what)

    return say


@asynccontextmanager
async def crowd(server: Generations) -> AsyncIterator[list[ClientConnection]]:
    """Clients, none of which is left at the end."""
    clients = [await join(server.first.ws_url, f"c{n}", ping_interval=None) for n in range(CLIENTS)]
    try:
        yield clients
    finally:
        for client in clients:
            client.transport.abort()
        await asyncio.gather(*(client.wait_closed() for client in clients))


@pytest.fixture
def start_faulty(start_server: StartServer, file: Path) -> Iterator[StartFaulty]:
    """Start a server whose successors have the fault that the file names."""
    started: list[Generations] = []

    def start(*flags: str, **env: str) -> Generations:
        command = (
            sys.executable,
            "-m",
            "tests.support.faulty",
            "serve",
            "--port",
            "0",
            "--broadcast-interval",
            "0",
        )
        environ = {"FAULT_FILE": str(file)} | env
        server = Generations(start_server("--broadcast-interval", "0", *flags, env=environ, command=command))
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


async def _goes_on(server: Generations, client: ClientConnection) -> None:
    """The first process serves old clients and new ones."""
    facts = server.status(server.first.pid)
    assert (facts["status"], facts["generation"]) == ("serving", 1)
    newcomer = await join(server.first.ws_url, "newcomer")
    server.api("POST", "/api/broadcast", {"data": "still here"}, pid=server.first.pid)
    for each in (client, newcomer):
        assert (await receive_type(each, "message"))["data"] == "still here"
    await newcomer.close()


@pytest.mark.parametrize(
    ("seconds", "faults"),
    [
        (
            "30",
            {"exits": "ended with exit code 7", "speaks another version": "does not understand a handover"},
        ),
        ("8", {"hangs": "was not ready within 8 seconds"}),
    ],
    ids=["fails", "hangs"],
)
async def test_a_successor_that_does_not_get_ready_changes_nothing(
    start_faulty: StartFaulty, fault: Fault, seconds: str, faults: dict[str, str]
) -> None:
    server = start_faulty(READY_TIMEOUT=seconds)
    alice = await join(server.first.ws_url, "alice")
    for what, why in faults.items():
        fault(what)
        outcome = await asyncio.to_thread(server.begin_upgrade().outcome)
        assert outcome["state"] == "failed"
        assert why in outcome["error"]
        await _goes_on(server, alice)
    fault("nothing")
    assert (await asyncio.to_thread(server.upgrade))["state"] == "done"
    assert server.status()["generation"] == 2
    server.api("POST", "/api/broadcast", {"data": "moved after all"})
    assert (await receive_type(alice, "message"))["data"] == "moved after all"
    await alice.close()


@pytest.mark.parametrize(
    "what", ["dies when the first have moved", "dies with the first in hand", "stops answering"]
)
async def test_a_successor_that_fails_half_way_costs_some_a_reconnection_and_nobody_a_message(
    start_faulty: StartFaulty, fault: Fault, what: str
) -> None:
    server = start_faulty()
    async with crowd(server) as clients:
        _, before = server.api("POST", "/api/broadcast", {"data": "before"})
        fault(what)
        outcome = await asyncio.to_thread(server.begin_upgrade().outcome)
        assert outcome["state"] == "failed"
        assert "successor" in outcome["error"]
        server.api("POST", "/api/broadcast", {"data": "after"})
        stayed = await _accounted(server, clients, before["id"])
        assert 0 < len(stayed) < CLIENTS
        await _goes_on(server, stayed[0])


async def test_when_the_predecessor_is_killed_half_way_the_rest_resumes_at_the_successor(
    start_faulty: StartFaulty, fault: Fault
) -> None:
    server = start_faulty()
    async with crowd(server) as clients:
        _, before = server.api("POST", "/api/broadcast", {"data": "before"})
        fault("kills its predecessor")
        successor = server.begin_upgrade().successor
        await asyncio.to_thread(server.first_ended)
        server.wait_until_serving(successor)
        _, after = server.api("POST", "/api/broadcast", {"data": "after"})
        stayed = await _accounted(server, clients, before["id"])
        assert 0 < len(stayed) < CLIENTS
        assert after["recipients"] == len(stayed)


async def _accounted(
    server: Generations, clients: Sequence[ClientConnection], before: str
) -> list[ClientConnection]:
    """Who kept the connection. Who did not comes back here with what it saw last, and is sent the rest."""
    stayed = []
    for n, client in enumerate(clients):
        seen = await _data(client)
        if seen == ["before", "after"]:
            stayed.append(client)
            continue
        assert seen == ["before"]
        again = await connect(f"{server.first.ws_url}/ws/c{n}?since={before}", compression=None, proxy=None)
        assert (await receive_type(again, "welcome"))["recovered"] is True
        assert (await receive_type(again, "message"))["data"] == "after"
        await again.close()
    return stayed


async def _data(client: ClientConnection) -> list[Any]:
    """What a client was sent until "after", or until it was cut off."""
    seen: list[Any] = []
    try:
        while "after" not in seen:
            seen.append((await receive_type(client, "message"))["data"])
    except ConnectionClosed:
        pass
    return seen


@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_a_stop_while_a_successor_starts_leaves_nothing_of_it(
    start_server: StartServer, runtime_dir: Path, flags: tuple[str, ...]
) -> None:
    server = start_server(*flags, cold=True)  # a forked one has started before the signal comes
    before = set(runtime_dir.glob("*.sock"))
    server.signal(signal.SIGUSR2)
    until = time.monotonic() + DEADLINE
    while set(runtime_dir.glob("*.sock")) == before and server.process.poll() is None:
        assert time.monotonic() < until, "no successor was started"
        time.sleep(0.001)  # three programs start cold one after the other, and need the processor themselves
        time.sleep(0.001)
    server.signal(signal.SIGTERM)
    server.wait()
    assert list(runtime_dir.iterdir()) == []
