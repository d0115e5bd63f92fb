"""Clients that connect while the server drains: they are accepted and closed with 1001."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable

from wsctl.codes import CloseCode
from wsctl.frame import close_frame
from wsctl.server.http.deadlines import MAX_UNREAD

MAX_WAITING = 1000
"""Rejected connections kept open at a time, for their delay or their answer; above that they get their
close frame and are dropped at once."""

REMEMBERED = 10_000
"""The number of addresses whose attempts are remembered."""

DELAY = (0.5, 3.0)
"""The least and the most seconds that a repeated attempt is kept waiting: a client without a pause of its own
does not spin, and a person hardly notices."""

LINGER = 1.0
"""Seconds that a client has to answer the close frame."""

REASON = "the server is draining: connect again in a moment"


class DrainRejector:
    """Rejects clients, and delays those that come back without a pause, so that they do not spin."""

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._uniform = uniform
        self.waiting: set[RejectedConnection] = set()

    def delay(self, host: str) -> float:
        """Return the seconds to wait before this attempt of an address is closed: none for the first."""
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
        """Take over an accepted connection and end it."""
        rejected = RejectedConnection(self, transport)
        transport.set_protocol(rejected)
        if len(self.waiting) >= MAX_WAITING:
            rejected.send_close(0.0)
        else:
            self.waiting.add(rejected)
            asyncio.get_running_loop().call_later(self.delay(host), rejected.send_close, LINGER)

    def drop_all(self) -> None:
        """End the connections that still wait: the process does not wait for them."""
        for rejected in list(self.waiting):
            rejected.send_close(0.0)


class RejectedConnection(asyncio.Protocol):
    """A connection that gets one close frame and nothing else. What it sends is discarded, and is not read
    beyond a bound."""

    def __init__(self, rejector: DrainRejector, transport: asyncio.Transport) -> None:
        self._rejector = rejector
        self._transport = transport
        self._close_sent = False
        self._unread = 0

    def send_close(self, linger: float) -> None:
        """Send the close frame, and hang up after `linger` seconds unless the peer does before."""
        if not self._close_sent and not self._transport.is_closing():
            self._close_sent = True
            if self._unread > MAX_UNREAD:
                self._transport.resume_reading()
            self._transport.write(close_frame(CloseCode.GOING_AWAY, REASON))
        if linger:
            asyncio.get_running_loop().call_later(linger, self._transport.abort)
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        # Once told, the first thing that comes back is the close frame or no longer matters.
        self._unread += len(data)
        if self._close_sent:
            self._transport.close()
        elif self._unread > MAX_UNREAD:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rejector.waiting.discard(self)
