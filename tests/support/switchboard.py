"""A fake server whose connections a test takes one by one."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

import wsctl.server.page
from tests.support import frames
from tests.support.fake_server import refusing, serving
from tests.support.server import DEADLINE

MODULE = Path(wsctl.server.page.__file__).with_name("wsctl.js")

EMPTY = b'<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>empty</title>'


class Line:
    """One connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        assert connection.request
        self.path = connection.request.path

    @property
    def offered(self) -> str | None:
        """The subprotocols that the client can speak."""
        assert self.connection.request
        return self.connection.request.headers.get("Sec-WebSocket-Protocol")

    @property
    def since(self) -> str | None:
        """The id after which the client resumes."""
        return parse_qs(urlsplit(self.path).query).get("since", [None])[0]

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps(frames.checked({"type": kind} | fields)))

    async def send_later(self, kind: str, **fields: Any) -> None:
        """What only a later server could send."""
        await self.connection.send(json.dumps({"type": kind} | fields))

    async def welcome(self, newest: str = "1-0", **fields: Any) -> None:
        server = {"version": "0", "phase": "serving", "connections": 1}
        await self.send("welcome", **{"client_id": "bob", "id": newest, "server": server} | fields)

    async def message(self, message_id: str, data: object = "hello", **fields: Any) -> None:
        await self.send("message", id=message_id, ts=0.0, data=data, **{"from": "eve"} | fields)

    async def ended(self) -> int | None:
        """The code that the client closed with, waited for."""
        async with asyncio.timeout(DEADLINE):
            await self.connection.wait_closed()
        return self.connection.close_code

    async def close(self, code: int, reason: str = "because") -> None:
        await self.connection.close(code, reason)

    async def command(self) -> dict[str, Any]:
        """The command that the client sent, waited for."""
        command: dict[str, Any] = json.loads(await self.heard())
        return command

    async def heard(self) -> str | bytes:
        """What the client sent, waited for."""
        async with asyncio.timeout(DEADLINE):
            return await self.connection.recv()


class Switchboard:
    """Takes every client, unless it is `full`, and says nothing to it; serves a page and wsctl.js.

    Attributes:
        page: what it serves at /.
        protocols: the subprotocols that it speaks, the best first.
    """

    def __init__(self, page: bytes = EMPTY) -> None:
        self.page = page
        self.url = ""
        self.full = False
        self.protocols = ("wsctl.2", "wsctl")
        self._lines: asyncio.Queue[Line] = asyncio.Queue()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Switchboard"]:
        async with serving(self._take, self._answer, select_subprotocol=self._choose) as target:
            assert target.url
            self.url = target.url
            yield self

    async def line(self) -> Line:
        """The next connection, waited for."""
        async with asyncio.timeout(DEADLINE):
            return await self._lines.get()

    @property
    def idle(self) -> bool:
        """Whether no connection is there that the test did not take."""
        return self._lines.empty()

    def _choose(self, _connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        """As a wsctl server chooses; a browser that offers any wants one chosen."""
        return next((Subprotocol(name) for name in self.protocols if name in offered), None)

    async def _take(self, connection: ServerConnection) -> None:
        self._lines.put_nowait(Line(connection))
        await connection.wait_closed()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        match urlsplit(request.path).path:
            case "/":
                return _ok("text/html", self.page)
            case "/wsctl.js":
                return _ok("text/javascript", MODULE.read_bytes())
        return refusing(503)(connection, request) if self.full else None


def _ok(kind: str, body: bytes) -> Response:
    headers = Headers({"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(HTTPStatus.OK, "OK", headers, body)
