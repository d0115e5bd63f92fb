"""Clients of the applications, each made with what its library's people use.

Libraries that may be missing are imported when a client is opened.
"""

import ast
import asyncio
import html
import itertools
import json
import re
import time
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.support.server import DEADLINE


class Client(ABC):
    """One client, opened by `open`.

    Each stamp that comes in is put into the queue `heard`; None follows when the connection has ended.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: asyncio.Queue[str | None] = asyncio.Queue()
        self.end = ""
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    async def talk(self) -> int:
        """Have the server say something that it had not said before; returns the id of its process."""
        began = time.monotonic()
        async with asyncio.timeout(DEADLINE):
            await self.ask()
            while (text := await self.heard.get()) is not None:
                pid, moment = text.split()
                if float(moment) > began:
                    return int(pid)
        raise AssertionError(f"the connection has ended: {self.end}")

    async def ended(self) -> str:
        """How the server has ended the connection, waited for."""
        async with asyncio.timeout(DEADLINE):
            while await self.heard.get() is not None:
                pass
        return self.end

    async def leave(self) -> None:
        """Leave as the library's people do."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    @abstractmethod
    async def open(self) -> None:
        """Connect."""

    async def ask(self) -> None:  # noqa: B027
        """Ask for a stamp, where they do not come by themselves."""

    def hear(self, text: str | None, end: str = "") -> None:
        self.end = self.end or end
        self.heard.put_nowait(text)

    def read_in_background(self, reading: Any) -> None:
        self._tasks.append(asyncio.create_task(reading))


class WebSocketClient(Client):
    """websockets: a text is answered with a stamp."""

    async def open(self) -> None:
        self.websocket = await self._stack.enter_async_context(connect(f"{self.ws_url}/ws", proxy=None))
        self.read_in_background(self._read())

    async def ask(self) -> None:
        await self.websocket.send("say something")

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self.websocket:
                self.hear(str(text))
        self.hear(None, f"closed with {self.websocket.close_code}")


class LineClient(Client):
    """httpx: lines of a stream."""

    async def open(self) -> None:
        http = await self._stack.enter_async_context(httpx.AsyncClient(timeout=DEADLINE, trust_env=False))
        answer = await self._stack.enter_async_context(http.stream("GET", f"{self.url}/events"))
        assert answer.status_code == 200
        self.read_in_background(self._read(answer))

    async def _read(self, answer: Any) -> None:
        try:
            async for line in answer.aiter_lines():
                if found := re.fullmatch(r'data: "?([\d. ]+)"?', line):
                    self.hear(found[1])
            self.hear(None, "the stream ended")
        except httpx.HTTPError as error:
            self.hear(None, f"{type(error).__name__}: {error}")


class EventClient(Client):
    """httpx-sse: an event stream."""

    async def open(self) -> None:
        from httpx_sse import aconnect_sse

        http = await self._stack.enter_async_context(httpx.AsyncClient(timeout=DEADLINE, trust_env=False))
        source = await self._stack.enter_async_context(aconnect_sse(http, "GET", f"{self.url}/events"))
        self.read_in_background(self._read(source))

    async def _read(self, source: Any) -> None:
        try:
            async for event in source.aiter_sse():
                self.hear(json.loads(event.data) if event.data.startswith('"') else event.data)
            self.hear(None, "the stream ended")
        except httpx.HTTPError as error:
            self.hear(None, f"{type(error).__name__}: {error}")


class SocketIOClient(Client):
    """python-socketio: an event whose acknowledgement is a stamp."""

    path = "socket.io"

    async def open(self) -> None:
        import socketio

        self.socket = socketio.AsyncClient(reconnection=False)
        self.socket.on("disconnect", lambda reason: self.hear(None, f"disconnected: {reason}"))
        await self.prepare()
        self._stack.push_async_callback(self.socket.disconnect)

    async def prepare(self) -> None:
        await self.socket.connect(self.url)

    async def ask(self) -> None:
        self.hear(await self.socket.call("say", "something"))


class NiceGUIClient(SocketIOClient):
    """What a browser does for a page of NiceGUI: its HTML, then Socket.IO with the parameters in it."""

    async def prepare(self) -> None:
        from urllib.parse import urlencode

        self.socket.on("update", self._update)
        async with httpx.AsyncClient(timeout=DEADLINE, trust_env=False) as http:
            page = html.unescape((await http.get(self.url)).text)
        found = re.search(r"query: (\{[^}]*\})", page)
        assert found, page
        query = ast.literal_eval(found[1]) | {"tab_id": "tab", "document_id": "document", "old_tab_id": ""}
        query["implicit_handshake"] = "true"
        await self.socket.connect(
            f"{self.url}?{urlencode(query)}",
            transports=["websocket"],
            socketio_path="/_nicegui_ws/socket.io",
        )

    async def ask(self) -> None:
        """Do nothing: the page changes by itself."""

    def _update(self, update: Any) -> None:
        for text in re.findall(r"\d+ \d+\.\d+", json.dumps(update)):
            self.hear(text)


class GraphQLClient(Client):
    """The protocol graphql-transport-ws: a subscription, and a query for each stamp."""

    async def open(self) -> None:

        self._ids = map(str, itertools.count())
        self.websocket = await self._stack.enter_async_context(
            connect(f"{self.ws_url}/graphql/", subprotocols=[Subprotocol("graphql-transport-ws")], proxy=None)
        )
        await self._send(type="connection_init")
        assert json.loads(await self.websocket.recv())["type"] == "connection_ack"
        self.subscription = next(self._ids)
        self._answered = asyncio.Event()
        await self._subscribe(self.subscription, "subscription { saying }")
        self.read_in_background(self._read())

    async def ask(self) -> None:
        """Wait for a query's answer: the stamps that follow are the subscription's."""
        self._answered.clear()
        await self._subscribe(next(self._ids), "{ said }")
        await self._answered.wait()

    async def _subscribe(self, number: str, query: str) -> None:
        await self._send(type="subscribe", id=number, payload={"query": query})

    async def _send(self, **message: Any) -> None:
        await self.websocket.send(json.dumps(message))

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self.websocket:
                message = json.loads(text)
                if message["type"] == "complete":
                    self._answered.set()
                elif message["id"] == self.subscription:
                    self.hear(message["payload"]["data"]["saying"])
        self.hear(None, f"closed with {self.websocket.close_code}")


class MCPClient(Client):
    """mcp: a tool's call that tells of its progress."""

    async def open(self) -> None:
        from mcp import Client as Session

        self._left = asyncio.Event()
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running = asyncio.create_task(self._run(Session(f"{self.url}/mcp"), opened))
        await opened

    async def leave(self) -> None:
        self._left.set()
        await asyncio.gather(self._running)

    async def _run(self, session: Any, opened: "asyncio.Future[None]") -> None:
        """A session is entered and left in one task."""
        async with session:
            work = asyncio.create_task(self._work(session))
            opened.set_result(None)
            await self._left.wait()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _work(self, session: Any) -> None:
        try:
            await session.call_tool("work", progress_callback=self._progress)
            self.hear(None, "the call returned")
        except Exception as error:
            self.hear(None, f"{type(error).__name__}: {error}")

    async def _progress(self, _done: float, _all: float | None, message: str | None) -> None:
        self.hear(message)
