"""A reader of event streams by the rules of the HTML standard (section 9.2.6), and of bodies in chunks."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, NamedTuple

from tests.support.server import DEADLINE


class Event(NamedTuple):
    """An event as a page gets it: `last_id` is what its client would send in Last-Event-ID behind it."""

    type: str
    data: str
    last_id: str


class Read(NamedTuple):
    """What a stream was found to say: its events, the last time to connect again, in milliseconds, and what
    is left of an unfinished event."""

    events: list[Event]
    retry: int | None
    rest: str


def read_events(stream: bytes, last_id: str = "") -> Read:
    """Read a stream as the standard says; `last_id` is the id of the stream before."""
    text = stream.decode(errors="replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    blocks = text.split("\n\n")
    events: list[Event] = []
    retry: int | None = None
    for block in blocks[:-1]:
        kind, data = "", ""
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                kind = value
            elif name == "data":
                data += value + "\n"
            elif name == "id" and "\0" not in value:
                last_id = value
            elif name == "retry" and value.isascii() and value.isdigit():
                retry = int(value)
        if data:
            events.append(Event(kind or "message", data.removesuffix("\n"), last_id))
    return Read(events, retry, blocks[-1])


def dechunked(body: bytes) -> tuple[bytes, bytes | None]:
    """Read a body in chunks as far as it has come; return it, and what stands behind its last chunk, None
    before that has come (RFC 9112 section 7.1)."""
    found = b""
    while b"\r\n" in body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            assert rest.startswith(b"\r\n"), rest
            return found, rest[2:]
        found += rest[:length]
        if len(rest) < length + 2:
            break
        assert rest[length : length + 2] == b"\r\n", rest[length:]
        body = rest[length + 2 :]
    return found, None


def body_of(answer: bytes) -> bytes:
    """The body of an answer in chunks, as far as it has come."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower(), head
    return dechunked(body)[0]


def messages_of(events: Iterable[Event]) -> list[Any]:
    """The data of the messages among events."""
    return [json.loads(event.data)["data"] for event in events if event.type == "message"]


class StreamClient:
    """A client of an event stream on a real server, by hand: nothing reconnects by itself.

    Attributes:
        status, headers: of the answer, names in lower case.
        events: all that have come.
        retry: the last time to connect again that came, in milliseconds.
        comments: how many comments have come.
        is_whole: whether the stream ended with its last chunk.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._chunks = b""  # of which the last is not whole
        self._event = b""  # the body behind the last whole event
        self._parts: list[bytes] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.events: list[Event] = []
        self.retry: int | None = None
        self.comments = 0
        self.is_whole = False

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        port: int,
        path: str,
        *,
        version: str = "1.1",
        behind: bytes = b"",
        tls: ssl.SSLContext | None = None,
        **headers: str,
    ) -> "AsyncIterator[StreamClient]":
        """Send a request with these headers, whose names have `_` for `-`, and `behind` behind it, and read
        the answer in the background."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        lines = {"Host": f"127.0.0.1:{port}", "Accept": "text/event-stream"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"GET {path} HTTP/{version}\r\n{head}\r\n".encode() + behind)
        client = cls(reader, writer)
        try:
            async with asyncio.timeout(DEADLINE):
                await client._read_head()
            client._task = asyncio.create_task(client._read_all())
            yield client
        finally:
            if client._task:
                client._task.cancel()
                await asyncio.wait({client._task})
            writer.transport.abort()

    @property
    def is_over(self) -> bool:
        """Whether the server has ended the connection."""
        return self._task is not None and self._task.done()

    @property
    def text(self) -> bytes:
        """The body as it came, without chunks."""
        return b"".join(self._parts)

    @property
    def last_id(self) -> str:
        return self.events[-1].last_id if self.events else ""

    def finish(self) -> None:
        """Say that nothing more will come, and go on reading."""
        self._writer.write_eof()

    async def until(self, met: Callable[["StreamClient"], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(DEADLINE):
            while not met(self):
                assert not self.is_over, self.text
                self._changed.clear()
                await self._changed.wait()

    async def event(self, kind: str) -> Any:
        """The frame of the first event of a type, waited for."""
        await self.until(lambda client: any(event.type == kind for event in client.events))
        return next(json.loads(event.data) for event in self.events if event.type == kind)

    async def messages(self, count: int) -> list[Any]:
        """The data of all messages, of which at least so many are waited for."""
        await self.until(lambda client: len(messages_of(client.events)) >= count)
        return messages_of(self.events)

    async def end(self) -> bytes:
        """The whole body, waited for until it ends; that of a stream without chunks ends with the
        connection."""
        async with asyncio.timeout(DEADLINE):
            while not (self.is_over or self.is_whole or self.status == HTTPStatus.NO_CONTENT):
                self._changed.clear()
                await self._changed.wait()
        return self.text

    async def _read_head(self) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }

    async def _read_all(self) -> None:
        try:
            while data := await self._reader.read(1 << 16):
                self._read_body(self._dechunk(data) if "transfer-encoding" in self.headers else data)
                self._changed.set()
        except OSError:
            pass
        finally:
            self._changed.set()

    def _dechunk(self, data: bytes) -> bytes:
        """Take whole chunks out of what has come, and return their data."""
        self._chunks += data
        found = b""
        while b"\r\n" in self._chunks:
            size, _, rest = self._chunks.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            assert rest[length : length + 2] == b"\r\n", rest[length:]
            found, self._chunks = found + rest[:length], rest[length + 2 :]
            if not length:
                self.is_whole = self._chunks == b""
                break
        return found

    def _read_body(self, data: bytes) -> None:
        self._parts.append(data)
        if self.headers.get("content-type") != "text/event-stream":
            return
        whole, end, rest = (self._event + data).rpartition(b"\n\n")
        self._event = rest
        read = read_events(whole + end, self.last_id)
        self.events += read.events
        self.retry = self.retry if read.retry is None else read.retry
        self.comments += f"\n{whole.decode()}\n".count("\n:\n")
