"""The parent's control socket: HTTP for the few requests of the commands, without a framework.

Only the user that the server belongs to reaches the socket: the folder and the socket have the permissions
for that.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

import h11

from wsctl.control.operations import (
    JSON,
    LINES_TARGET,
    METRICS,
    NDJSON,
    PUBLISH,
    encode_error,
    methods_at,
    unsupported_media_type,
)
from wsctl.ipc.rpc import Reply, RequestHandler
from wsctl.server.http.semantics import METHODS, allow, error_body, error_response, origin_form
from wsctl.server.metrics import PUBLIC
from wsctl.server.metrics.family import decode_families
from wsctl.server.metrics.scrape import text as scraped_text

HEAD_TIMEOUT = 10.0
"""Seconds in which a request must be complete, as everywhere."""

FINISH_TIMEOUT = 0.5
"""Seconds that requests under way have to be answered when everything else has ended."""

BACKLOG = 1024
"""Connections that may wait while the process goes on as another program, for a second perhaps."""

ITERATIONS = 8
"""The iterations of an event loop in which a connection that it has accepted is known here, and what it has
read has come to whom it is for, with some to spare."""

MAX_HEAD = 64 * 1024
"""Bytes that the head of a request may have."""

MAX_BODY = 256 << 20
"""Bytes of one request: what the channel to a worker takes."""


_ROUTES: Mapping[str, Sequence[str]] = {"*": METHODS, PUBLIC: ("GET",)}
"""The routes beside those of operations, with their methods."""


class HttpRequest(NamedTuple):
    """A request; `accept` is its header, and `content_type` its other one."""

    method: str
    path: str
    accept: str
    content_type: str
    body: bytes


class ConnectionState(NamedTuple):
    """A connection without an answer, so that the same process can answer it as another program: its
    descriptor, and all that was received."""

    fd: int
    received: bytes


@dataclass(eq=False, slots=True)
class _Connection:
    """A connection, and what was received. With `moves` another program may answer it: it has no whole
    request yet, or one that changes nothing."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: bytearray = field(default_factory=bytearray)
    moves: bool = True
    held: bool = False

    def hold(self) -> None:
        """Let nothing more come from the socket. What has come already is still to be read."""
        self.held = True
        self.transport.pause_reading()

    def release(self) -> None:
        self.held = False
        self.transport.resume_reading()

    async def read(self) -> bytes:
        """Read some of the request; nothing at its end."""
        data = await self.reader.read(MAX_HEAD)
        self.received += data
        if self.held:
            self.transport.pause_reading()  # the reader resumes it when it had paused it itself
        return data

    @property
    def transport(self) -> asyncio.ReadTransport:
        found: asyncio.ReadTransport = self.writer.transport  # type: ignore[assignment]
        return found


class ControlHttpServer:
    """Answers one request a connection."""

    def __init__(self, handler: RequestHandler) -> None:
        self._handler = handler
        self._sock: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._released = asyncio.Event()
        self._released.set()

    async def open(self, sock: socket.socket, connections: Iterable[ConnectionState] = ()) -> None:
        """Accept connections on a socket, and answer those that another program has accepted."""
        self._sock = sock
        await self._accept(sock)
        for each in connections:
            reader = asyncio.StreamReader()
            reader.feed_data(each.received)
            protocol = asyncio.StreamReaderProtocol(reader, self._serve)
            connection = socket.socket(fileno=each.fd)
            await asyncio.get_running_loop().connect_accepted_socket(lambda p=protocol: p, connection)  # type: ignore[misc]

    async def close(self) -> None:
        """Accept nothing more; requests under way get their answer, if there is one within `FINISH_TIMEOUT`
        seconds."""
        if self._server:
            self._server.close()
        if self._connections:
            _, late = await asyncio.wait(list(self._connections), timeout=FINISH_TIMEOUT)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._sock:
            self._sock.close()

    async def hold(self) -> None:
        """Accept and read nothing from here on, until `release`, and wait until all requests that change
        something are answered."""
        self._released.clear()
        for connection in self._connections.values():
            connection.hold()
        await self._stop_accepting()
        while staying := [task for task, connection in self._connections.items() if not connection.moves]:
            await asyncio.wait(staying)

    async def release(self) -> None:
        """Accept and read again."""
        self._released.set()
        for connection in self._connections.values():
            connection.release()
        if self._sock:
            await self._accept(self._sock)

    def state(self) -> list[ConnectionState]:
        """Return the connections that have no answer, while they are held; nothing is closed or changed."""
        return [
            ConnectionState(each.writer.get_extra_info("socket").fileno(), bytes(each.received))
            for each in self._connections.values()
        ]

    async def _stop_accepting(self) -> None:
        """Accept nothing more, and wait until what was accepted is among the connections."""
        if self._server:
            for sock in self._server.sockets:
                asyncio.get_running_loop().remove_reader(sock.fileno())
        for _ in range(ITERATIONS):
            await asyncio.sleep(0)
        if self._server:
            self._server.close()  # no earlier: it would drop those that are just accepted

    async def _accept(self, sock: socket.socket) -> None:
        # A server closes its socket, and must not close this one.
        self._server = await asyncio.start_server(self._serve, sock=sock.dup(), backlog=BACKLOG)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer)
        if task := asyncio.current_task():
            self._connections[task] = connection
            task.add_done_callback(self._connections.pop)
        if not self._released.is_set():
            connection.hold()
        try:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                answer = await self._answer(connection)
                if connection.moves:
                    await self._released.wait()  # half an answer could not go along
                connection.moves = False
                writer.write(answer)
                await writer.drain()
        finally:
            connection.moves = False
            writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()  # what the other end has not taken yet

    async def _answer(self, connection: _Connection) -> bytes:
        try:
            async with asyncio.timeout(HEAD_TIMEOUT):
                request = await _read_request(connection)
        except (ValueError, h11.RemoteProtocolError):
            return _json(Reply(HTTPStatus.BAD_REQUEST, error_body("bad_request", "this is no request")))
        if request.method == "HEAD":
            return _without_body(await self._route(request._replace(method="GET"), connection.reader))
        if request.method != "GET":
            connection.moves = False
            connection.received.clear()
        return await self._route(request, connection.reader)

    async def _route(self, request: HttpRequest, reader: asyncio.StreamReader) -> bytes:
        path = urlsplit(request.path).path
        methods = _ROUTES.get(path) or methods_at(path) or (request.method,)
        if request.method not in methods:
            return _allowed_methods(request.method, methods)
        if request.path == PUBLISH.path:
            return await self._publish(request)
        scraped = (request.method, request.path) == ("GET", PUBLIC)
        reply_pending = self._handler(request.method, METRICS.path if scraped else request.path, request.body)
        # Only questions wait, and only they may be dropped half-way.
        reply = await (_until_closed(reply_pending, reader) if request.method == "GET" else reply_pending)
        if scraped:
            return _encoded(HTTPStatus.OK, *await scraped_text(decode_families(reply.body), request.accept))
        return _json(reply)

    async def _publish(self, request: HttpRequest) -> bytes:
        """Publish a message, or a batch of them."""
        kind = request.content_type.partition(";")[0].strip().lower()
        if kind not in (JSON, NDJSON, ""):
            return _json(Reply(*encode_error(unsupported_media_type())))
        if kind != NDJSON:
            return _json(await self._handler(request.method, PUBLISH.path, request.body))
        reply = await self._handler(request.method, LINES_TARGET, request.body)
        if reply.status != HTTPStatus.OK:
            return _json(reply)
        return _encoded(HTTPStatus.OK, reply.body["text"].encode(), NDJSON)


