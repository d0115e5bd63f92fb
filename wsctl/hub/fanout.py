"""One batch to every connection.

Of a broadcast's cost nearly all is the kernel's send, so the loop around it is kept in C: `map` over
`os.write`. A write to the descriptor keeps the order only while nothing waits in front of it, so a
connection that falls behind leaves its lane until it has caught up.
"""

import os
from itertools import repeat

from wsctl.hub.connection import Connection, Ending
from wsctl.hub.frame import Batch

_FAILED = -1


class _Lane:
    """Connections that get the same bytes: `fds[i]` is the descriptor of `connections[i]`."""

    def __init__(self) -> None:
        self.fds: list[int] = []
        self.connections: list[Connection] = []

    def add(self, connection: Connection, fd: int) -> None:
        connection.lane = len(self.connections)
        self.connections.append(connection)
        self.fds.append(fd)

    def remove(self, connection: Connection) -> None:
        """Fill its place with the last one's."""
        at, connection.lane = connection.lane, -1
        last, fd = self.connections.pop(), self.fds.pop()
        if last is not connection:
            self.connections[at], self.fds[at] = last, fd
            last.lane = at

    def write(self, data: bytes) -> list[tuple[Connection, int]]:
        """Write to all; returns who did not take everything, and how much it took."""
        wrote: list[int] = []
        writes = map(os.write, self.fds, repeat(data))
        while len(wrote) < len(self.fds):
            try:
                wrote.extend(writes)  # keeps what it got before an error, and goes on behind it
            except BlockingIOError:
                wrote.append(0)
            except OSError:
                wrote.append(_FAILED)
        if wrote.count(len(data)) == len(wrote):
            return []
        return [(self.connections[i], n) for i, n in enumerate(wrote) if n != len(data)]


class Fanout:
    """The connections that get broadcasts: a lane for each encoding, and the rest, one by one."""

    def __init__(self) -> None:
        self._lanes = {False: _Lane(), True: _Lane()}
        self._rest: dict[Connection, None] = {}

    def place(self, connection: Connection) -> None:
        """Take a connection in, or put it where it now belongs."""
        self.remove(connection)
        if connection.fd is None or connection.behind:
            self._rest[connection] = None
        else:
            self._lanes[connection.deflate].add(connection, connection.fd)

    def remove(self, connection: Connection) -> None:
        """Let a connection go, if it is here; to be called before its descriptor is closed."""
        self._rest.pop(connection, None)
        if connection.lane >= 0:
            self._lanes[connection.deflate].remove(connection)

    def send(self, batch: Batch) -> None:
        """Offer the batch to all. None is waited for."""
        rest = list(self._rest)
        for deflate, lane in self._lanes.items():
            if lane.fds:
                for connection, written in lane.write(batch.encoded(deflate)):
                    _send_slowly(connection, batch, written)
        for connection in rest:
            connection.offer(batch)


def _send_slowly(connection: Connection, batch: Batch, written: int) -> None:
    if written == _FAILED:
        connection.abort("the connection was reset", Ending.LEFT)
    else:
        connection.offer(batch, written)
