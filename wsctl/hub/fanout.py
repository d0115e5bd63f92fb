"""The fan-out of one batch to every connection.

Of a broadcast's cost nearly all is the kernel's send, so the loop around it is kept in C: `map` over
`os.write`. A write to the descriptor keeps the order only while nothing waits in front of it, so a
connection that falls behind leaves its lane until it has caught up.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, repeat
from operator import attrgetter

from wsctl.frame import DEFLATE_ABOVE, Batch, Encoding
from wsctl.hub.connection import Connection, EndReason

_FAILED = -1

_STREAMS = (Encoding.EVENTS, Encoding.EVENTS_WITHOUT_CHUNKS)

_fd = attrgetter("fd")


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
        """Remove a connection, and move the last one into its place."""
        at, connection.lane = connection.lane, -1
        last, fd = self.connections.pop(), self.fds.pop()
        if last is not connection:
            self.connections[at], self.fds[at] = last, fd
            last.lane = at

    def others(self, some: Collection[Connection]) -> "_Lane":
        """Return the connections that are not among these, in a lane that none of them is moved to."""
        lane = _Lane()
        lane.connections = [connection for connection in self.connections if connection not in some]
        lane.fds = list(map(_fd, lane.connections))
        return lane

    def write(self, data: bytes) -> list[tuple[Connection, int]]:
        """Write to all; return the connections that did not take everything, each with the bytes it took or
        `_FAILED`."""
        short = _written(self.fds, data)
        return [(self.connections[i], n) for i, n in short]


def _written(fds: Sequence[int], data: bytes) -> list[tuple[int, int]]:
    """Write to each; return the indexes of those that did not take everything, each with the bytes it took or
    `_FAILED`."""
    wrote: list[int] = []
    writes = map(os.write, fds, repeat(data))
    while len(wrote) < len(fds):
        try:
            wrote.extend(writes)  # keeps what it got before an error, and goes on behind it
        except BlockingIOError:
            wrote.append(0)
        except OSError:
            wrote.append(_FAILED)
    if wrote.count(len(data)) == len(wrote):
        return []
    return [(i, n) for i, n in enumerate(wrote) if n != len(data)]


class Fanout:
    """The connections that get broadcasts: a lane for each encoding, and one by one those that are not
    written to directly."""

    def __init__(self) -> None:
        self._lanes = {encoding: _Lane() for encoding in Encoding}
        self._indirect: dict[Encoding, dict[Connection, None]] = {encoding: {} for encoding in Encoding}

    def place(self, connection: Connection) -> None:
        """Take a connection in, or put it where it now belongs."""
        self.remove(connection)
        if connection.fd is None or connection.behind:
            self._indirect[connection.encoding][connection] = None
        else:
            self._lanes[connection.encoding].add(connection, connection.fd)

    def remove(self, connection: Connection) -> None:
        """Let a connection go, if it is here; to be called before its descriptor is closed."""
        self._indirect[connection.encoding].pop(connection, None)
        if connection.lane >= 0:
            self._lanes[connection.encoding].remove(connection)

    @property
    def indirect(self) -> Iterator[Connection]:
        """The connections that are not written to directly, among them those that are behind."""
        return chain(*self._indirect.values())

    def send(self, batch: Batch, apart: Collection[Connection] = ()) -> int:
        """Send the batch to all but those `apart`, without waiting for any, and return the bytes that this
        makes."""
        lanes: dict[Encoding, _Lane] = self._lanes
        others = list(self.indirect)
        if apart:
            lanes = {encoding: lane.others(apart) for encoding, lane in lanes.items()}
            others = [connection for connection in others if connection not in apart]
        size = 0
        for encoding, lane in lanes.items():
            if lane.fds:
                data = batch.encoded(encoding)
                size += len(data) * len(lane.fds)
                for connection, written in lane.write(data):
                    _send_slowly(connection, batch, written)
        for connection in others:
            size += len(batch.encoded(connection.encoding))
            connection.offer(batch)
        return size

    def send_to(self, some: Sequence[Connection], batch: Batch) -> int:
        """Send a batch to some of the connections, as `send` does to all."""
        if len(batch.wire) <= DEFLATE_ABOVE and not self.streams:
            return self._send_to(some, batch, batch.wire)  # the same bytes for both
        size = 0
        for encoding in self._lanes:
            if group := [connection for connection in some if connection.encoding is encoding]:
                size += self._send_to(group, batch, batch.encoded(encoding))
        return size

    @property
    def streams(self) -> int:
        """The number of connections that are event streams."""
        return sum(len(self._lanes[encoding].fds) + len(self._indirect[encoding]) for encoding in _STREAMS)

    def _send_to(self, some: Sequence[Connection], batch: Batch, data: bytes) -> int:
        direct = [connection for connection in some if connection.lane >= 0]
        others = [connection for connection in some if connection.lane < 0] if len(direct) < len(some) else ()
        for at, written in _written(list(map(_fd, direct)), data):
            _send_slowly(direct[at], batch, written)
        for connection in others:
            connection.offer(batch)
        return len(data) * len(some)


def _send_slowly(connection: Connection, batch: Batch, written: int) -> None:
    if written == _FAILED:
        connection.abort("the connection was reset", EndReason.LEFT)
    else:
        connection.offer(batch, written)
