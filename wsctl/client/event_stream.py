"""One event stream to a target, in the form of a WebSocket on which commands are spoken: what is published
goes beside it, with requests of their own."""

import asyncio
import json
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from websockets.datastructures import Headers as ResponseHeaders
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response
from websockets.protocol import State

from wsctl.client.commands import COMMANDS
from wsctl.client.connection import (
    ANSWER_TIMEOUT,
    MAX_FRAME,
    OPEN_TIMEOUT,
    PING_INTERVAL,
    PING_TIMEOUT,
    trusted,
)
from wsctl.client.event_parser import EventParser, ServerSentEvent
from wsctl.client.target import Target
from wsctl.client.transport import Wish
from wsctl.codes import CloseCode, ErrorCode

if TYPE_CHECKING:
    from wsctl.client.http_connection import Answer, BodyReader, Headers, HttpConnection, HttpError

MEDIA_TYPE = "text/event-stream"

SILENCE = PING_INTERVAL + PING_TIMEOUT
"""Seconds without a byte after which a server counts as gone. It is asked for a sign of life in each
`PING_INTERVAL`."""

MOST_READ = 256
"""Frames that are read ahead: beyond them TCP holds the server back."""

MOST_UNDER_WAY = 64
"""Messages that wait for their turn to be published; beyond them sending waits."""

KEPT_FOR = 4.0
"""Seconds for which a connection is kept for the next message: servers close it after five."""

SETTLE = 5.0
"""Seconds that the messages under way have, when the stream is over, until they are answered."""

UNREACHABLE = "unreachable"
"""The code for a message that could not be sent although the stream is open."""

NOT_OVER_A_STREAM = "an event stream cannot tell who else is there: connect with a WebSocket"


class NoEventStream(ValueError):
    """An answer that is no event stream."""


async def open_event_stream(
    target: Target, client_id: str, path: str, token: str | None = None
) -> "EventStreamConnection":
    """Return a stream that the server has accepted; `path` is its path with the query.

    Raises:
        InvalidStatus: the server refused; the answer is in it.
        NoEventStream: what answers there has none.
        OSError: there is no connection, or no answer in time.
    """
    from wsctl.client.http_connection import BodyReader, connect_http

    async with asyncio.timeout(OPEN_TIMEOUT):
        http = await connect_http(target, trusted)
        try:
            body = BodyReader(http)
            headers = [("host", _host(target)), ("accept", "*/*"), ("cache-control", "no-store")]
            answer = await http.request("GET", path, [*headers, *_credentials(token)])
            if answer.status != 200:
                raise InvalidStatus(await _response(answer, body))
            if answer.header("content-type").partition(";")[0].strip().lower() != MEDIA_TYPE:
                raise NoEventStream("what answers there has no event stream")
        except BaseException:
            http.close()
            raise
    return EventStreamConnection(http, body, Publishing(target, client_id, token))


async def _response(answer: "Answer", body: "BodyReader") -> Response:
    told = b""
    with suppress(OSError):
        told = await body.whole()
    return Response(answer.status, answer.reason, ResponseHeaders(answer.headers), told)


def _host(target: Target) -> str:
    return urlsplit(target.url or "http://localhost").netloc


def _credentials(token: str | None) -> "Headers":
    return [("authorization", f"Bearer {token}")] if token else []


