"""One batch to every connection.

Of a broadcast's cost nearly all is the kernel's send, so the loop around it is kept in C: `map` over
`os.write`. A write to the descriptor keeps the order only while nothing waits in front of it, so a
connection that falls behind leaves the fast lane until it has caught up.
"""

import os
from itertools import repeat

from wsctl.hub.connection import Connection
from wsctl.hub.frame import Batch

_FAILED = -1


class Fanout:
    """The connections that get broadcasts: `_fds[i]` is the descriptor of `_fast[i]`."""

    def __init__(self) -> None:
        self._fds: list[int] = []
        self._fast: list[Connection] = []
        self._rest: dict[Connection, None] = {}

    def place(self, connection: Connection) -> None:
        """Take a connection in, or put it into the lane where it now belongs."""
        self.remove(connection)
        if connection.fd is None or connection.behind:
            self._rest[connection] = None
        else:
            connection.lane = len(self._fast)
            self._fast.append(connection)
            self._fds.append(connection.fd)

    def remove(self, connection: Connection) -> None:
        """Let a connection go, if it is here; to be called before its descriptor is closed."""
        self._rest.pop(connection, None)
        at, connection.lane = connection.lane, -1
        if at < 0:
            return
        last, fd = self._fast.pop(), self._fds.pop()
        if last is not connection:
            self._fast[at], self._fds[at] = last, fd
            last.lane = at

    def send(self, batch: Batch) -> None:
        """Offer the batch to all. None is waited for."""
        rest = list(self._rest)
        self._send_fast(batch)
        for connection in rest:
            connection.offer(batch)

    def _send_fast(self, batch: Batch) -> None:
        wrote: list[int] = []
        writes = map(os.write, self._fds, repeat(batch.wire))
        while len(wrote) < len(self._fds):
            try:
                wrote.extend(writes)  # keeps what it got before an error, and goes on behind it
            except BlockingIOError:
                wrote.append(0)
            except OSError:
                wrote.append(_FAILED)
        whole = len(batch.wire)
        if wrote.count(whole) < len(wrote):
            for connection, n in [(self._fast[i], n) for i, n in enumerate(wrote) if n != whole]:
                self._send_slowly(connection, batch, n)

    def _send_slowly(self, connection: Connection, batch: Batch, written: int) -> None:
        if written == _FAILED:
            connection.abort("the connection was reset")
        else:
            connection.offer(batch, written)
