"""Event streams of applications: of a hub under `wsctl serve`, and under plain uvicorn, where each is an
answer that the application streams."""

import asyncio
import json
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.conftest import StartServer
from tests.e2e.test_hub import EVERYWHERE, Way, ask, under_uvicorn, under_wsctl
from tests.e2e.ways import as_operator, embedded
from tests.support.event_streams import StreamClient
from tests.support.generations import Generations
from tests.support.raw import RawClient
from tests.support.server import ServerProcess

pytestmark = pytest.mark.anyio

BOB = "/rooms/red/events/bob"


async def publish(server: ServerProcess, data: object) -> str:
    return str((await ask(server, "POST", "/publish", {"data": data}))["id"])


async def as_operator_publish(server: ServerProcess, data: object) -> None:
    status, answer = await asyncio.to_thread(as_operator, server, "POST", "/api/broadcast", {"data": data})
    assert status == 200, answer


@EVERYWHERE
async def test_a_client_reads_resumes_and_is_listed(start_server: StartServer, way: Way) -> None:
    server = way(start_server)
    async with StreamClient.connect(server.port, BOB) as bob:
        assert bob.headers["content-type"] == "text/event-stream"
        assert (bob.headers["cache-control"], bob.headers["x-accel-buffering"]) == ("no-store", "no")
        await bob.event("welcome")
        assert (await ask(server, "GET", "/clients"))["clients"] == ["bob"]
        await publish(server, 1)
        assert await bob.messages(1) == [1]
        last = bob.last_id
        assert bob.retry is not None
    await publish(server, 2)
    async with StreamClient.connect(server.port, BOB, Last_Event_ID=last) as bob:
        await publish(server, 3)
        assert await bob.messages(2) == [2, 3]
        assert (await bob.event("welcome"))["recovered"] is True


@EVERYWHERE
async def test_the_application_disconnects_a_stream_and_it_stays_away(
    start_server: StartServer, way: Way
) -> None:
    server = way(start_server)
    async with StreamClient.connect(server.port, BOB) as bob:
        await bob.event("welcome")
        assert await ask(server, "POST", "/disconnect/bob") == 1
        await bob.end()
        assert bob.is_whole
        assert json.loads(bob.events[-1].data) == {"type": "close", "code": 4500, "reason": "signed out"}
    async with StreamClient.connect(server.port, BOB, Last_Event_ID=bob.last_id) as bob:
        assert (bob.status, await bob.end()) == (204, b"")


@EVERYWHERE
async def test_a_drain_waits_for_streams_until_its_deadline(start_server: StartServer, way: Way) -> None:
    server = way(start_server, "--shutdown-timeout", "0.2")
    async with StreamClient.connect(server.port, BOB) as bob:
        await bob.event("welcome")
        server.signal(signal.SIGTERM)
        assert (await bob.event("shutdown"))["reason"] == "SIGTERM"
        await bob.end()
        assert json.loads(bob.events[-1].data)["code"] == 1012
        assert bob.is_whole
    await asyncio.to_thread(server.wait)


@EVERYWHERE
async def test_a_client_that_hangs_up_has_left(start_server: StartServer, way: Way) -> None:
    server = way(start_server)
    async with StreamClient.connect(server.port, BOB) as bob:
        await bob.event("welcome")
    await asyncio.to_thread(server.wait_for_line, "disconnected.*client_id=bob")
    assert (await ask(server, "GET", "/clients"))["clients"] == []


@EVERYWHERE
async def test_head_connects_nobody(start_server: StartServer, way: Way) -> None:
    server = way(start_server)

    def head() -> bytes:
        with RawClient(server.port) as client:
            client.send(f"HEAD {BOB} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
            return client.read_head()

    assert b"text/event-stream" in await asyncio.to_thread(head)
    assert (await ask(server, "GET", "/clients"))["clients"] == []


async def test_a_stream_behind_a_request_without_an_answer_is_the_applications(
    start_server: StartServer,
) -> None:
    server = under_wsctl(start_server)
    first = b"GET /history HTTP/1.1\r\nHost: x\r\n\r\n"

    def pipelined() -> bytes:
        with RawClient(server.port) as client:
            request = f"GET {BOB} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
            client.send(first + request)
            found = b""
            while b"event: welcome" not in found:
                data = client.socket.recv(4096)
                assert data, found
                found += data
            return found

    found = await asyncio.to_thread(pipelined)
    assert found.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("first", [b"GET /history HTTP/1.1\r\nHost: x\r\n\r\n", b""])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_request_that_the_parser_reads_is_the_servers_too(
    start_server: StartServer, first: bytes, version: str
) -> None:
    server = under_wsctl(start_server)

    def ask_for_both() -> bytes:
        with RawClient(server.port) as client:
            if first:
                client.send(first)
                head = client.read_head().lower()
                size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                client.socket.recv(size, socket.MSG_WAITALL)
            request = f"GET {BOB} HTTP/{version}\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"
            client.send(request[:30].encode())
            client.send(request[30:].encode() + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            found = b""
            while b"event: welcome" not in found:
                data = client.socket.recv(4096)
                assert data, found
                found += data
            return found

    found = await asyncio.to_thread(ask_for_both)
    assert b"connection: close" in found  # the application's own answer has no such line
    assert (b"transfer-encoding: chunked" in found) == (version == "1.1")
    assert found.count(b"HTTP/1.1 200") == 1


@pytest.fixture
def generations(start_server: StartServer) -> Iterator[Generations]:
    """A server that can hand over; none of its processes is left at the end."""
    server = Generations(under_wsctl(start_server))
    yield server
    server.kill()


async def test_a_stream_of_a_hub_moves_in_an_upgrade(generations: Generations) -> None:
    server = generations.first
    async with StreamClient.connect(server.port, BOB) as bob:
        await bob.event("welcome")
        outcome = await asyncio.to_thread(generations.upgrade)
        assert (outcome["state"], outcome["moved"]) == ("done", 1), outcome
        last = await publish(server, "over there")
        await bob.until(lambda bob: bob.last_id == last)
        assert not bob.is_over


async def test_wsctls_own_routes_under_plain_uvicorn_have_streams(start_server: StartServer) -> None:
    server = embedded(start_server, "--broadcast-interval", "0")
    async with StreamClient.connect(server.port, "/events/bob?topic=a") as bob:
        await bob.event("welcome")
        async with StreamClient.connect(server.port, "/events/bob") as newer:
            await newer.event("welcome")
            await bob.end()
            assert bob.last_id == "final"
            await as_operator_publish(server, "x" * 60_000)
            assert await newer.messages(1) == ["x" * 60_000]


async def test_a_slow_reader_under_plain_uvicorn_is_cut(start_server: StartServer) -> None:
    server = under_uvicorn(start_server, "--max-queue", "100000")

    def join() -> RawClient:
        client = RawClient(server.port, receive_buffer=4096)
        client.send(f"GET {BOB} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        assert b" 200 " in client.read_head()
        return client

    with await asyncio.to_thread(join):
        for n in range(200):
            await publish(server, [n, "x" * 60_000])
            if any("too slow" in line for line in server.lines):
                break
        await asyncio.to_thread(server.wait_for_line, "disconnected.*client_id=bob.*code=1013")
