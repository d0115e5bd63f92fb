"""Many clients that go where they are let and resume there: a cheap proof that nobody missed, repeated or
reordered anything.

Everybody gets the same messages, byte for byte, from whichever server. So the first to see one writes it
down, and everybody else must see just that next.
"""

import asyncio
import json
from bisect import bisect_right
from itertools import pairwise
from typing import Any

from tests.support import frames
from tests.support.raw import handshake, masked
from tests.support.server import DEADLINE
from wsctl.hub.frame import TEXT

RETRY = 0.2
"""Seconds until a client that was not let in knocks at the next door."""

MESSAGE = b'{"type":"message","id":"'


class Roamers:
    """Clients of servers at some ports, of which each may come and go.

    Attributes:
        ports: where they knock, one after the other.
        stream: the frames of all messages, as they were written.
        faults: what one of them saw that it must not, in words.
        refusals: errors that they were told.
        resumed: how often one of them came back.
    """

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.stream = bytearray()
        self.ends = [0]
        self.ids: list[str] = []
        self.faults: list[str] = []
        self.refusals: list[str] = []
        self.resumed = 0
        self.clients: list[Roamer] = []
        self.leaving = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    async def __aenter__(self) -> "Roamers":
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
            client = Roamer(self, len(self.clients))
            self.clients.append(client)
            client.knock()
        await self.until(lambda: all(client.welcomed for client in self.clients))

    async def level(self, data: str) -> None:
        """Wait until everybody has seen everything, of which the last is `data`."""
        last = json.dumps(data).encode()
        await self.until(
            lambda: last in self.stream and all(c.seen == len(self.stream) for c in self.clients),
        )

    def start(self, client: "Roamer", after: float) -> None:
        task = asyncio.create_task(client.connect(after))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def note(self, frame: bytes, payload: bytes) -> None:
        """The first of them has got one more message."""
        frames.read(payload)
        self.stream += frame
        self.ends.append(len(self.stream))
        self.ids.append(payload[len(MESSAGE) :].partition(b'"')[0].decode())

    def data(self) -> list[Any]:
        """What was published, in the order seen."""
        payloads = (self.stream[begin:end] for begin, end in pairwise(self.ends))
        return [json.loads(frame[frame.index(b"{") :])["data"] for frame in payloads]

    def changed(self) -> None:
        self._news.set()

    async def until(self, seen: Any) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                while not seen():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            behind = [(c.name, c.seen, c.welcomed) for c in self.clients if c.seen < len(self.stream)]
            raise AssertionError(f"of {len(self.stream)} bytes: {behind[:5]}, {self.faults[:3]}") from None


class Roamer(asyncio.Protocol):
    """One of them."""

    def __init__(self, roamers: Roamers, number: int) -> None:
        self.roamers = roamers
        self.name = f"r{number}"
        self.transport: asyncio.Transport | None = None
        self.welcomed = False
        self.seen = 0
        self._first = ""
        self._door = number
        self._rest = b""
        self._head: bytearray | None = None

    def knock(self, after: float = 0.0) -> None:
        """Connect, at a door that is not the last one."""
        self.roamers.start(self, after)

    async def connect(self, after: float) -> None:
        """Knock until somebody is there."""
        while True:
            await asyncio.sleep(after)
            port = self.roamers.ports[self._door % len(self.roamers.ports)]
            self._door += 1
            try:
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
            except OSError:
                after = RETRY
            else:
                return

    def send(self, text: str) -> bool:
        """Whether it was connected just then."""
        if self.welcomed and self.transport:
            self.transport.write(masked(TEXT, text.encode()))
        return self.welcomed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._head, self._rest = bytearray(), b""
        # Of a message that was cut off, nothing was seen.
        whole = bisect_right(self.roamers.ends, self.seen) - 1
        self.seen = self.roamers.ends[whole]
        since = self.roamers.ids[whole - 1] if whole else self._first
        transport.write(handshake(f"/ws/{self.name}" + (f"?since={since}" if since else "")))

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, found, rest = bytes(self._head).partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head:
                if self.transport:
                    self.transport.close()  # a proxy may keep it open
                return
            self._head, data = None, rest
        if not self._rest and self.roamers.stream.startswith(data, self.seen):
            self.seen += len(data)
        else:
            self._take(data)
        self.roamers.changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport, self.welcomed = None, False
        if not self.roamers.leaving:
            self.knock(RETRY)
        self.roamers.changed()

    def _take(self, data: bytes) -> None:
        """Frame by frame, from the last one of which everything was seen."""
        roamers = self.roamers
        begin = roamers.ends[bisect_right(roamers.ends, self.seen) - 1]
        data = bytes(roamers.stream[begin : self.seen]) + self._rest + data
        self.seen = begin
        at = 0
        while (frame := _frame(data, at)) is not None:
            end, payload = frame
            if payload.startswith(MESSAGE):
                self._compare(data[at:end], payload)
            else:
                self._hear(data[at], payload)
            at = end
        self._rest = data[at:]

    def _compare(self, frame: bytes, payload: bytes) -> None:
        roamers = self.roamers
        if self.seen == len(roamers.stream):
            roamers.note(frame, payload)
        elif not roamers.stream.startswith(frame, self.seen):
            expected = bytes(roamers.stream[self.seen : self.seen + 80])
            roamers.faults.append(f"{self.name} saw {frame[:80]!r} where others saw {expected!r}")
        self.seen += len(frame)

    def _hear(self, first: int, payload: bytes) -> None:
        """What is no message."""
        roamers = self.roamers
        if first == 0x88:
            code = int.from_bytes(payload[:2])
            if code not in (1001, 1012):
                roamers.faults.append(f"{self.name} was closed: {payload!r}")
            if self.transport:
                self.transport.close()
            return
        if first != 0x81:
            return
        told = frames.read(payload)
        match told["type"]:
            case "welcome":
                self._welcome(told)
            case "error":
                roamers.refusals.append(told["message"])
                if told["code"] != "degraded":
                    roamers.faults.append(f"{self.name}: {told}")
            case "shutdown" if told.get("reconnect_in_s") is not None and self.transport:
                asyncio.get_running_loop().call_later(told["reconnect_in_s"], self.transport.close)

    def _welcome(self, told: dict[str, Any]) -> None:
        if told.get("recovered") is False:
            self.roamers.faults.append(f"{self.name} was told that it missed something: {told}")
        self.roamers.resumed += told.get("recovered") is True and not self.welcomed
        self._first = self._first or told["id"]
        self.welcomed = True


def _frame(data: bytes, at: int) -> tuple[int, bytes] | None:
    """Where the frame that begins at `at` ends, and its payload; None while not all of it is there."""
    if len(data) < at + 2:
        return None
    size, begin = data[at + 1], at + 2
    for mark, length in ((126, 2), (127, 8)):
        if data[at + 1] == mark:
            size, begin = int.from_bytes(data[begin : begin + length]), begin + length
    end = begin + size
    return None if len(data) < end else (end, data[begin:end])
