"""A WebSocket server in the test's own process, that does what a test tells it to."""

import asyncio
import http
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import Request, Response, Server, ServerConnection, serve, unix_serve
from websockets.datastructures import Headers

from tests.support import frames
from wsctl.client.target import Target

Handler = Callable[[ServerConnection], Awaitable[None]]
Answer = Callable[[ServerConnection, Request], Response | None]


@asynccontextmanager
async def serving(handler: Handler, answer: Answer | None = None, **options: Any) -> AsyncIterator[Target]:
    """Run `handler` for each connection that `answer` lets through."""
    async with serve(handler, "127.0.0.1", 0, process_request=answer, **options) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            yield Target(f"http://127.0.0.1:{port}")
        finally:
            await stop_accepting(server)


async def stop_accepting(server: Server | asyncio.Server) -> None:
    """Make a server ready to be closed: a connection that asyncio has accepted in the same turn of the loop
    would never be closed itself (CPython 3.11: `Server._attach` fails, and its transport is left)."""
    for listener in server.sockets:
        server.get_loop().remove_reader(listener)
    await asyncio.sleep(0)


@asynccontextmanager
async def serving_on_a_unix_socket(handler: Handler, path: str) -> AsyncIterator[Target]:
    """The same where no address is."""
    async with unix_serve(handler, path):
        yield Target(None, uds=path)


def welcome(client_id: str = "bob", **fields: object) -> str:
    server = {"version": "1.0", "phase": "serving", "connections": 1}
    return _frame({"type": "welcome", "client_id": client_id, "id": "1-0", "server": server} | fields)


def message(data: object, sender: str = "eve", number: int = 1) -> str:
    return _frame({"type": "message", "id": f"{number}-0", "ts": 0.0, "from": sender, "data": data})


def shutdown(deadline_s: float | None = 60, **fields: object) -> str:
    return _frame({"type": "shutdown", "deadline_s": deadline_s, "reason": "SIGTERM"} | fields)


def degraded(text: str = "Redis is away") -> str:
    return _frame({"type": "error", "code": "degraded", "message": text})


def _frame(frame: dict[str, object]) -> str:
    """What pretends to be a server says nothing that no server would."""
    return json.dumps(frames.checked(frame))


def refusing(status: int, body: str = "", **headers: str) -> Answer:
    """Answers every handshake with an HTTP status; `retry_after` is the header Retry-After."""
    fields = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    fields["Content-Length"] = str(len(body))
    fields["Connection"] = "close"

    def answer(_connection: ServerConnection, _request: Request) -> Response:
        return Response(status, http.HTTPStatus(status).phrase, fields, body.encode())

    return answer


def error_body(code: str, text: str) -> str:
    return json.dumps({"error": {"code": code, "message": text}})
