"""The load: many connections in this process, by epoll, of which the first one publishes."""

import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import perf_counter

from tests.bench.connections import CHUNK, Connections
from tests.bench.frames import broadcast, frame
from tests.bench.peer import GREETED, Speech
from tests.bench.stream import Payloads, Stream

STALL = 5.0
"""Seconds without a byte after which the server counts as stuck."""


@dataclass(frozen=True)
class Run:
    """What came of some broadcasts: how many reached everybody, in how many seconds."""

    broadcasts: int
    seconds: float
    stalled: bool


class Load:
    """Connections to one server, and how far each has got."""

    def __init__(
        self, port: int, *, speech: Speech = GREETED, deflate: bool = False, first: str = "pub"
    ) -> None:
        self.stream = Stream(streamed=speech.streamed)
        self._connections = Connections(port, speech=speech, deflate=deflate, first=first)
        self._speech = speech
        self._payloads: defaultdict[int, Payloads] = defaultdict(Payloads)
        self._at: dict[int, int] = {}
        self._standing: defaultdict[int, int] = defaultdict(int)
        self._sent: list[float] = []
        self._completed = 0
        self._overhead = 0
        (self._publisher,) = self._enter(1)

    def __len__(self) -> int:
        return len(self._at)

    @property
    def fds(self) -> list[int]:
        """The descriptors of those that read, oldest first."""
        return list(self._at)

    @property
    def deflated(self) -> bool:
        """Whether the server agreed to compress."""
        return self._connections.deflated

    @property
    def outstanding(self) -> int:
        """Broadcasts that not everybody has yet."""
        return len(self._sent) - self._completed

    def connect(self, count: int) -> float:
        """Open so many more connections; returns the seconds it took.

        Raises:
            ConnectionError: the server refused one or said nothing for too long.
        """
        begun = perf_counter()
        self._enter(count)
        return perf_counter() - begun

    def connect_idlers(self, count: int) -> list[int]:
        """Open connections that never read, and take little into their buffers; returns their descriptors."""
        fds = self._connections.open(count, small_buffer=True)
        for fd in fds:
            self._connections.epoll.unregister(fd)
        return fds

    def close(self) -> None:
        """Hang up all, those that do not read too."""
        self._connections.close_all()

    def calibrate(self) -> None:
        """Learn how much the server puts around a text, so that all deliver the same size."""
        self.publish(0)
        self._await_all()
        self._overhead = self.stream.size - 10

    def publish_by(self, other: "Load") -> None:
        """Let the first connection of another load publish, maybe at another server. That one is not read."""
        self._publisher = other._publisher

    def publish(self, size: int, filler: bytes = b"x") -> None:
        """Send one broadcast that is delivered with a payload of `size` bytes.

        A quote in the filler makes it one longer where the server sends JSON.
        """
        text = broadcast(len(self._sent), max(10, size - self._overhead), filler)
        data = frame(self._speech.kind, self._speech.publication(text))
        self._sent.append(perf_counter())
        if os.write(self._publisher, data) < len(data):
            raise ConnectionError("the server does not read what is published")

    def pump(
        self,
        publish: Callable[[], None],
        *,
        seconds: float = inf,
        count: float = inf,
        window: int = 1,
        between: Callable[[], None] = lambda: None,
    ) -> Run:
        """Publish with up to `window` broadcasts outstanding, for a time or a number, and wait for the last.

        `between` is called whenever another broadcast has reached everybody.
        """
        first, done = len(self._sent), self._completed
        begun = last = perf_counter()
        while True:
            now = perf_counter()
            while now - begun < seconds and len(self._sent) - first < count and self.outstanding < window:
                publish()
            if not self.outstanding:
                return Run(self._completed - done, now - begun, stalled=False)
            before = self._completed
            if self.receive():
                last = now
            elif now - last > STALL:
                return Run(self._completed - done, now - begun, stalled=True)
            if self._completed > before:
                between()

    def pace(self, publish: Callable[[], None], rate: float, seconds: float) -> list[float]:
        """Publish at a rate, and return each delivery's seconds from publishing to receipt."""
        latencies: list[float] = []
        begun = perf_counter()
        for n in range(round(rate * seconds)):
            while perf_counter() < begun + n / rate:
                self.receive(latencies)
            publish()
        self._await_all(latencies)
        return latencies

    def receive(self, latencies: list[float] | None = None) -> bool:
        """Take what has come, without waiting; whether anything had."""
        ready = self._connections.epoll.poll(0)
        data, at, standing, streamed = self.stream.data, self._at, self._standing, self._speech.streamed
        for fd, _ in ready:
            chunk = _read(fd)
            if not chunk:
                self._drop(fd)
                raise ConnectionError("a connection was closed")
            if streamed:
                chunk = self._payloads[fd].take(chunk)
            old = at[fd]
            new: int | None = old + len(chunk)
            if not data.startswith(chunk, old):
                new = self.stream.follow(old, chunk)
            if new is None:
                self._drop(fd)
                raise ConnectionError("a connection got other data")
            at[fd] = new
            standing[new] += 1
            standing[old] -= 1
            if not standing[old]:
                del standing[old]
            if latencies is not None:
                self._note(old, new, latencies)
        if ready:
            self._completed = self.stream.completed(min(standing))
        return bool(ready)

    def _enter(self, count: int) -> list[int]:
        """New connections, at least one, stand where the next broadcast will begin."""
        fds = self._connections.open(count)
        end = len(self.stream.data)
        self._at.update(dict.fromkeys(fds, end))
        self._standing[end] += count
        return fds

    def _drop(self, fd: int) -> None:
        at = self._at.pop(fd)
        self._standing[at] -= 1
        if not self._standing[at]:
            del self._standing[at]
        self._payloads.pop(fd, None)
        self._connections.close(fd)

    def _note(self, old: int, new: int, latencies: list[float]) -> None:
        now = perf_counter()
        whole = slice(self.stream.completed(old), self.stream.completed(new))
        latencies += [now - sent for sent in self._sent[whole]]

    def _await_all(self, latencies: list[float] | None = None) -> None:
        last = perf_counter()
        while self.outstanding:
            if self.receive(latencies):
                last = perf_counter()
            elif perf_counter() - last > STALL:
                raise ConnectionError("a broadcast did not reach everybody")


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, CHUNK)
    except ConnectionResetError:
        return b""