class Publishing:
    """Publishes by requests beside a stream, one after the other."""

    def __init__(self, target: Target, client_id: str, token: str | None) -> None:
        self._target = target
        self._path = f"{urlsplit(target.url or '').path}/publish?id={quote(client_id, safe='')}"
        headers = [("host", _host(target)), ("content-type", "application/json")]
        self._headers = [*headers, *_credentials(token)]
        self._http: HttpConnection | None = None
        self._used = 0.0
        self._turn = asyncio.Lock()

    async def publish(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Publish; return the frame with which a WebSocket would answer, without its `ref`."""
        from wsctl.client.http_connection import fetch

        async with self._turn:
            try:
                async with asyncio.timeout(OPEN_TIMEOUT):
                    http = await self._connected()
            except OSError as error:
                return _error(UNREACHABLE, f"not sent: {error or 'no answer in time'}")
            body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    answer, told = await fetch(http, "POST", self._path, self._headers, body)
            except OSError as error:
                http.close()
                why = str(error) or "no answer in time"
                return _error(ErrorCode.UNCONFIRMED, f"{why}: it may have been published")
            except BaseException:
                http.close()
                raise
            self._used = asyncio.get_running_loop().time()
            return _frame(answer, told)

    async def _connected(self) -> "HttpConnection":
        from wsctl.client.http_connection import connect_http

        fresh = asyncio.get_running_loop().time() - self._used < KEPT_FOR
        if self._http and self._http.reusable and fresh:
            return self._http
        self.close()
        self._http = await connect_http(self._target, trusted)
        return self._http

    def close(self) -> None:
        """Hang up."""
        if self._http:
            self._http.close()
            self._http = None


def _error(code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "code": code, "message": message}


def _frame(answer: "Answer", body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
        if answer.status == 200:
            return {"type": "ok", **told}
        return _error(str(told["error"]["code"]), str(told["error"]["message"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        unknown = answer.status == 200 or answer.status >= 500
        code = ErrorCode.UNCONFIRMED if unknown else UNREACHABLE
        return _error(code, f"what answers to POST /publish is no wsctl server: {answer.status}")


class _Answer(str):
    """A frame that answers a command: the stream itself has no such."""

    __slots__ = ()


class EventStreamConnection:
    """A stream that was accepted; see `ClientTransport`. When it is over, what was sent before is still
    answered.

    Attributes:
        retry: the seconds after which the server wants its client to connect again; None where it has said
            nothing, or the client left.
    """

    subprotocol = COMMANDS

    def __init__(self, http: "HttpConnection", body: "BodyReader", publishing: Publishing) -> None:
        self.close_timeout: float | None = None
        self._http = http
        self._publishing = publishing
        self._parser = EventParser()
        self._frames: deque[str | Wish] = deque()
        self._news: asyncio.Future[None] | None = None
        self._closed: Close | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False
        self._we_left = False
        self._paused = False
        self._settling: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        self._watch = loop.call_later(SILENCE, self._check_silence)
        body.hand_over(self._receive, self._end)

    @property
    def state(self) -> State:
        return State.CLOSED if self._over else State.OPEN

    @property
    def retry(self) -> float | None:
        return None if self._we_left else self._parser.retry

    async def recv(self) -> str | Wish:
        """Return the next frame, or wish.

        Raises:
            ConnectionClosed: there is none and will be none.
        """
        while not self._frames:
            if self._over and not self._tasks:
                raise self._closing_error()
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        frame = self._frames.popleft()
        if self._paused and len(self._frames) < MOST_READ // 2:
            self._paused = False
            self._heard = asyncio.get_running_loop().time()
            self._http.resume()
        return frame

    async def send(self, message: str) -> None:
        """Begin to carry out a command, in the order of the calls; the answer is among the frames.

        Raises:
            ConnectionClosed: the stream is over.
        """
        if self._over:
            raise self._closing_error()
        fields = json.loads(message)
        kind, ref = fields.pop("type"), fields.pop("ref", None)
        if kind == "publish":
            task = asyncio.create_task(self._publish(fields, ref))
            self._tasks.add(task)
            task.add_done_callback(self._published)
            if len(self._tasks) > MOST_UNDER_WAY:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            return
        if kind in ("subscribe", "unsubscribe") and not fields.get("events"):
            self.wish(Wish(kind, fields, ref))
        else:
            self.answer(_error(ErrorCode.UNKNOWN_COMMAND, NOT_OVER_A_STREAM), ref)

    async def _publish(self, fields: dict[str, Any], ref: int | str | None) -> None:
        frame = await self._publishing.publish(fields)
        if not (self._over and frame.get("code") in (UNREACHABLE, ErrorCode.UNCONFIRMED)):
            self.answer(frame, ref)  # else the end of the stream says as much

    def _published(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._over and not self._tasks:
            self._settled()

    def answer(self, frame: dict[str, Any], ref: int | str | None) -> None:
        """Have a frame read that answers a command."""
        self._put(_Answer(json.dumps(frame if ref is None else {**frame, "ref": ref})))

    def wish(self, wish: Wish) -> None:
        """Have whoever reads look after a wish."""
        self._put(wish)

    async def close(self) -> None:
        """Leave, and wait for the answers to what was sent."""
        if not self._over:
            self._we_left = True
            self._closed = Close(CloseCode.NORMAL, "")
            self._end(None)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def leave(self) -> None:
        """Leave for a connection that begins where this one was read to: nothing is read here any more but
        the answers to what was sent."""
        self._frames = deque(frame for frame in self._frames if isinstance(frame, _Answer))
        self._we_left = True
        if not self._over:
            self._end(None)

    def _receive(self, data: bytes) -> None:
        self._heard = asyncio.get_running_loop().time()
        for event in self._parser.feed(data):
            self._take(event)
        if self._parser.pending > MAX_FRAME:
            self._closed = Close(CloseCode.MESSAGE_TOO_BIG, "an event without an end")
            self._end(None)
        if len(self._frames) > MOST_READ and not self._paused:
            self._paused = True
            self._http.pause()

    def _take(self, event: ServerSentEvent) -> None:
        if self._over:
            return
        if event.type != "close":
            self._put(event.data)
            return
        with suppress(ValueError, LookupError, TypeError):
            told = json.loads(event.data)
            self._closed = Close(int(told["code"]), str(told["reason"]))
            self._end(None)

    def _put(self, frame: str | Wish) -> None:
        self._frames.append(frame)
        self._wake()

    def _wake(self) -> None:
        if self._news and not self._news.done():
            self._news.set_result(None)

    def _end(self, error: "HttpError | None") -> None:
        if self._over:
            return
        self._over = True
        self._watch.cancel()
        self._http.close()
        if self._tasks:
            self._settling = asyncio.get_running_loop().call_later(SETTLE, self._give_up)
        else:
            self._settled()

    def _give_up(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _settled(self) -> None:
        if self._settling:
            self._settling.cancel()
        self._publishing.close()
        self._wake()

    def _check_silence(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._heard + SILENCE - loop.time()
        if left <= 0 and not self._paused:
            self._end(None)
        else:
            self._watch = loop.call_later(max(left, 1.0), self._check_silence)

    def _closing_error(self) -> ConnectionClosedOK | ConnectionClosedError:
        if self._closed and self._closed.code in (CloseCode.NORMAL, CloseCode.GOING_AWAY):
            return ConnectionClosedOK(self._closed, self._closed, True)
        return ConnectionClosedError(self._closed, None, None)
