"""A service with a hub, on real processes: under `wsctl serve`, and under plain uvicorn."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import StartServer
from tests.support.clients import closed, join, receive, receive_type
from tests.support.generations import Generations
from tests.support.hub_application import NAME
from tests.support.server import ServerProcess, wsctl

pytestmark = pytest.mark.anyio

Way = Callable[..., ServerProcess]


def under_wsctl(start: StartServer, *flags: str) -> ServerProcess:
    return start(NAME, "--broadcast-interval", "0", *flags)


def under_uvicorn(start: StartServer, *flags: str) -> ServerProcess:
    env = {"WSCTL_BROADCAST_INTERVAL": "0"}
    for name, value in zip(flags[::2], flags[1::2], strict=True):
        env["WSCTL_" + name.removeprefix("--").replace("-", "_").upper()] = value
    command = (sys.executable, "-m", "uvicorn", NAME, "--port", "0")
    return start(command=command, env=env, serving=r"running on (\S+)")


EVERYWHERE = pytest.mark.parametrize("way", [under_wsctl, under_uvicorn])


async def join_room(server: ServerProcess, client: str, **options: Any) -> ClientConnection:
    return await join(f"{server.ws_url}/rooms/red", client, **options)


async def ask(server: ServerProcess, method: str, path: str, body: object = None) -> Any:
    """The answer of the application, asked beside the clients."""
    status, answer = await asyncio.to_thread(
        server.http, method, path, body, {"content-type": "application/json"}
    )
    assert status == 200, answer
    return answer


@EVERYWHERE
async def test_an_application_publishes_to_its_clients_and_lists_them(
    start_server: StartServer, way: Way
) -> None:
    server = way(start_server)
    bob, eve = await join_room(server, "bob"), await join_room(server, "eve")
    receipt = await ask(server, "POST", "/publish", {"data": {"price": 3}})
    assert receipt["recipients"] == 2
    for client in (bob, eve):
        frame = await receive(client)
        assert (frame["id"], frame["data"]) == (receipt["id"], {"price": 3})
    assert (await ask(server, "GET", "/clients"))["clients"] == ["bob", "eve"]
    assert await ask(server, "GET", "/history") == ["started", {"price": 3}]
    assert await ask(server, "GET", "/health") == {"own": True}
    assert await ask(server, "POST", "/disconnect/bob") == 1
    assert await closed(bob) == (4500, "signed out")
    await eve.close()


@EVERYWHERE
async def test_a_drain_tells_the_clients_and_waits_for_them(start_server: StartServer, way: Way) -> None:
    server = way(start_server)
    bob = await join_room(server, "bob")
    server.signal(signal.SIGTERM)
    assert (await receive_type(bob, "shutdown"))["reason"] == "SIGTERM"
    assert (await ask(server, "POST", "/publish", {"data": "still"}))["recipients"] == 1
    assert (await receive(bob))["data"] == "still"
    await bob.close()
    code = await asyncio.to_thread(server.wait)
    assert code == (0 if way is under_wsctl else -signal.SIGTERM)
    server.wait_for_line(r"drained .*left=1 evicted=0 forced=0")


@EVERYWHERE
async def test_at_the_deadline_of_a_drain_clients_are_asked_to_reconnect(
    start_server: StartServer, way: Way
) -> None:
    server = way(start_server, "--shutdown-timeout", "0.2")
    bob = await join_room(server, "bob")
    server.signal(signal.SIGTERM)
    assert (await closed(bob))[0] == 1012
    await asyncio.to_thread(server.wait)


async def test_a_route_of_the_application_that_comes_first_is_not_the_hubs(start_server: StartServer) -> None:
    server = under_wsctl(start_server)
    async with connect(f"{server.ws_url}/rooms/red/ws/own", proxy=None) as own:
        assert await own.recv() == "own in red"
        assert (await ask(server, "GET", "/clients"))["clients"] == []


@pytest.fixture
def generations(start_server: StartServer) -> Iterator[Generations]:
    """A server that can hand over; none of its processes is left at the end."""
    server = Generations(under_wsctl(start_server))
    yield server
    server.kill()


async def test_clients_move_in_an_upgrade_and_notice_nothing(generations: Generations) -> None:
    server = generations.first
    bob = await join_room(server, "bob")
    before = await ask(server, "GET", "/clients")
    outcome = await asyncio.to_thread(generations.upgrade)
    assert (outcome["state"], outcome["moved"]) == ("done", 1), outcome
    await bob.send("here I am")
    frame = await receive_type(bob, "message")
    while frame["data"] == "started":
        frame = await receive_type(bob, "message")
    assert frame["data"] == "here I am"
    after = await ask(server, "GET", "/clients")
    assert after["clients"] == ["bob"]
    assert after["pid"] != before["pid"]
    assert (await ask(server, "POST", "/publish", {"data": "welcome over"}))["recipients"] == 1
    await bob.close()


def test_two_hubs_in_an_application_are_an_error_that_says_so(environ: dict[str, str]) -> None:
    done = wsctl("serve", "tests.support.two_hubs:app", "--port", "0", environ=environ)
    assert done.returncode == 3
    assert "there are two hubs in this process" in done.stderr
    assert "Traceback" not in done.stderr
