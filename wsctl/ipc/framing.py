"""Packets, which two processes of one server send each other, as bytes and descriptors: their form, without
I/O, and the two calls that carry descriptors over a Unix socket (SCM_RIGHTS, unix(7)).

A packet is a head of three sizes, a JSON object, and bytes that belong to it. Its descriptors travel with its
first byte, and are taken in the order in which the packets come.
"""

import array
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

MAX_PACKET = 256 << 20
"""Bytes of one packet: far more than the largest one, a message of any size that a server is set to take."""

_HEAD = struct.Struct("!IIH")

MAX_FDS = 250
"""Descriptors that travel together: Linux passes 253 at a time (SCM_MAX_FD)."""

_CHUNK = 64 * 1024
"""Bytes that are read at once: a larger buffer would be mapped anew, page by page, for each read."""

_FD_SIZE = array.array("i").itemsize
_SPACE = socket.CMSG_SPACE(MAX_FDS * _FD_SIZE)
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


_encode = json.JSONEncoder(separators=(",", ":")).encode


class Packet(NamedTuple):
    """A unit of what one process sends the other. The receiver owns the descriptors."""

    kind: str
    fields: dict[str, Any]
    blobs: list[bytes]
    fds: list[int]


class ChannelBroken(Exception):
    """The other process is gone, hangs, or speaks another language; the text says which."""


def encode_packet(kind: str, fields: dict[str, Any], blobs: Sequence[bytes], fds: Sequence[int]) -> bytes:
    """Encode one packet; its descriptors are to be sent with the first byte."""
    text = _encode([kind, [len(blob) for blob in blobs], fields]).encode()
    return b"".join((_HEAD.pack(len(text), sum(map(len, blobs)), len(fds)), text, *blobs))


class PacketDecoder:
    """The parser that makes whole packets of bytes and descriptors as they come. `received` and `fds` are
    what another decoder had `left`, from whose place it goes on."""

    def __init__(self, received: bytes = b"", fds: Sequence[int] = ()) -> None:
        self._buffer = bytearray(received)
        self._fds: deque[int] = deque(fds)

    def feed(self, data: bytes, fds: Sequence[int]) -> Iterator[Packet]:
        """Yield the packets that `data` completes.

        Raises:
            ChannelBroken: while iterating: what came is no packet.
        """
        self._buffer += data
        self._fds += fds
        while (packet := self._next()) is not None:
            yield packet

    def left(self) -> tuple[bytes, list[int]]:
        """Return the bytes and descriptors that are no whole packet yet."""
        return bytes(self._buffer), list(self._fds)

    def drop(self) -> None:
        """Close the descriptors that belong to no whole packet."""
        close_all(self._fds)
        self._fds.clear()

    def _next(self) -> Packet | None:
        if len(self._buffer) < _HEAD.size:
            return None
        text_size, blob_size, count = _HEAD.unpack_from(self._buffer)
        end = _HEAD.size + text_size + blob_size
        if end > MAX_PACKET:
            raise ChannelBroken("it speaks another language")
        if len(self._buffer) < end:
            return None
        text, rest = self._buffer[_HEAD.size : _HEAD.size + text_size], end - blob_size
        whole = bytes(self._buffer[rest:end])
        del self._buffer[:end]
        if count > len(self._fds):
            raise ChannelBroken("descriptors were lost on their way")
        packet = _parse(bytes(text), whole)
        packet.fds.extend(self._fds.popleft() for _ in range(count))
        return packet


def _parse(text: bytes, whole: bytes) -> Packet:
    """Parse the bytes of a packet, without descriptors."""
    blobs, at = [], 0
    try:
        kind, sizes, fields = json.loads(text.decode())
        for size in sizes:
            blobs.append(whole[at : at + size])
            at += size
    except (ValueError, TypeError):
        raise ChannelBroken("it speaks another language") from None
    return Packet(kind, fields, blobs, [])


def send(sock: socket.socket, data: memoryview, fds: Sequence[int]) -> int:
    """Send as much of `data` as the socket takes, the descriptors with its first byte, and return how many
    bytes that is."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    return sock.sendmsg([data], rights)


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Read what has arrived, and the descriptors that came with it, closed on exec."""
    data, ancillary, _, _ = sock.recvmsg(_CHUNK, _SPACE, _FLAGS)
    fds = array.array("i")
    for level, kind, rights in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(rights[: len(rights) - len(rights) % _FD_SIZE])
    for fd in fds:
        os.set_inheritable(fd, False)
    return data, fds.tolist()


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)
