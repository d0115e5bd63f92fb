"""Descriptors that travel over a Unix socket (SCM_RIGHTS, unix(7))."""

import array
import os
import socket
from collections.abc import Sequence

MAX_FDS = 250
"""Descriptors that travel together: Linux passes 253 at a time (SCM_MAX_FD)."""

_CHUNK = 256 * 1024
_FD_SIZE = array.array("i").itemsize
_SPACE = socket.CMSG_SPACE(MAX_FDS * _FD_SIZE)
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


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
