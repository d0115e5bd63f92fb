"""The client's sockets: opening many WebSockets at once, and letting them go."""

import os
import select
import socket
import struct
from collections.abc import Callable
from time import perf_counter

from tests.bench.frames import count_frames, frame, opening
from tests.bench.peer import PLAIN, Speech

IN_FLIGHT = 64
"""Handshakes at a time."""

PATIENCE = 10.0
"""Seconds without an answer to any handshake after which the server counts as stuck."""

CHUNK = 1 << 16
"""Bytes read at a time."""

SMALL_BUFFER = 4096
"""Bytes of receive buffer for a client that does not read."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that closes with a reset, so that nothing stays behind in TIME_WAIT."""


class Connections:
    """Open WebSockets to one server, by descriptor; the first one is called `first`, the others begin with
    `prefix`. `query` returns what stands behind the path of the n-th.

    Attributes:
        epoll: watches all of them.
        deflated: whether the server agreed to compress.
    """

    def __init__(
        self,
        port: int,
        *,
        speech: Speech = PLAIN,
        deflate: bool = False,
        first: str = "pub",
        prefix: str = "c",
        query: Callable[[int], str] = lambda n: "",
    ) -> None:
        self.epoll = select.epoll()
        self.deflated = False
        self._port = port
        self._first, self._prefix = first, prefix
        self._speech = speech
        self._deflate = deflate
        self._query = query
        self._sockets: dict[int, socket.socket] = {}

    def open(self, count: int, *, small_buffer: bool = False) -> list[int]:
        """Shake hands on so many more connections; returns their descriptors, the first answered first.

        Raises:
            ConnectionError: the server refused one or said nothing for too long.
        """
        last = perf_counter()
        waiting: dict[int, bytes] = {}
        opened: list[int] = []
        while len(opened) < count:
            while len(opened) + len(waiting) < count and len(waiting) < IN_FLIGHT:
                waiting[self._dial(small_buffer)] = b""
            for fd in [fd for fd, _ in self.epoll.poll(0.1) if fd in waiting]:
                if not waiting[fd] and self._speech.hello:
                    os.write(fd, frame(self._speech.kind, self._speech.hello))
                waiting[fd] += os.read(fd, CHUNK)
                last = perf_counter()
                if self._is_open(waiting[fd]):
                    del waiting[fd]
                    opened.append(fd)
            if perf_counter() - last > PATIENCE:
                raise ConnectionError(f"no answer to {len(waiting)} handshakes")
        return opened

    def close(self, fd: int) -> None:
        """Hang up one."""
        self._sockets.pop(fd).close()

    def close_all(self) -> None:
        """Hang up all, and watch no more."""
        for sock in self._sockets.values():
            sock.close()
        self.epoll.close()

    def _dial(self, small_buffer: bool) -> int:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if small_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        sock.connect(("127.0.0.1", self._port))
        name = f"{self._prefix}{len(self._sockets)}" if self._sockets else self._first
        sock.send(self._request(f"{name}{self._query(len(self._sockets))}"))
        sock.setblocking(False)
        self._sockets[sock.fileno()] = sock
        self.epoll.register(sock, select.EPOLLIN)
        return sock.fileno()

    def _request(self, client: str) -> bytes:
        """Return what opens a connection: the client's id, and a query behind it."""
        return opening(f"/ws/{client}{self._speech.query}", deflate=self._deflate)

    def _is_open(self, answer: bytes) -> bool:
        """Whether the handshake is through, and what the server greets with is there too."""
        head, end, rest = answer.partition(b"\r\n\r\n")
        if not answer or not answer.startswith(b"HTTP/1.1 101"[: len(answer)]):
            raise ConnectionError(f"the handshake was refused: {head[:60]!r}")
        if rest and not self._speech.greetings:
            raise ConnectionError("the server greets, which the table of peers does not say")
        self.deflated = b"permessage-deflate" in head
        return bool(end) and count_frames(rest) >= self._speech.greetings
