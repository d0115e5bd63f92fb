"""Clients that are accepted only to be told to connect again: with WebSockets and event streams while the
server drains, with the latter also where it is full."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable

from wsctl.codes import CloseCode
from wsctl.frame import close_frame
from wsctl.server.http.deadlines import MAX_UNREAD

MAX_WAITING = 1000
"""Rejected connections kept open at a time, for their delay or their answer; above that they get their
last bytes and are dropped at once."""

REMEMBERED = 10_000
"""The number of addresses whose attempts are remembered."""

DELAY = (0.5, 3.0)
"""The least and the most seconds that a repeated attempt is kept waiting: a client without a pause of its own
does not spin, and a person hardly notices."""

LINGER = 1.0
"""Seconds that a client has to answer the close frame, or to read the end of its stream."""

REASON = "the server is draining: connect again in a moment"


class DrainRejector:
    """Rejects clients, and delays those that come back without a pause, so that they do not spin."""

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._uniform = uniform
        self.waiting: set[RejectedConnection] = set()

    def delay(self, host: str) -> float:
        """Return the seconds to wait before this attempt of an address is ended: none for the first."""
        again = host in self._seen
        self._seen[host] = None
        self._seen.move_to_end(host)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return self._uniform(*DELAY) if again else 0.0

    def forget(self) -> None:
        """Forget the addresses after the drain was cancelled: the next attempt of each is a first one."""
        self._seen.clear()

    def reject(self, transport: asyncio.Transport, host: str) -> None:
        """Take over an accepted WebSocket and close it."""
        frame = close_frame(CloseCode.GOING_AWAY, REASON)
        self._take_over(RejectedConnection(self, transport, frame), transport, self.delay(host))

    def reject_stream(self, transport: asyncio.Transport, last: bytes, host: str | None) -> None:
        """Take over an event stream whose head was sent, and end it with its last bytes: without a delay
        where no `host` is given."""
        delay = 0.0 if host is None else self.delay(host)
        self._take_over(RejectedConnection(self, transport, last, is_answered=False), transport, delay)

    def _take_over(self, rejected: "RejectedConnection", transport: asyncio.Transport, delay: float) -> None:
        transport.set_protocol(rejected)
        if len(self.waiting) >= MAX_WAITING:
            rejected.send_last(0.0)
        else:
            self.waiting.add(rejected)
            asyncio.get_running_loop().call_later(delay, rejected.send_last, LINGER)

    def drop_all(self) -> None:
        """End the connections that still wait: the process does not wait for them."""
        for rejected in list(self.waiting):
            rejected.send_last(0.0)


class RejectedConnection(asyncio.Protocol):
    """A connection that gets its last bytes and nothing else: the close frame, which `is_answered`, or the
    end of a stream. What it sends is discarded, and is not read beyond a bound."""

    def __init__(
        self,
        rejector: DrainRejector,
        transport: asyncio.Transport,
        last: bytes,
        *,
        is_answered: bool = True,
    ) -> None:
        self._rejector = rejector
        self._transport = transport
        self._last = last
        self._is_answered = is_answered
        self._last_sent = False
        self._unread = 0

    def send_last(self, linger: float) -> None:
        """Send the last bytes, and hang up after `linger` seconds unless the peer does before."""
        if not self._last_sent and not self._transport.is_closing():
            self._last_sent = True
            if self._unread > MAX_UNREAD:
                self._transport.resume_reading()
            self._transport.write(self._last)
            if not self._is_answered and self._transport.can_write_eof():
                self._transport.write_eof()
        if linger:
            asyncio.get_running_loop().call_later(linger, self._transport.abort)
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        # Once told, the first thing that comes back is the close frame or no longer matters.
        self._unread += len(data)
        if self._last_sent and self._is_answered:
            self._transport.close()
        elif self._unread > MAX_UNREAD:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rejector.waiting.discard(self)
