"""Operators disconnect a client: of one server, at any worker, at any server of a Redis."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.conftest import StartServer, StartStore, running_workers
from tests.support import hub_application
from tests.support.clients import join
from tests.support.event_streams import StreamClient
from tests.support.server import DEADLINE, ServerProcess, wsctl
from tests.support.workers import until

pytestmark = pytest.mark.anyio

QUIET = ("--broadcast-interval", "0")
DEFAULT = (4000, "disconnected by an operator")


async def end_of(client: ClientConnection) -> tuple[int, str]:
    async with asyncio.timeout(DEADLINE):
        await client.wait_closed()
    return client.close_code or 0, client.close_reason or ""


async def ask(server: ServerProcess, client_id: str, query: str = "") -> tuple[int, Any]:
    return await asyncio.to_thread(server.api, "DELETE", f"/api/clients/{client_id}{query}")


async def command(server: ServerProcess, *arguments: str) -> Any:
    return await asyncio.to_thread(partial(wsctl, "disconnect", *arguments, environ=server.environ))


async def test_all_connections_of_a_client_are_closed_and_nobody_elses(start_server: StartServer) -> None:
    server = start_server(*QUIET, "--connections-per-id", "0", env={"WSCTL_TOKEN": "secret"})
    async with (
        await join(server.ws_url, "bob") as bob,
        await join(server.ws_url, "bob") as again,
        await join(server.ws_url, "eve") as eve,
        StreamClient.connect(server.port, "/events/bob") as stream,
    ):
        await stream.event("welcome")
        status, told = await ask(server, "bob")
        assert (status, told) == (200, {"connections": 3})
        assert [await end_of(client) for client in (bob, again)] == [DEFAULT] * 2
        closed = await stream.event("close")
        assert (closed["code"], closed["reason"]) == DEFAULT
        status, told = await ask(server, "bob")
        assert (status, told["error"]["code"]) == (404, "not_connected")
        assert server.http("DELETE", "/api/clients/eve")[0] == 401
        headers = {"Authorization": "Bearer secret"}
        target = "/api/clients/eve?code=4500&reason=signed%20out"
        assert server.http("DELETE", target, headers=headers) == (200, {"connections": 1})
        assert await end_of(eve) == (4500, "signed out")
    wrong = ["eve?code=1000", "eve?code=many", f"eve?reason={'x' * 124}", "a%20b"]
    codes = [(await ask(server, each))[1]["error"]["code"] for each in wrong]
    assert codes == ["bad_request"] * 3 + ["bad_client_id"]


async def test_the_command_says_how_many_or_that_there_is_none(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    async with await join(server.ws_url, "b\u00fcrger:1+x") as bob, await join(server.ws_url, "eve") as eve:
        done = await command(server, "b\u00fcrger:1+x", "--code", "4500", "--reason", "signed out")
        assert (done.returncode, done.stdout, done.stderr) == (0, "1 connection closed\n", "")
        assert await end_of(bob) == (4500, "signed out")
        done = await command(server, "eve", "--json")
        assert (done.returncode, json.loads(done.stdout)) == (0, {"connections": 1})
        assert await end_of(eve) == DEFAULT
    done = await command(server, "eve")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "wsctl: eve is not connected\n")
    for wrong in (["a b"], ["eve", "--code", "1000"], ["eve", "--reason", "x" * 124]):
        assert (await command(server, *wrong)).returncode == 2, wrong


async def join_each_worker(server: ServerProcess) -> list[ClientConnection]:
    clients: list[ClientConnection] = []
    while not all(worker["connections"] for worker in server.status()["workers"]):
        clients.append(await join(server.ws_url, "bob"))
        until(lambda: server.status()["connections"] == len(clients), "all are counted")
    return clients


async def test_clients_of_all_workers_are_disconnected() -> None:
    with running_workers(2, *QUIET, "--connections-per-id", "0", token="secret") as server:
        clients = await join_each_worker(server)
        assert await ask(server, "bob") == (200, {"connections": len(clients)})
        assert [await end_of(client) for client in clients] == [DEFAULT] * len(clients)
        until(lambda: not server.status()["connections"], "nobody is counted")
        assert (await ask(server, "bob"))[0] == 404
        clients = await join_each_worker(server)
        headers = {"Authorization": "Bearer secret"}  # a worker is asked, and asks for all
        answer = server.http("DELETE", "/api/clients/bob", headers=headers)
        assert answer == (200, {"connections": len(clients)})
        assert [await end_of(client) for client in clients] == [DEFAULT] * len(clients)


async def test_clients_of_other_servers_of_the_redis_are_disconnected(
    start_server: StartServer, start_store: StartStore
) -> None:
    flags = (*QUIET, "--redis", start_store().url)
    one, other = start_server(*flags), start_server(*flags)
    async with await join(other.ws_url, "bob") as bob:
        until(lambda: len(one.status()["clients"]) == 1, "the other server's client is known")
        assert await ask(one, "bob", "?code=4500") == (200, {"connections": 1})
        assert await end_of(bob) == (4500, "disconnected by an operator")
        until(lambda: not one.status()["clients"], "it is gone")
    assert (await ask(one, "bob"))[0] == 404


async def test_an_application_disconnects_a_client_of_any_worker() -> None:
    with running_workers(
        2, hub_application.NAME, *QUIET, "--connections-per-id", "0", token="secret"
    ) as server:
        url = f"ws://127.0.0.1:{server.port}/rooms/1"
        clients = [await join(url, "bob") for _ in range(4)]
        assert server.http("POST", "/disconnect/bob") == (200, len(clients))
        assert [await end_of(client) for client in clients] == [(4500, "signed out")] * len(clients)
