"""An application that knows nothing of wsctl but one dependency, for servers under test.

It writes what happens to it on standard error, so that it stands in order among the lines of the server.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse, StreamingResponse
from sse_starlette import EventSourceResponse
from starlette.routing import WebSocketRoute

from wsctl.server.asgi.notice import ShutdownNotice, shutdown_notice

NAME = "tests.support.fastapi_application:app"
"""The name by which a server finds it."""

Notice = Annotated[ShutdownNotice, Depends(shutdown_notice)]


def tell(text: str) -> None:
    """Write one line into the server's log."""
    # In one piece: other workers write into the same pipe.
    os.write(2, f"application: {text}\n".encode())


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    tell("started")
    yield {"opened": "at the start"}
    tell("stopped")


app = FastAPI(lifespan=_lifespan)


def make() -> FastAPI:
    """Return the application: a factory."""
    return app


@app.get("/facts")
async def facts(request: Request) -> dict[str, Any]:
    """What it sees of its server and its client."""
    return {
        "pid": os.getpid(),
        "root_path": request.scope["root_path"],
        "scheme": request.scope["scheme"],
        "client": request.client.host if request.client else None,
        "state": request.state.opened,
        "parser": type(request.receive.__self__).__module__,  # type: ignore[attr-defined]
        "variable": os.environ.get("OF_THE_APPLICATION"),
    }


@app.get("/events")
async def events() -> StreamingResponse:
    """An answer that never ends by itself."""

    async def stream() -> AsyncIterator[str]:
        try:
            while True:
                yield "data: tick\n\n"
                await asyncio.sleep(0.05)
        finally:
            tell("the stream has ended")

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.get("/noticed-events")
async def noticed_events(notice: Notice) -> StreamingResponse:
    """An answer that ends with the notice."""

    async def stream() -> AsyncIterator[str]:
        yield "data: first\n\n"
        await notice.wait()
        yield f"data: {notice.reason}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.get("/slow")
async def slow(seconds: float) -> PlainTextResponse:
    """An answer that takes its time."""
    tell("a slow request")
    await asyncio.sleep(seconds)
    return PlainTextResponse("done")


@app.get("/sse")
async def sse() -> EventSourceResponse:
    """Events by sse-starlette, which never end."""

    async def stream() -> AsyncIterator[str]:
        try:
            while True:
                yield "tick"
                await asyncio.sleep(0.05)
        finally:
            tell("the events have ended")

    return EventSourceResponse(stream())


@app.post("/length")
async def length(request: Request) -> PlainTextResponse:
    """How many bytes it got."""
    return PlainTextResponse(str(len(await request.body())))


@app.websocket("/ws/{room}")
async def echo(websocket: WebSocket, room: str) -> None:
    """Sends back what it gets."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect as gone:
        tell(f"{room} is disconnected with {gone.code}")


class Pushing:
    """Sends and never reads, below any framework, which would hide what `send` raises."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "text": "tick"})
                await asyncio.sleep(0.02)
        except OSError as error:
            tell(f"{scope['path_params']['room']} gets an OSError: {error}")


app.router.routes.append(WebSocketRoute("/pushing/{room}", Pushing()))


@app.websocket("/noticed/{room}")
async def noticed(websocket: WebSocket, room: str, notice: Notice) -> None:
    """Tells its client of each notice and of what is withdrawn; leaves when it is told to."""
    await websocket.accept()
    if websocket.query_params.get("leaves"):
        await notice.wait()
        await websocket.close(1012, "bye")
        return
    try:
        while True:
            await websocket.receive_text()
            left = notice.deadline
            await websocket.send_json(
                {
                    "is_set": notice.is_set(),
                    "reason": notice.reason,
                    "deadline": None if left is None else round(left, 1),
                }
            )
    except WebSocketDisconnect as gone:
        tell(f"{room} is disconnected with {gone.code}")


async def noticed_in_lifespan(scope: Any, receive: Any, send: Any) -> None:
    """An application that asks for the notice in its lifespan."""
    if scope["type"] != "lifespan":
        await app(scope, receive, send)
        return
    while True:
        message = await receive()
        tell(message["type"])
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete", "wsctl.shutdown_notice": True})
        if message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
