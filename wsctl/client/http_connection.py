"""HTTP/1.1 requests on a connection of asyncio, read by h11: what an event stream and publishing beside it
need, and no more."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import h11

from wsctl import __version__
from wsctl.client.target import Target

MAX_BODY = 1 << 20
"""Bytes of an answer that is read as a whole."""

Headers = Sequence[tuple[str, str]]


class HttpError(OSError):
    """A connection that ended before the answer was complete, or an answer that is no HTTP."""


class Answer(NamedTuple):
    """The head of an answer; header names are lower case."""

    status: int
    reason: str
    headers: Headers

    def header(self, name: str) -> str:
        """Return the value of a header; empty where it is missing."""
        return next((value for key, value in self.headers if key == name), "")


class HttpConnection(asyncio.Protocol):
    """A connection with one request at a time. `body` is called with each piece of an answer's body, `end`
    once: with None behind a complete answer, else with the error."""

    def __init__(self) -> None:
        self.body: Callable[[bytes], object] = lambda data: None
        self.end: Callable[[HttpError | None], object] = lambda error: None
        self._http = h11.Connection(h11.CLIENT)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._over = True

    @property
    def reusable(self) -> bool:
        """True if another request can be sent."""
        alive = self._transport is not None and not self._transport.is_closing()
        return alive and self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    async def request(self, method: str, target: str, headers: Headers, body: bytes = b"") -> Answer:
        """Send a request; return the head of its answer. Its body follows by `body` and `end`.

        Raises:
            HttpError: there is none.
        """
        if self._transport is None:
            raise HttpError("there is no connection")
        self._answer, self._over = asyncio.get_running_loop().create_future(), False
        told = [*headers, ("user-agent", f"wsctl/{__version__}")]
        if body:
            told.append(("content-length", str(len(body))))
        parts: list[h11.Event] = [h11.Request(method=method, target=target, headers=told)]
        parts += [h11.Data(data=body)] if body else []
        for part in (*parts, h11.EndOfMessage()):
            self._transport.write(self._http.send(part) or b"")
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._receive(data)

    def eof_received(self) -> None:
        self._receive(b"")

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(HttpError("the connection was lost" if error is None else str(error)))

    def pause(self) -> None:
        """Read nothing more for now."""
        if self._transport and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Hang up."""
        if self._transport:
            self._transport.close()

    def _receive(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            while self._take(self._http.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self._fail(HttpError(str(error)))

    def _take(self, event: object) -> bool:
        match event:
            case h11.Response():
                pairs = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
                if self._answer and not self._answer.done():
                    self._answer.set_result(Answer(event.status_code, event.reason.decode("latin-1"), pairs))
            case h11.Data():
                self.body(bytes(event.data))
            case h11.EndOfMessage():
                self._finish(None)
                if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                    self._http.start_next_cycle()
                else:
                    self.close()
                return False
            case h11.InformationalResponse():
                pass
            case _:
                if event is not h11.NEED_DATA:
                    self._fail(HttpError("the connection ended without an answer"))
                return False
        return True

    def _fail(self, error: HttpError) -> None:
        self.close()
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)
            self._over = True  # who asked is told by that
        self._finish(error)

    def _finish(self, error: HttpError | None) -> None:
        if not self._over:
            self._over = True
            self.end(error)


async def connect_http(target: Target, tls: Callable[[], ssl.SSLContext]) -> HttpConnection:
    """Return a connection to a server; `tls` returns the certificates to trust.

    Raises:
        OSError: there is none.
    """
    loop = asyncio.get_running_loop()
    if target.uds:
        return (await loop.create_unix_connection(HttpConnection, target.uds))[1]
    at = urlsplit(target.url or "")
    secure = at.scheme == "https"
    port = at.port or (443 if secure else 80)
    return (
        await loop.create_connection(HttpConnection, at.hostname or "", port, ssl=tls() if secure else None)
    )[1]


async def fetch(
    connection: HttpConnection, method: str, target: str, headers: Headers, body: bytes = b""
) -> tuple[Answer, bytes]:
    """Send a request; return the whole answer.

    Raises:
        HttpError: it is not complete, or too long.
    """
    read = BodyReader(connection)
    answer = await connection.request(method, target, headers, body)
    return answer, await read.whole()


class BodyReader:
    """Reads the body of the next answer as a whole."""

    def __init__(self, connection: HttpConnection) -> None:
        self._body = bytearray()
        self._connection = connection
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.body, connection.end = self._take, self._end

    async def whole(self) -> bytes:
        """Return the body.

        Raises:
            HttpError: it is not complete, or too long.
        """
        await self._ended
        return bytes(self._body)

    def hand_over(self, body: Callable[[bytes], object], end: Callable[[HttpError | None], object]) -> None:
        """Have others read the body from its first byte on."""
        self._connection.body, self._connection.end = body, end
        if self._body:
            body(bytes(self._body))
        if self._ended.done():
            error = self._ended.exception()
            end(error if isinstance(error, HttpError) else None)

    def _take(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > MAX_BODY:
            self._end(HttpError("the answer is too long"))
            self._connection.close()

    def _end(self, error: HttpError | None) -> None:
        if not self._ended.done():
            if error is None:
                self._ended.set_result(None)
            else:
                self._ended.set_exception(error)
                self._ended.exception()  # which nobody may ask for
