"""How connections end."""

import os
import select
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import perf_counter

from tests.bench.connections import CHUNK
from tests.bench.frames import CLOSE, frame, next_frame
from tests.bench.load import STALL

NO_CLOSE_FRAME = 1006
"""The code that stands for an end without a close frame (RFC 6455 section 7.4.1)."""

QUIET = 0.2
"""Seconds without a byte after which nothing more is expected on a connection that was behind."""


def close_code(fd: int) -> int | None:
    """The close code behind what waits on a connection: 1006 when it ends without one, None when it stays."""
    unread = bytearray()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(QUIET * 1000):
        code = _take(fd, unread)
        if code is not None:
            return code
    return None


def time_closes(fds: Iterable[int], trigger: Callable[[], None]) -> list[float]:
    """Seconds from `trigger` to each connection's close frame, earliest first. Each frame is answered.

    Raises:
        ConnectionError: one ended without a close frame, or got none in time.
    """
    unread = {fd: bytearray() for fd in fds}
    times: list[float] = []
    with select.epoll() as epoll:
        for fd in unread:
            epoll.register(fd, select.EPOLLIN)
        trigger()
        begun = last = perf_counter()
        while unread:
            for fd, _ in epoll.poll(0):
                last = perf_counter()
                code = _take(fd, unread[fd])
                if code == NO_CLOSE_FRAME:
                    raise ConnectionError("a connection ended without a close frame")
                if code is not None:
                    times.append(last - begun)
                    epoll.unregister(fd)
                    del unread[fd]
                    os.write(fd, frame(CLOSE, code.to_bytes(2)))
            if perf_counter() - last > STALL:
                raise ConnectionError(f"{len(unread)} connections got no close frame")
    return times


def _take(fd: int, unread: bytearray) -> int | None:
    """Read once; the code of a close frame when it has come."""
    chunk = b""
    with suppress(ConnectionResetError):
        chunk = os.read(fd, CHUNK)
    if not chunk:
        return NO_CLOSE_FRAME
    unread += chunk
    while got := next_frame(unread):
        if got.first == CLOSE:
            return int.from_bytes(got.payload[:2])
        del unread[: got.end]
    return None
