"""Many clients that agree on what they saw: a cheap proof that nobody missed, repeated or reordered anything.

All get the same messages, byte for byte, from whichever server. So the first to see one writes it down, and
the others must see just that next.
"""

import asyncio
import json
import time
from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tests.support import frames
from tests.support.raw import handshake, masked
from tests.support.server import DEADLINE
from wsctl.frame import TEXT

RETRY = 0.2
"""Seconds until a client that was not let in tries the next port."""

AT_ONCE = 50
"""Clients that connect at a time: more than the kernel's queue holds would have to try again."""

MESSAGE = b'{"type":"message","id":"'


def order(message_id: str) -> tuple[int, ...]:
    """The place of a message in the log, by which ids are sorted."""
    return tuple(map(int, message_id.split("-")))


class Crowd:
    """Clients of the servers at some ports. With one `port` that stays, a disconnection is a fault; else they
    come back, at the next port, and resume. All must be connected before the first message that counts.

    Attributes:
        ports: where they connect, one after the other.
        stream: the frames of all messages, as they were written.
        ids: of these messages.
        faults: what one of them saw that it must not, in words.
        refusals: errors that they were told.
        resumed: how often one of them came back.
        silence: the longest time in seconds in which a client got nothing, between two pieces of data.
    """

    def __init__(self, *ports: int, resumes: bool = False) -> None:
        self.ports = list(ports)
        self.resumes = resumes
        self.stream = bytearray()
        self.ends = [0]
        self.ids: list[str] = []
        self.faults: list[str] = []
        self.refusals: list[str] = []
        self.resumed = 0
        self.silence = 0.0
        self.clients: list[CrowdClient] = []
        self.leaving = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    async def __aenter__(self) -> "Crowd":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leaving = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self.clients:
            if client.transport:
                client.transport.abort()
        await self.until(lambda: not any(client.transport for client in self.clients))

    async def join(self, count: int) -> None:
        """Connect so many more clients, evenly; each has been welcomed when this returns."""
        for _ in range(count):
            client = self.make(len(self.clients))
            self.clients.append(client)
            self.start(client, 0.0)
            if len(self.clients) % AT_ONCE == 0:
                await self.until(self._complete)
        await self.until(self._complete)

    def make(self, number: int) -> "CrowdClient":
        """The client with this number."""
        return CrowdClient(self, number)

    async def talk(self, rate: float, over: asyncio.Event) -> int:
        """Have the clients send "i0", "i1", ... in turn, so many a second; returns how many were sent."""
        n, due = 0, time.monotonic()
        while not over.is_set():
            n += self.clients[n % len(self.clients)].send(f"i{n}")
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        return n

    async def level(self, messages: int) -> None:
        """Wait until all have seen so many messages, or however many there are by then."""
        await self.until(lambda: len(self.ids) >= messages and self._level())

    async def level_at(self, data: str) -> None:
        """Wait until all have seen everything, of which the last is `data`."""
        last = json.dumps(data).encode()
        await self.until(lambda: last in self.stream and self._level())

    def data(self) -> list[Any]:
        """What was published, in the order seen."""
        payloads = (self.stream[begin:end] for begin, end in pairwise(self.ends))
        return [json.loads(frame[frame.index(b"{") :])["data"] for frame in payloads]

    def positions(self) -> list[tuple[int, ...]]:
        """The ids as numbers, which are in order where the messages are."""
        return [*map(order, self.ids)]

    def start(self, client: "CrowdClient", after: float) -> None:
        """Let a client connect after so many seconds."""
        task = asyncio.create_task(client.connect(after))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def note(self, frame: bytes, payload: bytes) -> None:
        """Write down a message that one of them is the first to see."""
        frames.read(payload)
        self.stream += frame
        self.ends.append(len(self.stream))
        self.ids.append(payload[len(MESSAGE) :].partition(b'"')[0].decode())

    def changed(self) -> None:
        self._news.set()

    async def until(self, seen: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                while not seen():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{self.behind()}, {self.faults[:3]}") from None

    def behind(self) -> str:
        """Who is behind, for people."""
        behind = [(c.name, c.seen, c.welcomed) for c in self.clients if c.seen < len(self.stream)]
        return f"of {len(self.stream)} bytes: {behind[:5]}"

    def _complete(self) -> bool:
        return all(client.welcomed for client in self.clients)

    def _level(self) -> bool:
        return all(client.seen == len(self.stream) for client in self.clients)


class CrowdClient(asyncio.Protocol):
    """One of them."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.crowd = crowd
        self.name = f"c{number}"
        self.transport: asyncio.Transport | None = None
        self.welcomed = False
        self.seen = 0
        self._first = ""
        self._next = number
        self._rest = b""
        self._head: bytearray | None = None
        self._last = 0.0

    async def connect(self, after: float) -> None:
        """Connect, at a port that is not the last one, however long it takes."""
        while True:
            await asyncio.sleep(after)
            port = self.crowd.ports[self._next % len(self.crowd.ports)]
            self._next += 1
            try:
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
            except OSError:
                after = RETRY
            else:
                return

    def send(self, text: str) -> bool:
        """Send a message; returns whether it was connected just then."""
        if self.welcomed and self.transport:
            self.transport.write(masked(TEXT, text.encode()))
        return self.welcomed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._head, self._rest = bytearray(), b""
        transport.write(self._handshake())

    def _handshake(self) -> bytes:
        # Of a message that was cut off, nothing was seen.
        whole = bisect_right(self.crowd.ends, self.seen) - 1
        self.seen = self.crowd.ends[whole]
        since = self.crowd.ids[whole - 1] if whole else self._first
        query = f"?since={since}" if since and self.crowd.resumes else ""
        return handshake(f"/ws/{self.name}{query}")

    def data_received(self, data: bytes) -> None:
        behind_head = self._behind_head(data)
        if behind_head is None:
            return
        self._receive(behind_head)
        self.crowd.changed()

    def _behind_head(self, data: bytes) -> bytes | None:
        """What of it is behind the answer to the handshake; None while that is not there."""
        if self._head is not None:
            self._head += data
            head, found, rest = bytes(self._head).partition(b"\r\n\r\n")
            if not found:
                return None
            if b" 101 " not in head:
                if self.transport:
                    self.transport.close()  # a proxy may keep it open
                return None
            self._head = None
            return rest
        if not self.crowd.resumes:
            now = time.monotonic()
            self.crowd.silence = max(self.crowd.silence, now - (self._last or now))
            self._last = now
        return data

    def _receive(self, data: bytes) -> None:
        if not self._rest and self.crowd.stream.startswith(data, self.seen):
            self.seen += len(data)
        else:
            self._take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport, self.welcomed = None, False
        if not self.crowd.leaving:
            if self.crowd.resumes:
                self.crowd.start(self, RETRY)
            else:
                self.crowd.faults.append(f"{self.name} was disconnected")
        self.crowd.changed()

    def _take(self, data: bytes) -> None:
        """Go through it frame by frame, from the last one of which everything was seen."""
        crowd = self.crowd
        begin = crowd.ends[bisect_right(crowd.ends, self.seen) - 1]
        data = bytes(crowd.stream[begin : self.seen]) + self._rest + data
        self.seen = begin
        at = 0
        while (frame := frame_at(data, at)) is not None:
            end, payload = frame
            if payload.startswith(MESSAGE):
                self._compare(data[at:end], payload)
            else:
                self._read(data[at], payload)
            at = end
        self._rest = data[at:]

    def _compare(self, frame: bytes, payload: bytes) -> None:
        crowd = self.crowd
        if self.seen == len(crowd.stream):
            crowd.note(frame, payload)
        elif not crowd.stream.startswith(frame, self.seen):
            expected = bytes(crowd.stream[self.seen : self.seen + 80])
            crowd.faults.append(f"{self.name} saw {frame[:80]!r} where others saw {expected!r}")
        self.seen += len(frame)

    def _read(self, first: int, payload: bytes) -> None:
        """Read a frame that is no message."""
        crowd = self.crowd
        if first == 0x88:
            code = int.from_bytes(payload[:2])
            if code not in (1001, 1012):
                crowd.faults.append(f"{self.name} was closed: {payload!r}")
            if self.transport:
                self.transport.close()
            return
        if first != 0x81:
            return
        self._hear(frames.read(payload))

    def _hear(self, frame: dict[str, Any]) -> None:
        """Hear what the server says that is no message."""
        crowd = self.crowd
        match frame["type"]:
            case "welcome":
                self._welcome(frame)
            case "error":
                crowd.refusals.append(frame["message"])
                if frame["code"] not in ("degraded", "unconfirmed"):
                    crowd.faults.append(f"{self.name}: {frame}")
            case "shutdown" if frame.get("reconnect_in_s") is not None and self.transport:
                asyncio.get_running_loop().call_later(frame["reconnect_in_s"], self.transport.close)

    def _welcome(self, frame: dict[str, Any]) -> None:
        if frame.get("recovered") is False:
            self.crowd.faults.append(f"{self.name} was told that it missed something: {frame}")
        self.crowd.resumed += frame.get("recovered") is True and not self.welcomed
        self._first = self._first or frame["id"]
        self.welcomed = True


def frame_at(data: bytes, at: int) -> tuple[int, bytes] | None:
    """The frame that begins at `at`: its end and its payload; None while not all of it is there."""
    if len(data) < at + 2:
        return None
    size, begin = data[at + 1], at + 2
    for mark, length in ((126, 2), (127, 8)):
        if data[at + 1] == mark:
            size, begin = int.from_bytes(data[begin : begin + length]), begin + length
    end = begin + size
    return None if len(data) < end else (end, data[begin:end])
