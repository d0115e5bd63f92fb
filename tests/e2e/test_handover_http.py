"""Backends that keep their connections to publish, while the server is upgraded twice."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from typing import Any

import httpx
import pytest

from tests.conftest import StartServer, StartStore
from tests.support.clients import join, receive_type
from tests.support.generations import Generations
from tests.support.hostile import status_of
from tests.support.raw import RawClient
from tests.support.server import DEADLINE, ServerProcess, wsctl

pytestmark = pytest.mark.anyio

UPGRADES = 2
"""The second one is of a server that has taken over itself."""

TOKEN = {"authorization": "Bearer secret"}


IDLE = 1.0
"""Seconds between two requests: a server keeps an idle connection for five."""


class Backend:
    """Publishes until it is told to stop, one message after the other, and never twice.

    Attributes:
        accepted: the messages for which it has a receipt.
        failures: what it got in place of one.
    """

    def __init__(self, name: str, client: "Kept | Pooled") -> None:
        self.accepted: list[str] = []
        self.failures: list[str] = []
        self._name = name
        self._client = client
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(DEADLINE)
        self._client.close()

    def _run(self) -> None:
        while not self._over.is_set():
            text = f"{self._name} {len(self.accepted) + len(self.failures)}"
            try:
                status, answer = self._client.publish(text)
            except (OSError, http.client.HTTPException, httpx.HTTPError) as error:
                self.failures.append(f"{text}: {error!r}")
                continue
            if status == 200:
                self.accepted.append(text)
            else:
                self.failures.append(f"{text}: {status} {answer}")
            self._over.wait(0.01)


class Kept:
    """One connection of `http.client`, which is made anew only when an answer says that it ends."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        self.close = self._connection.close

    def publish(self, text: str) -> tuple[int, Any]:
        self._connection.request("POST", "/api/broadcast", json.dumps({"data": text}), TOKEN)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def serves(self) -> int:
        """The process that answers."""
        self._connection.request("GET", "/api/status", headers=TOKEN)
        return int(json.loads(self._connection.getresponse().read())["pid"])


