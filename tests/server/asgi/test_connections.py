"""The connections of an application are counted, and end as their policies say, under uvicorn."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.server import DEADLINE
from wsctl.drain.progress import ConnectionKind, RouteCount
from wsctl.server.asgi.connections import ApplicationConnections, DrainedApplication
from wsctl.server.asgi.notice import ShutdownNotice, shutdown_notice
from wsctl.settings import drain_policies

pytestmark = pytest.mark.anyio


class Site:
    """An application, what it has seen, and its drain."""

    def __init__(self, policies: str = "", spread: float = 0.0) -> None:
        self.connections = ApplicationConnections(drain_policies(policies), time.monotonic, spread)
        self.rejecting = False
        self.seen: list[Any] = []
        self.notices: list[ShutdownNotice] = []
        self.go_on = asyncio.Event()
        self.app = DrainedApplication(
            Starlette(
                routes=[
                    Route("/stream/{name}", self._stream),
                    Route("/short", self._short),
                    Route("/slow", self._slow),
                    Route("/stubborn", self._stubborn),
                    WebSocketRoute("/ws/{name}", self._echo),
                    WebSocketRoute("/hears/nothing", self._hears_nothing),
                    WebSocketRoute("/sends/at/once", self._sends_at_once),
                ]
            ),
            self.connections,
            rejects=lambda: self.rejecting,
            delay=lambda host: 0.0,
        )
        self.url = ""

    async def _stream(self, request: Request) -> Response:
        self.notices.append(shutdown_notice(request))

        async def pieces() -> AsyncIterator[str]:
            n = 0
            while True:
                yield f"data: {n}\n\n"
                n += 1
                await asyncio.sleep(0.005)

        return StreamingResponse(pieces(), media_type="text/event-stream")

    async def _short(self, request: Request) -> Response:
        """Promise more than comes."""

        async def pieces() -> AsyncIterator[bytes]:
            yield b"half"
            await self.go_on.wait()

        return StreamingResponse(pieces(), headers={"content-length": "8"})

    async def _slow(self, request: Request) -> Response:
        await self.go_on.wait()
        return PlainTextResponse("done")

    async def _stubborn(self, request: Request) -> Response:
        while True:
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.seen.append("cancelled")
                raise

    async def _echo(self, websocket: WebSocket) -> None:
        self.notices.append(shutdown_notice(websocket))
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
        except WebSocketDisconnect as error:
            self.seen.append((error.code, error.reason))

    async def _hears_nothing(self, websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await asyncio.sleep(0.005)
                await websocket.send_text("news")
        except WebSocketDisconnect as error:
            self.seen.append(error.code)

    async def _sends_at_once(self, websocket: WebSocket) -> None:
        """Send, and end by that, before anything else can happen."""
        await websocket.accept()
        await self.go_on.wait()
        await websocket.send_text("news")

    @asynccontextmanager
    async def served(self, parser: str) -> AsyncIterator["Site"]:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            config = uvicorn.Config(
                self.app, http=parser, ws="websockets-sansio", lifespan="off", log_config=None
            )
            server = _Server(config)
            task = asyncio.create_task(server.serve([sock]))
            await until(lambda: server.started)
            self.url = f"127.0.0.1:{sock.getsockname()[1]}"
            yield self
            server.should_exit = server.force_exit = True
            await task

    def counts(self) -> tuple[int, int]:
        counts = self.connections.counts()
        return counts.active, counts.closing


class _Server(uvicorn.Server):
    def capture_signals(self) -> Any:
        """Leave the signals to the tests."""
        return nullcontext()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@pytest.fixture(params=["h11", "httptools"])
def parser(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@asynccontextmanager
async def stream(site: Site, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """The pieces of an answer that has begun."""
    async with (
        httpx.AsyncClient(timeout=DEADLINE) as client,
        client.stream("GET", f"http://{site.url}{path}") as answer,
    ):
        yield answer.aiter_raw()


async def close_of(websocket: ClientConnection) -> tuple[int, str]:
    with suppress(ConnectionClosed):
        while True:
            await websocket.recv()
    return websocket.close_code or 0, websocket.close_reason or ""


async def test_what_is_there_is_counted_by_kind_and_route(parser: str) -> None:
    async with Site().served(parser) as site:
        async with (
            connect(f"ws://{site.url}/ws/a"),
            connect(f"ws://{site.url}/ws/b"),
            stream(site, "/stream/x") as pieces,
        ):
            await anext(pieces)
            assert site.counts() == (3, 0)
            assert site.connections.routes(5) == [
                RouteCount(ConnectionKind.WEBSOCKET, "/ws/{name}", 2),
                RouteCount(ConnectionKind.RESPONSE, "/stream/{name}", 1),
            ]
            assert site.connections.routes(1) == [RouteCount(ConnectionKind.WEBSOCKET, "/ws/{name}", 2)]
        await until(lambda: site.counts() == (0, 0))
        assert site.connections.counts().left == 3


async def test_a_notice_alone_ends_nothing(parser: str) -> None:
    async with (
        Site().served(parser) as site,
        connect(f"ws://{site.url}/ws/a") as websocket,
        stream(site, "/stream/x") as pieces,
    ):
        await anext(pieces)
        site.connections.announce(30.0, "SIGTERM")
        assert [notice.is_set() for notice in site.notices] == [True, True]
        await websocket.send("still here")
        assert await websocket.recv() == "still here"
        assert await anext(pieces)
        site.connections.withdraw()
        assert [notice.is_set() for notice in site.notices] == [False, False]


async def test_what_an_application_sends_in_the_moment_of_the_end_does_not_end_it_sooner(parser: str) -> None:
    async with Site().served(parser) as site, connect(f"ws://{site.url}/sends/at/once") as websocket:
        site.go_on.set()
        site.connections.close_all()
        assert await close_of(websocket) == (1012, "the server is restarting: reconnect")


async def test_at_the_end_all_are_ended_by_the_protocol_and_the_application_is_told(parser: str) -> None:
    async with (
        Site().served(parser) as site,
        connect(f"ws://{site.url}/ws/a") as websocket,
        stream(site, "/stream/x") as pieces,
    ):
        await anext(pieces)
        site.connections.close_all()
        assert await close_of(websocket) == (1012, "the server is restarting: reconnect")
        [piece async for piece in pieces]  # it ends as a whole answer does
        await until(lambda: site.counts() == (0, 0))
        assert site.seen == [(1012, "the server is restarting: reconnect")]
        assert site.connections.counts().forced == 2


async def test_an_application_that_only_sends_is_told_by_an_error(parser: str) -> None:
    async with Site().served(parser) as site, connect(f"ws://{site.url}/hears/nothing") as websocket:
        await websocket.recv()
        site.connections.close_all()
        assert (await close_of(websocket))[0] == 1012
        await until(lambda: site.counts() == (0, 0))
        assert site.seen == [1006]  # Starlette's word for a send that failed


async def test_a_request_without_an_answer_gets_503(parser: str) -> None:
    async with Site().served(parser) as site, httpx.AsyncClient(timeout=DEADLINE) as client:
        asking = asyncio.create_task(client.get(f"http://{site.url}/slow"))
        await until(lambda: site.counts() == (1, 0))
        site.connections.close_all()
        answer = await asking
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "closing")
        assert answer.headers["connection"] == "close"
        assert site.counts() == (0, 1)
        site.go_on.set()
        await until(lambda: site.counts() == (0, 0))


async def test_an_answer_that_was_promised_longer_is_cut(parser: str) -> None:
    async with Site().served(parser) as site:
        async with stream(site, "/short") as pieces:
            assert await anext(pieces) == b"half"
            site.connections.close_all()
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(pieces)
        await until(lambda: site.counts() == (0, 0))


async def test_whatever_does_not_return_is_cancelled(parser: str) -> None:
    async with Site().served(parser) as site, httpx.AsyncClient(timeout=DEADLINE) as client:
        asking = asyncio.create_task(client.get(f"http://{site.url}/stubborn"))
        await until(lambda: site.counts() == (1, 0))
        site.connections.close_all()
        await asking
        assert site.counts() == (0, 1)
        site.connections.abort()
        await until(lambda: site.counts() == (0, 0))
        assert site.seen == ["cancelled"]
        assert site.connections.counts().aborted == 1


async def test_each_policy_ends_its_own_at_its_moment(parser: str) -> None:
    async with (
        Site("/ws/a=finish /ws/*=close /stream/*=notify:0.2s").served(parser) as site,
        connect(f"ws://{site.url}/ws/a") as stays,
        connect(f"ws://{site.url}/ws/b") as closed,
        stream(site, "/stream/x") as pieces,
    ):
        await anext(pieces)
        site.connections.announce(30.0, "SIGTERM")
        left = sorted(notice.deadline or 0.0 for notice in site.notices)
        assert left[0] == 0.0
        assert 0 < left[1] <= 0.2
        assert 29 < left[2] <= 30
        assert (await close_of(closed))[0] == 1012
        [piece async for piece in pieces]
        await stays.send("still here")
        assert await stays.recv() == "still here"
        counts = site.connections.counts()
        assert (counts.active, counts.by_policy, counts.forced) == (1, 2, 0)


async def test_what_comes_during_a_drain_has_its_policy_too(parser: str) -> None:
    async with Site("/stream/*=close").served(parser) as site:
        site.connections.announce(30.0, "SIGTERM")
        async with stream(site, "/stream/x") as pieces:
            [piece async for piece in pieces]
        await until(lambda: site.connections.counts().by_policy == 1)


async def test_a_spread_closes_one_after_the_other() -> None:
    async with (
        Site("*=close", spread=60.0).served("h11") as site,
        connect(f"ws://{site.url}/ws/a") as first,
        connect(f"ws://{site.url}/ws/b"),
    ):
        site.connections.announce(90.0, "SIGTERM")
        assert (await close_of(first))[0] == 1012
        assert site.counts()[0] == 1
        assert 29 < (site.notices[1].deadline or 0) <= 30


async def test_a_cancelled_drain_takes_its_moments_back() -> None:
    async with Site("*=notify:0.05s").served("h11") as site, connect(f"ws://{site.url}/ws/a") as websocket:
        site.connections.announce(30.0, "SIGTERM")
        site.connections.withdraw()
        site.connections.announce(30.0, "SIGTERM")
        assert (await close_of(websocket))[0] == 1012
        assert site.connections.counts().by_policy == 1


async def test_a_websocket_that_comes_while_the_server_drains_gets_1001(parser: str) -> None:
    async with Site().served(parser) as site:
        site.rejecting = True
        async with connect(f"ws://{site.url}/ws/a") as websocket:
            assert await close_of(websocket) == (1001, "the server is draining: connect again in a moment")
        assert site.counts() == (0, 0)


async def test_the_oldest_are_ended_first() -> None:
    async with (
        Site().served("h11") as site,
        connect(f"ws://{site.url}/ws/a") as older,
        connect(f"ws://{site.url}/ws/b") as newer,
    ):
        site.connections.close_oldest(1)
        assert (await close_of(older))[0] == 1012
        await newer.send("still here")
        assert await newer.recv() == "still here"


async def test_an_application_that_fails_after_its_end_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
        raise ValueError("what now")

    site = Site()
    site.app = DrainedApplication(app, site.connections, rejects=lambda: False, delay=lambda host: 0.0)
    async with site.served("h11"), httpx.AsyncClient(timeout=DEADLINE) as client:
        asking = asyncio.create_task(client.get(f"http://{site.url}/"))
        await until(lambda: site.counts() == (1, 0))
        site.connections.close_all()
        await asking
        await until(lambda: site.counts() == (0, 0))
    assert [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")] == []


async def _ask(app: ASGIApp, path: str) -> None:
    """Ask an application for a path, without a server."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        """Take the answer."""

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [],
    }
    await app(scope, receive, send)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/own/1", "/own/{x}"),
        ("/mounted/inner/1", "/mounted/inner/{x}"),
        ("/included/inner/1", "/included/inner/{x}"),
        ("/starlette/inner/1", "/starlette/inner/{x}"),
        ("/files/a/b", "/files/{name}"),
        ("/users/7/inner/7", "/users/{user}/inner/{x}"),
        ("/raw/a/b", "/raw/a/b"),
    ],
)
async def test_a_route_is_shown_with_what_leads_to_it(path: str, route: str) -> None:
    connections = ApplicationConnections([], time.monotonic)
    seen: list[RouteCount] = []

    async def look(request: Request) -> Response:
        seen.extend(connections.routes(5))
        return PlainTextResponse("")

    async def raw(scope: Scope, receive: Receive, send: Send) -> None:
        scope["path"] = "/changed"
        await (await look(Request(scope)))(scope, receive, send)

    router, mounted, app = APIRouter(), FastAPI(), FastAPI()
    for place in (router, mounted):
        place.get("/inner/{x}")(look)
    app.get("/own/{x}")(look)
    app.get("/files/{name:path}")(look)
    app.mount("/mounted", mounted)
    app.mount("/starlette", Starlette(routes=[Route("/inner/{x}", look)]))
    app.mount("/raw", raw)
    app.include_router(router, prefix="/included")
    app.include_router(router, prefix="/users/{user}")
    await _ask(DrainedApplication(app, connections, rejects=lambda: False, delay=lambda host: 0.0), path)
    assert seen == [RouteCount(ConnectionKind.RESPONSE, route, 1)]


async def test_a_policy_is_for_the_path_that_was_asked_for() -> None:
    """Some frameworks change the path in the scope, as NiceGUI does."""
    connections = ApplicationConnections(drain_policies("/asked=close"), time.monotonic)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["path"] = "/changed"
        changed = asyncio.Event()
        connections.observers.append(changed.set)
        connections.announce(60.0, "SIGTERM")
        await changed.wait()

    async with asyncio.timeout(DEADLINE):
        await _ask(
            DrainedApplication(app, connections, rejects=lambda: False, delay=lambda host: 0.0), "/asked"
        )
    assert connections.counts().by_policy == 1
