"""The parent's control socket."""

import asyncio
import http.client
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.other_end import no_descriptor_left
from tests.support.server import DEADLINE
from wsctl.ipc.rpc import Reply
from wsctl.server.workers.control_http import ControlHttpServer

pytestmark = pytest.mark.anyio


async def echo(method: str, path: str, body: bytes) -> Reply:
    return Reply(202, {"method": method, "path": path, "body": body.decode()})


@asynccontextmanager
async def opened(folder: Path, answering: Any = echo) -> AsyncIterator[tuple[ControlHttpServer, Path]]:
    path = folder / "1.sock"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    server = ControlHttpServer(answering)
    await server.open(sock)
    try:
        yield server, path
    finally:
        await server.close()


def connection(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(DEADLINE)
    sock.connect(str(path))
    return sock


def ask(path: Path, method: str, target: str, body: bytes | None = None) -> tuple[int, Any]:
    client = http.client.HTTPConnection("localhost")
    client.sock = connection(path)
    try:
        client.request(method, target, body)
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        client.close()


def said(path: Path, data: bytes) -> bytes:
    """What comes for some bytes, up to the end."""
    with connection(path) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(4096), b""))


async def test_a_request_is_answered_with_its_query_and_body(runtime_dir: Path) -> None:
    async with opened(runtime_dir) as (_, path):
        status, answer = await asyncio.to_thread(ask, path, "POST", "/api/x?clients=true", b'{"a": 1}')
        assert status == 202
        assert answer == {"method": "POST", "path": "/api/x?clients=true", "body": '{"a": 1}'}
        assert (await asyncio.to_thread(ask, path, "GET", "/"))[1]["body"] == ""


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: here\r\ncontent-length: many\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: here\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: here\r\ncontent-length: 999999999999\r\n\r\n",
        b"GET /" + b"x" * 100_000,
    ],
)
async def test_what_is_no_request_is_refused(runtime_dir: Path, data: bytes) -> None:
    async with opened(runtime_dir) as (_, path):
        assert (await asyncio.to_thread(said, path, data)).startswith(b"HTTP/1.1 400 ")


async def test_half_a_request_gets_no_answer(runtime_dir: Path) -> None:
    async with opened(runtime_dir) as (_, path):
        for data in (b"", b"GET / HT", b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 5\r\n\r\nab"):
            assert await asyncio.to_thread(said, path, data) == b""


async def test_who_waits_for_the_end_gets_an_answer_before_it_closes(runtime_dir: Path) -> None:
    asked, over = asyncio.Event(), asyncio.Event()

    async def wait(method: str, path: str, body: bytes) -> Reply:
        asked.set()
        await over.wait()
        return Reply(200, {"over": True})

    async with opened(runtime_dir, wait) as (server, path):
        waiting = asyncio.create_task(asyncio.to_thread(ask, path, "GET", "/"))
        await asked.wait()
        over.set()
        await server.close()
        assert await waiting == (200, {"over": True})


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_who_hangs_up_is_waited_for_no_longer_but_what_he_began_is_done(
    runtime_dir: Path, method: str
) -> None:
    asked, over, ended = asyncio.Event(), asyncio.Event(), asyncio.Queue[str]()

    async def wait(method: str, path: str, body: bytes) -> Reply:
        if path == "/other":
            return Reply(200, {})
        asked.set()
        try:
            await over.wait()
            ended.put_nowait("done")
        except asyncio.CancelledError:
            ended.put_nowait("dropped")
            raise
        return Reply(200, {})

    with no_descriptor_left():
        async with opened(runtime_dir, wait) as (_, path):
            with connection(path) as sock:
                sock.sendall(f"{method} / HTTP/1.1\r\nhost: here\r\n\r\n".encode())
                await asked.wait()
            await asyncio.to_thread(ask, path, "GET", "/other")  # by now it is known that he hung up
            if method == "POST":
                over.set()
            async with asyncio.timeout(DEADLINE):
                assert await ended.get() == ("dropped" if method == "GET" else "done")


async def test_a_body_in_chunks_is_read_whole(runtime_dir: Path) -> None:
    request = b"POST /x HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n"
    async with opened(runtime_dir) as (_, path):
        answer = await asyncio.to_thread(said, path, request + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["body"] == "abcde"


async def test_a_request_without_a_host_is_none(runtime_dir: Path) -> None:
    async with opened(runtime_dir) as (_, path):
        assert (await asyncio.to_thread(said, path, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_while_it_is_held_what_changes_something_is_answered_and_the_rest_can_go_along(
    runtime_dir: Path,
) -> None:
    may_answer, asked = asyncio.Event(), asyncio.Queue[str]()

    async def wait(method: str, path: str, body: bytes) -> Reply:
        asked.put_nowait(path)
        await may_answer.wait()
        return await echo(method, path, body)

    async with opened(runtime_dir, wait) as (server, path):
        half = connection(path)
        half.sendall(b"GET /api/sta")
        changing = asyncio.create_task(asyncio.to_thread(ask, path, "POST", "/api/broadcast", b"x"))
        assert await asked.get() == "/api/broadcast"
        asking = asyncio.create_task(asyncio.to_thread(ask, path, "GET", "/api/upgrade"))
        assert await asked.get() == "/api/upgrade"
        holding = asyncio.create_task(server.hold())
        await asyncio.wait([holding], timeout=0.05)
        assert not holding.done()
        late = asyncio.create_task(asyncio.to_thread(ask, path, "GET", "/api/status"))
        may_answer.set()
        assert (await changing)[1]["body"] == "x"
        await holding
        half_request, waiting = (each.received for each in server.state())
        assert half_request == b"GET /api/sta"
        assert waiting.startswith(b"GET /api/upgrade ")  # its answer is there, and not sent
        await server.release()
        half.sendall(b"tus HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await asking)[0] == (await late)[0] == 202
        assert (await asyncio.to_thread(half.recv, 64)).startswith(b"HTTP/1.1 202")
        half.close()


async def test_another_server_answers_the_connections_that_one_has_held(runtime_dir: Path) -> None:
    asked = asyncio.Event()

    async def never(method: str, path: str, body: bytes) -> Reply:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    path = runtime_dir / "1.sock"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    first, second = ControlHttpServer(never), ControlHttpServer(echo)
    await first.open(sock)
    asking = asyncio.create_task(asyncio.to_thread(ask, path, "GET", "/api/upgrade"))
    await asked.wait()
    await first.hold()
    carried = [each._replace(fd=os.dup(each.fd)) for each in first.state()]
    await second.open(sock.dup(), carried)
    assert await asking == (202, {"method": "GET", "path": "/api/upgrade", "body": ""})
    assert (await asyncio.to_thread(ask, path, "POST", "/api/drain", b"y"))[1]["body"] == "y"
    await first.close()
    await second.close()
