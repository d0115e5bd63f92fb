"""A transport whose events are given by hand, over a real socket with a small buffer."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any


class HandTransport(asyncio.Transport):
    """Writes what the socket takes and keeps the rest until `writable` is called, as event loops do.

    `peer` is the other end. Nothing is read from the socket: a test calls `data_received` itself.

    Attributes:
        room: bytes that the socket still takes from here; None for as many as the kernel takes.
        received: what the peer has read; transports over the same socket share it.
        writes: the size of each write.
    """

    def __init__(
        self,
        *,
        buffer: int = 4096,
        tls: bool = False,
        room: int | None = None,
        over: "HandTransport | None" = None,
    ) -> None:
        """`over` is a transport whose socket this one takes, as another process would."""
        super().__init__()
        self.sock: socket.socket
        self.peer: socket.socket
        self.sock, self.peer = (over.sock.dup(), over.peer) if over else socket.socketpair()
        for sock in (self.sock, self.peer):
            sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        self.tls = tls
        self.room = room
        self.received: bytearray = over.received if over else bytearray()
        self.writes: list[int] = []
        self.protocol: Any = None
        self.aborted = False
        self.reading = True
        self.eof = False
        self.lost = False
        self._buffer = bytearray()
        self._high, self._low = 64 * 1024, 16 * 1024
        self._paused = False
        self._closing = self._ended = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": self.sock, "ssl_object": self.tls or None}.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        assert low is not None
        self._high, self._low = high, low

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return not self.tls

    def write_eof(self) -> None:
        self.eof = True
        self._finish()

    def write(self, data: Any) -> None:
        if self.eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.lost or (self._closing and not self._buffer):
            return
        self._buffer += data
        self.writes.append(len(data))
        if len(self._buffer) == len(data):
            self._send()
        too_much = len(self._buffer) >= self._high if self.tls else len(self._buffer) > self._high
        if too_much and not self._paused:
            self._paused = True
            self.protocol.pause_writing()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._finish()

    def abort(self) -> None:
        """As with uvloop, what is buffered may still be written until the connection is lost."""
        self.aborted = self._closing = True
        if not self.lost:
            self.lost = True
            _soon(self.lose)

    def lose(self, exc: None = None) -> None:
        """The connection is lost now."""
        if not self._ended:
            self.lost = self._ended = True
            self.protocol.connection_lost(exc)
            self._buffer.clear()

    def writable(self) -> None:
        """The loop finds that the socket takes bytes."""
        if self._ended or not self._buffer:
            return
        self._send()
        if self.lost:
            return
        if self._paused and len(self._buffer) <= self._low:
            self._paused = False
            self.protocol.resume_writing()
        self._finish()

    def read(self, size: int = 1 << 20) -> None:
        """The peer reads, up to so many bytes."""
        try:
            self.received += self.peer.recv(size)
        except BlockingIOError:
            return

    def drain(self) -> bytes:
        """The peer reads until nothing comes any more: everything it was ever sent."""
        while True:
            before = len(self.received)
            self.writable()
            self.read()
            if len(self.received) == before:
                return bytes(self.received)

    def dispose(self) -> None:
        """Close both ends."""
        self.sock.close()
        self.peer.close()

    def _send(self) -> None:
        try:
            sent = self.sock.send(self._buffer[: self.room])
            del self._buffer[:sent]
            self.room = None if self.room is None else self.room - sent
        except BlockingIOError:
            return
        except OSError:
            self.abort()

    def _finish(self) -> None:
        if self._buffer:
            return
        if self._closing and not self.lost:
            self.lost = True
            _soon(self.lose)


def _soon(call: Callable[[None], None]) -> None:
    asyncio.get_running_loop().call_soon(call, None)
