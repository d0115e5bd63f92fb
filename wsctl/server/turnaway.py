"""Clients that connect while the server drains: they are accepted and closed with 1001."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable

from wsctl.codes import CloseCode
from wsctl.frame import close_frame
from wsctl.server.deadlines import MAX_UNREAD

MAX_WAITING = 1000
"""Turned-away connections kept open at a time, for their delay or their answer; above that they get their
close frame and are dropped at once."""

REMEMBERED = 10_000
"""The number of addresses whose attempts are remembered."""

DELAY = (0.5, 3.0)
"""The least and the most seconds that a repeated attempt is kept waiting: a client without a pause of its own
does not spin, and a person hardly notices."""

LINGER = 1.0
"""Seconds that a client has to answer the close frame."""

REASON = "the server is draining: connect again in a moment"


class Turnaway:
    """Turns clients away, and delays those that come back without a pause, so that they do not spin."""

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._told: OrderedDict[str, None] = OrderedDict()
        self._uniform = uniform
        self.waiting: set[Farewell] = set()

    def delay(self, host: str) -> float:
        """Return the seconds to wait before this attempt of an address is closed: none for the first."""
        again = host in self._told
        self._told[host] = None
        self._told.move_to_end(host)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return self._uniform(*DELAY) if again else 0.0

    def forget(self) -> None:
        """Forget the addresses after the drain was cancelled: the next attempt of each is a first one."""
        self._told.clear()

    def send_off(self, transport: asyncio.Transport, host: str) -> None:
        """Take over an accepted connection and end it."""
        farewell = Farewell(self, transport)
        transport.set_protocol(farewell)
        if len(self.waiting) >= MAX_WAITING:
            farewell.say(0.0)
        else:
            self.waiting.add(farewell)
            asyncio.get_running_loop().call_later(self.delay(host), farewell.say, LINGER)

    def drop_all(self) -> None:
        """End the connections that still wait: the process does not wait for them."""
        for farewell in list(self.waiting):
            farewell.say(0.0)


class Farewell(asyncio.Protocol):
    """A connection that gets one close frame and nothing else. What it sends is discarded, and is not read
    beyond a bound."""

    def __init__(self, turnaway: Turnaway, transport: asyncio.Transport) -> None:
        self._turnaway = turnaway
        self._transport = transport
        self._said = False
        self._unread = 0

    def say(self, linger: float) -> None:
        """Send the close frame, and hang up after `linger` seconds unless the peer does before."""
        if not self._said and not self._transport.is_closing():
            self._said = True
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
        if self._said:
            self._transport.close()
        elif self._unread > MAX_UNREAD:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._turnaway.waiting.discard(self)
