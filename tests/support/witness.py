"""Many clients that agree on what they saw: a cheap proof that nobody missed, repeated or reordered anything.

Whoever is connected gets the same frames, byte for byte. So the first to see a frame writes it down, and
everybody else must see just that next.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

from tests.support import frames
from tests.support.raw import handshake, masked
from tests.support.server import DEADLINE
from wsctl.hub.frame import TEXT, Batch


class Witness:
    """Clients on one port. All must be connected before the first message that counts.

    Attributes:
        stream: the frames since then, as they were written.
        faults: what one of them saw that it must not, in words.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.stream = bytearray()
        self.faults: list[str] = []
        self.clients: list[WitnessClient] = []
        self.news = asyncio.Event()

    async def __aenter__(self) -> "Witness":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def join(self, count: int) -> None:
        """Connect so many more clients, each of which has been welcomed when this returns."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            client = WitnessClient(self, len(self.clients))
            await loop.create_connection(lambda made=client: made, "127.0.0.1", self.port)  # type: ignore[misc]
            self.clients.append(client)
            if len(self.clients) % 50 == 0:
                await self._welcomed()
        await self._welcomed()

    async def level(self, messages: int) -> None:
        """Wait until everybody has seen so many messages, or nothing more comes."""
        async with asyncio.timeout(DEADLINE):
            while self.messages < messages or any(c.seen < len(self.stream) for c in self.clients):
                await self._change()

    @property
    def messages(self) -> int:
        return self.stream.count(b'{"type":"message",')

    def data(self) -> list[Any]:
        """What was published, in the order seen."""
        return [frames.read(payload)["data"] for payload in Batch.read(bytes(self.stream)).payloads]

    def ids(self) -> list[tuple[int, int]]:
        found = re.findall(rb'"type":"message","id":"(\d+)-(\d+)"', self.stream)
        return [(int(ms), int(sequence)) for ms, sequence in found]

    @property
    def silence(self) -> float:
        """The longest time in seconds in which one of them got nothing, between two pieces of data."""
        return max(client.silence for client in self.clients)

    async def close(self) -> None:
        """Let all of them go. What they were sent was as it must be."""
        for client in self.clients:
            client.leaving = True
            client.transport.abort()
        async with asyncio.timeout(DEADLINE):
            while not all(client.gone for client in self.clients):
                await self._change()
        self.data()

    async def _welcomed(self) -> None:
        async with asyncio.timeout(DEADLINE):
            while not all(client.welcomed for client in self.clients):
                await self._change()

    async def _change(self) -> None:
        self.news.clear()
        await self.news.wait()


class WitnessClient(asyncio.Protocol):
    """One of them."""

    def __init__(self, witness: Witness, number: int) -> None:
        self.witness = witness
        self.name = f"w{number}"
        self.transport: asyncio.Transport
        self.seen = 0
        self.welcomed = False
        self.leaving = self.gone = False
        self.silence = 0.0
        self._last = 0.0
        self._head = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.write(handshake(f"/ws/{self.name}"))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if self._last:
            self.silence = max(self.silence, now - self._last)
        if not self.welcomed:
            data = self._after_welcome(data)
            self.witness.news.set()
            if not data:
                return
        self._last = now
        self._compare(data)
        self.witness.news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self.witness.news.set()
        if not self.leaving:
            self.witness.faults.append(f"{self.name} was disconnected")

    def send(self, text: str) -> None:
        self.transport.write(masked(TEXT, text.encode()))

    def _after_welcome(self, data: bytes) -> bytes:
        self._head += data
        _, found, rest = self._head.partition(b"\r\n\r\n")
        if not found or len(rest) < 2 or len(rest) < _size(rest):
            return b""
        frames.read(rest[_size(rest) - _payload(rest) : _size(rest)])
        self.welcomed = True
        self.seen = len(self.witness.stream)
        return bytes(rest[_size(rest) :])

    def _compare(self, data: bytes) -> None:
        stream = self.witness.stream
        known = len(stream) - self.seen
        if known < len(data):
            if not stream.startswith(data[:known], self.seen):
                self._complain(data)
            stream += data[known:]
        elif not stream.startswith(data, self.seen):
            self._complain(data)
        self.seen += len(data)

    def _complain(self, data: bytes) -> None:
        expected = bytes(self.witness.stream[self.seen : self.seen + 80])
        self.witness.faults.append(f"{self.name} saw {data[:80]!r} where others saw {expected!r}")


def _size(frame: Sequence[int]) -> int:
    """Bytes of the small frame that begins here."""
    return (2 if frame[1] < 126 else 4) + _payload(frame)


def _payload(frame: Sequence[int]) -> int:
    """Bytes of its payload, which it ends with."""
    assert frame[1] < 127
    return frame[1] if frame[1] < 126 else int.from_bytes(bytes(frame[2:4]))
