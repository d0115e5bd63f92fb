"""The connection between two processes of one server: packets over a Unix stream socket."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wsctl.ipc.framing import ChannelBroken, Packet, PacketDecoder, close_all, encode_packet, receive, send

MAX_QUEUED = 256 << 20
"""The largest queue for the other process, in bytes: what is published and what moves while it is busy for
some seconds. A process that does not take that hangs."""


class _QueuedPacket:
    """A packet that is being sent: the bytes and descriptors that are not written yet."""

    __slots__ = ("data", "fds")

    def __init__(self, data: bytes, fds: Sequence[int]) -> None:
        self.data = memoryview(data)
        self.fds = list(fds)

    def written(self, n: int) -> None:
        """Drop the `n` bytes that were written, and the descriptors: they travel with the first byte."""
        self.data = self.data[n:]
        self.drop()

    def drop(self) -> None:
        close_all(self.fds)
        self.fds = []


@dataclass(frozen=True, slots=True)
class ChannelState:
    """An end of a connection between two packets or within one, so that the same process can go on with it as
    another program: what was received and is no whole packet, and the packets that are queued, the first of
    which may have been sent in part, with the descriptors that are to travel with each."""

    fd: int
    received: bytes
    received_fds: list[int]
    queued: list[bytes]
    queued_fds: list[list[int]]


class Channel:
    """One end of the connection. `on_packet` is called with each packet, `on_drained` when nothing is queued
    any more, and `on_broken` once, when nothing can come any more, with the reason. With a `state` it goes on
    where another one was.

    To be made on a running event loop. No method waits: what the socket does not take is queued.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_packet: Callable[[Packet], None],
        on_broken: Callable[[str], None],
        on_drained: Callable[[], None] = lambda: None,
        state: ChannelState | None = None,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._on_packet = on_packet
        self._on_broken = on_broken
        self._on_drained = on_drained
        self._decoder = PacketDecoder()
        self._queue: deque[_QueuedPacket] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._readable)
        self.queued = 0
        """Bytes that wait for the other process."""
        self.closed = self._write_closed = False
        self._blocked = False
        if state:
            self._go_on(state)

    def _go_on(self, state: ChannelState) -> None:
        self._decoder = PacketDecoder(state.received, state.received_fds)
        self._queue += map(_QueuedPacket, state.queued, state.queued_fds)
        self.queued = sum(map(len, state.queued))
        if self._queue:
            self._writable()

    def state(self) -> ChannelState:
        """Return how it stands; nothing is closed or changed."""
        received, fds = self._decoder.left()
        queued, queued_fds = [bytes(each.data) for each in self._queue], [each.fds for each in self._queue]
        return ChannelState(self._sock.fileno(), received, fds, queued, queued_fds)

    def send(
        self,
        kind: str,
        fields: dict[str, Any] | None = None,
        blobs: Sequence[bytes] = (),
        fds: Sequence[int] = (),
    ) -> None:
        """Send a packet, in order. The channel owns its descriptors from here on and closes them. Nothing is
        sent once the other process has hung up or the channel is closed."""
        if self._write_closed:
            close_all(fds)
            return
        self._add(_QueuedPacket(encode_packet(kind, fields or {}, blobs, fds), fds))

    def send_encoded(self, packets: bytes) -> None:
        """Send packets that `encode_packet` made, without descriptors: several channels may send the same."""
        if not self._write_closed:
            self._add(_QueuedPacket(packets, ()))

    def close(self) -> None:
        """Close the socket; what is queued is dropped."""
        if not self.closed:
            self._stop_writing()
            self.closed = True
            self._loop.remove_reader(self._sock)
            self._decoder.drop()
            self._sock.close()

    def _add(self, packet: _QueuedPacket) -> None:
        self._queue.append(packet)
        self.queued += len(packet.data)
        if len(self._queue) == 1:
            self._writable()
        if self.queued > MAX_QUEUED:
            self._fail("it takes nothing any more")

    def _stop_writing(self) -> None:
        self._write_closed = True
        if self._blocked:
            self._loop.remove_writer(self._sock)
            self._blocked = False
        for packet in self._queue:
            packet.drop()
        self._queue.clear()
        self.queued = 0

    def _writable(self) -> None:
        try:
            while self._queue:
                self._write(self._queue[0])
        except BlockingIOError:
            if not self._blocked:
                self._blocked = True
                self._loop.add_writer(self._sock, self._writable)
        except OSError:
            # It has hung up. What it said before is still to be read, and then its end.
            self._stop_writing()
        else:
            if self._blocked:
                self._blocked = False
                self._loop.remove_writer(self._sock)
            self._on_drained()

    def _write(self, packet: _QueuedPacket) -> None:
        """Send as much of a packet as the socket takes."""
        n = send(self._sock, packet.data, packet.fds)
        packet.written(n)
        self.queued -= n
        if not packet.data:
            self._queue.popleft()

    def _readable(self) -> None:
        try:
            data, fds = receive(self._sock)
            if not data:
                self._fail("it hung up")
            elif self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._read_on()
            for packet in self._decoder.feed(data, fds):
                self._on_packet(packet)
                if self.closed:
                    return
        except BlockingIOError:
            return
        except (OSError, ChannelBroken) as error:
            self._fail(str(error))

    def _read_on(self) -> None:
        """Go on reading, to the end, what a process has sent that ended without having read all: libuv, and
        so uvloop, tells of a socket with an error only once."""
        self._loop.remove_reader(self._sock)
        self._loop.add_reader(self._sock, self._readable)

    def _fail(self, why: str) -> None:
        if not self.closed:
            self.close()
            # Not at once: who is just sending something must not find itself in another state afterwards.
            self._loop.call_soon(self._on_broken, why)
