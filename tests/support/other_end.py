"""The far end of a channel, where a test says what the other process would."""

import asyncio
import gc
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.server import DEADLINE
from wsctl.ipc.channel import Channel
from wsctl.ipc.framing import Packet, close_all

Pair = tuple[socket.socket, socket.socket]


def small_pair() -> Pair:
    """Two ends of a socket that holds little."""
    one, other = socket.socketpair()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return one, other


def pipes(count: int) -> list[int]:
    """So many descriptors, each of something of its own."""
    ends = [os.pipe() for _ in range(count)]
    close_all([writing for _, writing in ends])
    return [reading for reading, _ in ends]


class OtherEnd:
    """Takes whatever comes. To be made on a running loop; the socket is its own.

    Attributes:
        heard: all packets that came, in order.
        hung_up: why nothing can come any more, once that is so.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.heard: list[Packet] = []
        self.hung_up: str | None = None
        self._sock = sock
        self._taken = 0
        self._news = asyncio.Event()
        self._channel = Channel(sock, self._take, self._broken)

    @property
    def kinds(self) -> list[str]:
        return [packet.kind for packet in self.heard]

    def say(
        self, kind: str, blobs: Sequence[bytes] = (), fds: Sequence[int] = (), /, **fields: object
    ) -> None:
        self._channel.send(kind, fields, blobs, fds)

    async def hear(self, kind: str) -> Packet:
        """The next packet of a kind, waited for."""
        async with asyncio.timeout(DEADLINE):
            while (packet := self._next(kind)) is None:
                assert self.hung_up is None, f"{self.hung_up}, and only {self.kinds} came"
                self._news.clear()
                await self._news.wait()
        return packet

    async def end(self) -> str:
        """Why nothing comes any more, waited for."""
        async with asyncio.timeout(DEADLINE):
            while self.hung_up is None:
                self._news.clear()
                await self._news.wait()
        return self.hung_up

    def hang_up(self) -> None:
        self._channel.close()

    def garble(self) -> None:
        """Say what is no packet."""
        self._sock.send(b"GET / HTTP/1.1\r\n\r\n")

    def dispose(self) -> None:
        """Hang up, and close the descriptors that came."""
        self._channel.close()
        for packet in self.heard:
            close_all(packet.fds)
            packet.fds.clear()

    def _next(self, kind: str) -> Packet | None:
        for n, packet in enumerate(self.heard[self._taken :], self._taken):
            if packet.kind == kind:
                self._taken = n + 1
                return packet
        return None

    def _take(self, packet: Packet) -> None:
        self.heard.append(packet)
        self._news.set()

    def _broken(self, why: str) -> None:
        self.hung_up = why
        self._news.set()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Fails when a descriptor more is open at the end; does nothing where they cannot be counted."""
    before = _descriptors()
    yield
    if _descriptors().items() - before.items():
        gc.collect()  # which takes a tenth of a second, and is seldom needed
    assert not _descriptors().items() - before.items()


def open_descriptors() -> dict[str, Any]:
    """What each open descriptor of this process is; the test is skipped where that cannot be told."""
    gc.collect()
    return _descriptors()


def _descriptors() -> dict[str, Any]:
    """The same, with those that nobody can reach any more."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the listing's own
            continue
    return found
