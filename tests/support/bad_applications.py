"""Applications that do what they should not, for servers under test: each of them is one attribute."""

import asyncio
import atexit
import contextlib
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.support.fastapi_application import tell

HASTY = (sys.executable, "-m", "tests.support.hasty", "serve", "--port", "0")
"""The command of a server whose own deadlines are a second each."""

NAME = "tests.support.bad_applications"

Scope = Receive = Send = Any


async def swallow_cancellation() -> None:
    """Never return, whoever cancels."""
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


async def well(_: Request) -> Response:
    return PlainTextResponse("well")


async def raises(_: Request) -> Response:
    raise RuntimeError("raised in a handler")


async def blocks(request: Request) -> Response:
    """Block the event loop."""
    tell("blocks")
    block_the_loop(float(request.query_params["seconds"]))
    return PlainTextResponse("done")


def block_the_loop(seconds: float) -> None:
    time.sleep(seconds)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def raises_in_websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    raise RuntimeError("raised in a WebSocket")


async def closes_twice(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    await websocket.close(4000)
    await websocket.close(4001)


class Deaf:
    """Accepts, and neither reads nor sends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        try:
            await asyncio.sleep(3600)
        finally:
            tell("the deaf one has ended")


class Stubborn:
    """Accepts, and swallows every cancellation."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await swallow_cancellation()


class Undecided:
    """Never answers the handshake."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "websocket.disconnect":
            tell("undecided")


ROUTES = [
    Route("/", well),
    Route("/raises", raises),
    Route("/blocks", blocks),
    WebSocketRoute("/echo", echo),
    WebSocketRoute("/raises", raises_in_websocket),
    WebSocketRoute("/closes-twice", closes_twice),
    WebSocketRoute("/deaf", Deaf()),
    WebSocketRoute("/stubborn", Stubborn()),
    WebSocketRoute("/undecided", Undecided()),
]

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def application(lifespan: Lifespan | None = None) -> Starlette:
    return Starlette(routes=ROUTES, lifespan=lifespan)


@asynccontextmanager
async def _hangs_in_startup(_: Starlette) -> AsyncIterator[None]:
    tell("starts")
    await asyncio.sleep(3600)
    yield


@asynccontextmanager
async def _starts_slowly(_: Starlette) -> AsyncIterator[None]:
    await asyncio.sleep(2.0)
    yield


@asynccontextmanager
async def _hangs_for_good_in_startup(_: Starlette) -> AsyncIterator[None]:
    tell("starts")
    await swallow_cancellation()
    yield


@asynccontextmanager
async def _hangs_in_shutdown(_: Starlette) -> AsyncIterator[None]:
    yield
    tell("shuts down")
    await asyncio.sleep(3600)


@asynccontextmanager
async def _fails_in_shutdown(_: Starlette) -> AsyncIterator[None]:
    yield
    raise RuntimeError("raised at the end")


@asynccontextmanager
async def _leaves_a_thread(_: Starlette) -> AsyncIterator[None]:
    threading.Thread(target=time.sleep, args=(3600,), name="never-ends").start()
    yield


@asynccontextmanager
async def _leaves_work(_: Starlette) -> AsyncIterator[None]:
    atexit.register(tell, "at exit")
    yield
    threading.Timer(0.3, tell, ["the thread is done"]).start()


@asynccontextmanager
async def _leaves_a_task(_: Starlette) -> AsyncIterator[None]:
    task = asyncio.create_task(swallow_cancellation())
    yield
    del task


app = application()
starts_slowly = application(_starts_slowly)
hangs_in_startup = application(_hangs_in_startup)
hangs_for_good_in_startup = application(_hangs_for_good_in_startup)
hangs_in_shutdown = application(_hangs_in_shutdown)
fails_in_shutdown = application(_fails_in_shutdown)
leaves_a_thread = application(_leaves_a_thread)
leaves_work = application(_leaves_work)
leaves_a_task = application(_leaves_a_task)