async def _until_closed(reply_pending: Awaitable[Reply], reader: asyncio.StreamReader) -> Reply:
    """Return the answer. Raises `EOFError` when the client has closed the connection."""
    answer, end = asyncio.ensure_future(reply_pending), asyncio.create_task(_wait_closed(reader))
    try:
        await asyncio.wait([answer, end], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise EOFError
        return answer.result()
    finally:
        answer.cancel()
        end.cancel()
        await asyncio.gather(answer, end, return_exceptions=True)


async def _wait_closed(reader: asyncio.StreamReader) -> None:
    """Wait until the connection is closed. What else is sent is ignored: there is one request a
    connection."""
    while await reader.read(4096):
        pass


async def _read_request(connection: _Connection) -> HttpRequest:
    """Read a request.

    Raises:
        h11.RemoteProtocolError, ValueError: it is none, or too large.
        EOFError: the client has closed the connection before it was complete.
    """
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    head = await _next_event(parser, connection)
    if not isinstance(head, h11.Request):
        raise EOFError
    method, target = head.method.decode(), head.target.decode("latin-1")
    path, _ = origin_form(method, target)
    headers = dict(head.headers)
    if int(headers.get(b"content-length", 0)) > MAX_BODY:
        raise ValueError("the body is too large")
    accept = headers.get(b"accept", b"").decode("latin-1")
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    return HttpRequest(method, path, accept, content_type, await _read_body(parser, connection))


async def _read_body(parser: h11.Connection, connection: _Connection) -> bytes:
    body = bytearray()
    while isinstance(event := await _next_event(parser, connection), h11.Data):
        body += event.data
        if len(body) > MAX_BODY:
            raise ValueError("the body is too large")
    return bytes(body)


async def _next_event(parser: h11.Connection, connection: _Connection) -> object:
    while (event := parser.next_event()) is h11.NEED_DATA:
        data = await connection.read()
        if not data:
            raise EOFError
        parser.receive_data(data)
    return event


def _allowed_methods(method: str, methods: Sequence[str]) -> bytes:
    """Return the answer to OPTIONS, or to a method that the route does not have."""
    allowed = allow(methods)
    if method == "OPTIONS":
        return f"HTTP/1.1 204 No Content\r\nallow: {allowed}\r\nconnection: close\r\n\r\n".encode()
    text = f"this route has {allowed}"
    return error_response(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", text, [("allow", allowed)])


def _without_body(answer: bytes) -> bytes:
    head, end, _ = answer.partition(b"\r\n\r\n")
    return head + end


def _json(reply: Reply) -> bytes:
    return _encoded(HTTPStatus(reply.status), json.dumps(reply.body).encode(), "application/json")


def _encoded(status: HTTPStatus, body: bytes, kind: str) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {kind}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
