"""Messages and descriptors between two processes of one server, over a Unix stream socket.

A parcel is a head of three sizes, a JSON object, and bytes that belong to it. Its descriptors travel with its
first byte (SCM_RIGHTS, unix(7)), and are taken in the order in which the parcels come.
"""

import array
import asyncio
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

MAX_FDS = 250
"""Descriptors of one parcel: Linux passes 253 at a time (SCM_MAX_FD)."""

MAX_QUEUED = 256 << 20
"""Bytes that may wait for the other process: a whole default history, and as much again for each of what is
published and what moves meanwhile. One that does not take that hangs."""

MAX_PARCEL = MAX_QUEUED
"""Bytes of one parcel."""

_HEAD = struct.Struct("!IIH")
_CHUNK = 256 * 1024
_FD_SIZE = array.array("i").itemsize
_SPACE = socket.CMSG_SPACE(MAX_FDS * _FD_SIZE)
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Parcel(NamedTuple):
    """What one process tells the other. Who takes it owns the descriptors."""

    kind: str
    fields: dict[str, Any]
    blobs: list[bytes]
    fds: list[int]


class ChannelBroken(Exception):
    """The other process is gone, hangs, or speaks another language; the text says which."""


class Unpacker:
    """From bytes and descriptors as they come to whole parcels."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: deque[int] = deque()

    def feed(self, data: bytes, fds: Sequence[int]) -> Iterator[Parcel]:
        """The parcels that `data` completes.

        Raises:
            ChannelBroken: while iterating: what came is no parcel.
        """
        self._buffer += data
        self._fds += fds
        while (parcel := self._next()) is not None:
            yield parcel

    def drop(self) -> None:
        """Close the descriptors that belong to no whole parcel."""
        while self._fds:
            os.close(self._fds.popleft())

    def _next(self) -> Parcel | None:
        if len(self._buffer) < _HEAD.size:
            return None
        text_size, blob_size, count = _HEAD.unpack_from(self._buffer)
        end = _HEAD.size + text_size + blob_size
        if end > MAX_PARCEL:
            raise ChannelBroken("it speaks another language")
        if len(self._buffer) < end:
            return None
        text, rest = self._buffer[_HEAD.size : _HEAD.size + text_size], end - blob_size
        whole = bytes(self._buffer[rest:end])
        del self._buffer[:end]
        if count > len(self._fds):
            raise ChannelBroken("descriptors were lost on their way")
        parcel = _parcel(bytes(text), whole)
        parcel.fds.extend(self._fds.popleft() for _ in range(count))
        return parcel


def _parcel(text: bytes, whole: bytes) -> Parcel:
    """What the bytes say, without descriptors."""
    blobs, at = [], 0
    try:
        kind, sizes, fields = json.loads(text)
        for size in sizes:
            blobs.append(whole[at : at + size])
            at += size
    except (ValueError, TypeError):
        raise ChannelBroken("it speaks another language") from None
    return Parcel(kind, fields, blobs, [])


def packed(kind: str, fields: dict[str, Any], blobs: Sequence[bytes], fds: Sequence[int]) -> bytes:
    """The bytes of one parcel."""
    text = json.dumps([kind, [len(blob) for blob in blobs], fields], separators=(",", ":")).encode()
    return b"".join((_HEAD.pack(len(text), sum(map(len, blobs)), len(fds)), text, *blobs))


class _Outgoing:
    """A parcel on its way."""

    __slots__ = ("data", "fds")

    def __init__(self, data: bytes, fds: Sequence[int]) -> None:
        self.data = memoryview(data)
        self.fds = list(fds)

    def written(self, n: int) -> None:
        """The descriptors travel with the first byte."""
        self.data = self.data[n:]
        self.drop()

    def drop(self) -> None:
        close_all(self.fds)
        self.fds = []


class Channel:
    """One end. `take` is called with each parcel, `drained` when nothing is queued any more, and `broken`
    once, when nothing can come any more, with the reason.

    To be made on a running loop. Nothing here waits: what the socket does not take is queued.
    """

    def __init__(
        self,
        sock: socket.socket,
        take: Callable[[Parcel], None],
        broken: Callable[[str], None],
        drained: Callable[[], None] = lambda: None,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._take = take
        self._broken = broken
        self._drained = drained
        self._unpacker = Unpacker()
        self._queue: deque[_Outgoing] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._readable)
        self.queued = 0
        """Bytes that wait for the other process."""
        self.closed = self._deaf = False

    def send(
        self,
        kind: str,
        fields: dict[str, Any] | None = None,
        blobs: Sequence[bytes] = (),
        fds: Sequence[int] = (),
    ) -> None:
        """Send a parcel, in order. Its descriptors are the channel's from here on, which closes them. Nothing
        is sent to who does not listen any more."""
        if self._deaf:
            close_all(fds)
            return
        parcel = _Outgoing(packed(kind, fields or {}, blobs, fds), fds)
        self._queue.append(parcel)
        self.queued += len(parcel.data)
        if len(self._queue) == 1:
            self._writable()
        if self.queued > MAX_QUEUED:
            self._fail("it takes nothing any more")

    def close(self) -> None:
        """Hang up; what is queued is dropped."""
        if not self.closed:
            self._stop_writing()
            self.closed = True
            self._loop.remove_reader(self._sock)
            self._unpacker.drop()
            self._sock.close()

    def _stop_writing(self) -> None:
        self._deaf = True
        self._loop.remove_writer(self._sock)
        for parcel in self._queue:
            parcel.drop()
        self._queue.clear()
        self.queued = 0

    def _writable(self) -> None:
        try:
            while self._queue:
                self._write(self._queue[0])
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._writable)
        except OSError:
            # It has hung up. What it said before is still to be read, and then its end.
            self._stop_writing()
        else:
            self._loop.remove_writer(self._sock)
            self._drained()

    def _write(self, parcel: _Outgoing) -> None:
        """Send of it what the socket takes."""
        rights = array.array("i", parcel.fds)
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if parcel.fds else []
        n = self._sock.sendmsg([parcel.data], control)
        parcel.written(n)
        self.queued -= n
        if not parcel.data:
            self._queue.popleft()

    def _readable(self) -> None:
        try:
            data, fds = receive(self._sock)
            if not data:
                self._fail("it hung up")
            for parcel in self._unpacker.feed(data, fds):
                self._take(parcel)
                if self.closed:
                    return
        except BlockingIOError:
            return
        except (OSError, ChannelBroken) as error:
            self._fail(str(error))

    def _fail(self, why: str) -> None:
        if not self.closed:
            self.close()
            # Not at once: who is just sending something must not find itself in another state afterwards.
            self._loop.call_soon(self._broken, why)


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """What is there to be read, and the descriptors that came with it, closed on exec."""
    data, ancillary, _, _ = sock.recvmsg(_CHUNK, _SPACE, _FLAGS)
    fds = array.array("i")
    for level, kind, rights in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(rights[: len(rights) - len(rights) % _FD_SIZE])
    for fd in fds:
        os.set_inheritable(fd, False)
    return data, fds.tolist()


def receive_one(sock: socket.socket, timeout: float) -> Parcel:
    """Wait for one parcel behind which nothing comes yet, `timeout` seconds at most.

    Raises:
        ChannelBroken: none came.
    """
    unpacker = Unpacker()
    sock.settimeout(timeout)
    try:
        while True:
            data, fds = receive(sock)
            if not data:
                raise ChannelBroken("it hung up")
            for parcel in unpacker.feed(data, fds):
                return parcel
    except OSError as error:
        raise ChannelBroken(error.strerror or str(error)) from None


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)