class Pooled:
    """The pool of `httpx`."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=TOKEN, timeout=DEADLINE, trust_env=False
        )
        self.close = self._client.close

    def publish(self, text: str) -> tuple[int, Any]:
        answer = self._client.post("/api/broadcast", json={"data": text})
        return answer.status_code, answer.json()


def upgrade(server: ServerProcess) -> str:
    """Upgrade once, and return what is told of it. Until the process before this one has ended, the server
    says that it cannot yet."""
    end = time.monotonic() + DEADLINE
    while (done := wsctl("upgrade", "--port", str(server.port), environ=server.environ)).returncode:
        assert "still drains" in done.stderr, done
        assert time.monotonic() < end, done
    return done.stdout


@pytest.mark.parametrize("home", ["memory", "redis", "workers"])
async def test_a_backend_that_keeps_its_connection_gets_all_its_answers(
    start_server: StartServer, start_store: StartStore, home: str
) -> None:
    flags = {"memory": (), "redis": ("--redis", ""), "workers": ("--workers", "2")}[home]
    if home == "redis":
        flags = ("--redis", start_store().url)
    server = Generations(start_server("--broadcast-interval", "0", *flags, env={"WSCTL_TOKEN": "secret"}))
    try:
        await publish_over_upgrades(server.first)
    finally:
        server.kill()


async def publish_over_upgrades(server: ServerProcess) -> None:
    async with await join(server.ws_url, "bob") as bob:
        heard: list[str] = []

        async def listen() -> None:
            while "last" not in heard:
                heard.append((await receive_type(bob, "message"))["data"])

        listening = asyncio.create_task(listen())
        backends = [Backend("kept", Kept(server.port)), Backend("pooled", Pooled(server.port))]
        try:
            for _ in range(UPGRADES):
                assert "moved 1, draining 0" in await asyncio.to_thread(upgrade, server)
        finally:
            for backend in backends:
                await asyncio.to_thread(backend.stop)
        failures = [failure for backend in backends for failure in backend.failures]
        assert failures == []
        last = Kept(server.port)
        assert (await asyncio.to_thread(last.publish, "last"))[0] == 200
        last.close()
        async with asyncio.timeout(DEADLINE):
            await listening
    for backend in backends:
        assert len(backend.accepted) > UPGRADES
    assert sorted(heard) == sorted(["last", *(text for backend in backends for text in backend.accepted)])


class Seldom:
    """A client whose connection is idle most of the time, though never as long as a server keeps it.

    Attributes:
        ended: how its connection ended where no answer had said so before.
    """

    def __init__(self, port: int) -> None:
        self.ended: list[str] = []
        self.answers = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(DEADLINE)
        self._connection.close()

    def _run(self) -> None:
        while not self._over.wait(IDLE):
            try:
                self._connection.request("GET", "/health/live")
                self._connection.getresponse().read()
            except (OSError, http.client.HTTPException) as error:
                self.ended.append(repr(error))
                return
            self.answers += 1


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "workers"])
async def test_connections_that_are_idle_for_a_while_outlive_an_upgrade(
    start_server: StartServer, workers: tuple[str, ...]
) -> None:
    server = Generations(start_server("--broadcast-interval", "0", *workers))
    try:
        clients = [Seldom(server.first.port) for _ in range(8)]
        done = await asyncio.to_thread(
            wsctl, "upgrade", "--port", str(server.first.port), environ=server.first.environ
        )
        assert done.returncode == 0, done
        before = [client.answers for client in clients]
        async with asyncio.timeout(DEADLINE):
            while any(  # noqa: ASYNC110
                client.answers < seen + 2 and not client.ended
                for client, seen in zip(clients, before, strict=True)
            ):
                await asyncio.sleep(0.02)
        for client in clients:
            await asyncio.to_thread(client.stop)
        assert [client.ended for client in clients] == [[]] * len(clients)
    finally:
        server.kill()


def test_an_idle_connection_is_closed_after_five_seconds(start_server: StartServer) -> None:
    server = start_server()
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as kept:
        kept.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not kept.recv(4096).endswith(b"}"):
            pass
        answered = time.monotonic()
        assert kept.recv(4096) == b""
        assert time.monotonic() - answered > 5 - 0.2


async def test_what_has_arrived_in_part_is_answered_where_it_is_and_ends_its_connection(
    start_server: StartServer,
) -> None:
    server = Generations(start_server("--broadcast-interval", "0", env={"WSCTL_TOKEN": "secret"}))
    body = b'{"data": "in two parts"}'
    lines = ("POST /api/broadcast HTTP/1.1", "Host: localhost", "Authorization: Bearer secret")
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode()
    try:
        async with await join(server.first.ws_url, "bob") as bob:
            with RawClient(server.port) as backend:
                backend.send(head + body[:5])
                assert (await asyncio.to_thread(server.upgrade))["state"] == "done"
                for _ in range(5):  # all else has ended there by then
                    again = await asyncio.to_thread(wsctl, "upgrade", environ=server.first.environ)
                    assert "the process before this one still drains" in again.stderr
                backend.send(body[5:])
                answer = await asyncio.to_thread(backend.read_to_end)
            assert status_of(answer) == 200
            assert b"connection: close" in answer.lower()
            assert (await receive_type(bob, "message"))["data"] == "in two parts"
    finally:
        server.kill()


def test_an_idle_connection_goes_on_with_the_successor(start_server: StartServer) -> None:
    server = Generations(start_server("--broadcast-interval", "0", env={"WSCTL_TOKEN": "secret"}))
    try:
        assert any(goes_on(server.first) for _ in range(3))
    finally:
        server.kill()


def goes_on(server: ServerProcess) -> bool:
    """Whether one does over an upgrade; where that takes long, it may have ended for having been idle."""
    with contextlib.closing(Kept(server.port)) as kept, contextlib.closing(Kept(server.port)) as fresh:
        kept.serves()
        upgrade(server)
        try:
            return kept.serves() == fresh.serves()
        except ConnectionError:  # `RemoteDisconnected` is one
            return False
