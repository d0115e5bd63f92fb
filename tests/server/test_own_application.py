"""wsctl's own application, made when it is first asked for."""

import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wsctl.server.own_application import OwnApplication

pytestmark = pytest.mark.anyio


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@asynccontextmanager
async def running() -> AsyncIterator[None]:
    yield


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wsctl.test")


NOT_YET = frozenset(
    {"fastapi", "pydantic", "annotated_types", "starlette.routing", "rich", "prompt_toolkit", "redis"}
)
"""What a server with the default settings needs only later, or never: importing all this takes as long as
everything that it needs until clients can connect."""


def test_a_server_listens_before_it_imports_what_clients_need_not_wait_for(environ: dict[str, str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "wsctl", "serve", "--port", "0"]
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr
        told = list(takewhile(lambda line: " serving " not in line, server.stderr))
        server.kill()
        server.stderr.read()
    imported = {line.rpartition("|")[2].strip() for line in told}
    assert "wsctl.server.runner" in imported
    assert imported & NOT_YET == set()


async def test_it_is_made_once_however_many_requests_come_at_once() -> None:
    made: list[str] = []

    def create() -> ASGIApp:
        made.append(threading.current_thread().name)
        return hello

    async with client_of(OwnApplication(create, running)) as client:
        assert not made
        first = [client.get("/"), client.get("/")]
        assert [(await each).text for each in first] == ["hello", "hello"]
    assert len(made) == 1
    assert made != [threading.main_thread().name]


async def test_a_failure_to_make_it_is_the_failure_of_each_request() -> None:
    def create() -> ASGIApp:
        raise ImportError("no such framework")

    async with client_of(OwnApplication(create, running)) as client:
        for _ in range(2):
            with pytest.raises(ImportError, match="no such framework"):
                await client.get("/")


async def test_its_lifespan_runs_without_it() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def noted() -> AsyncIterator[None]:
        steps.append("started")
        yield
        steps.append("ended")

    async def receive() -> Message:
        return {"type": "lifespan"}

    async def send(message: Message) -> None:
        steps.append(message["type"])

    def create() -> Any:
        raise AssertionError("nobody asked for it")

    await OwnApplication(create, noted)({"type": "lifespan"}, receive, send)
    assert steps == ["started", "lifespan.startup.complete", "ended", "lifespan.shutdown.complete"]
