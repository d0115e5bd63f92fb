"""Parcels, which two processes of one server send each other, as bytes and descriptors.

A parcel is a head of three sizes, a JSON object, and bytes that belong to it. Its descriptors travel with its
first byte (SCM_RIGHTS, unix(7)), and are taken in the order in which the parcels come.
"""

import array
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

MAX_FDS = 250
"""Descriptors of one parcel: Linux passes 253 at a time (SCM_MAX_FD)."""

MAX_PARCEL = 256 << 20
"""Bytes of one parcel: far more than the largest one, a message of any size that a server is set to take."""

_HEAD = struct.Struct("!IIH")
_CHUNK = 256 * 1024
_FD_SIZE = array.array("i").itemsize
_SPACE = socket.CMSG_SPACE(MAX_FDS * _FD_SIZE)
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Parcel(NamedTuple):
    """A message from one process to the other. The receiver owns the descriptors."""

    kind: str
    fields: dict[str, Any]
    blobs: list[bytes]
    fds: list[int]


class ChannelBroken(Exception):
    """The other process is gone, hangs, or speaks another language; the text says which."""


class Unpacker:
    """The parser that makes whole parcels of bytes and descriptors as they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: deque[int] = deque()

    def feed(self, data: bytes, fds: Sequence[int]) -> Iterator[Parcel]:
        """Yield the parcels that `data` completes.

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
    """Parse the bytes of a parcel, without descriptors."""
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
    """Encode one parcel."""
    text = json.dumps([kind, [len(blob) for blob in blobs], fields], separators=(",", ":")).encode()
    return b"".join((_HEAD.pack(len(text), sum(map(len, blobs)), len(fds)), text, *blobs))


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
