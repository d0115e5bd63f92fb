"""The rate that a server names in its `welcome`, kept by the client that sends."""

from collections import deque
from typing import Any, NamedTuple

UNCONFIRMED_AFTER = 2.0
"""Seconds after which a message counts as one that the server has: an application may swallow it, and then it
never comes back."""

MARGIN = 0.99
"""The part of the rate that is used: two clocks differ, and numbers are rounded."""


class _Rate(NamedTuple):
    per_second: float
    burst: int


class Pacer:
    """A lower bound of what a server's token bucket holds for this client. Time is an argument, in seconds.

    The server takes a token for each message when it has it, which is after it was sent, and a bucket that
    was full until then has gained nothing. So a message counts when it is confirmed, as if it had arrived no
    sooner, and one more is sent only if tokens for all that are under way are there, too: then the server has
    at least as many tokens as this bucket, whatever the network does.
    """

    def __init__(self) -> None:
        self._rate: _Rate | None = None
        self._tokens = 0.0
        self._filled = 0.0
        self._under_way: deque[float] = deque()

    @property
    def limited(self) -> bool:
        """True if the server has named a rate."""
        return self._rate is not None

    def welcome(self, frame: dict[str, Any], now: float) -> None:
        """Take the first frame of a connection."""
        self._under_way.clear()
        self._rate = None
        match frame.get("rate"):
            case {"per_second": int() | float() as per_second, "burst": int() as burst} if (
                per_second > 0 and burst > 0
            ):
                self._rate = _Rate(per_second * MARGIN, burst)
                left = frame["rate"].get("left", burst)
                self._tokens = float(min(burst, left)) if isinstance(left, int) else float(burst)
                self._filled = now

    def pause(self, now: float) -> float:
        """Return the seconds until one more may be sent, if nothing is confirmed before; 0: now."""
        if self._rate is None:
            return 0.0
        while self._under_way and now - self._under_way[0] >= UNCONFIRMED_AFTER:
            self.confirm(now)
        self._fill(self._rate, now)
        needed = len(self._under_way) + 1
        if self._tokens >= needed:
            return 0.0
        over = self._under_way[0] + UNCONFIRMED_AFTER - now if self._under_way else float("inf")
        if needed > self._rate.burst:
            return over
        return min(over, (needed - self._tokens) / self._rate.per_second)

    def sent(self, now: float) -> None:
        """Note that a message is sent."""
        if self._rate is not None:
            self._under_way.append(now)

    def confirm(self, now: float) -> None:
        """Note that the server has the first message that is under way."""
        if self._rate is not None and self._under_way:
            self._under_way.popleft()
            self._fill(self._rate, now)
            self._tokens -= 1

    def refused(self, now: float) -> None:
        """Note that the server had no token for a message: something else has used them."""
        self.confirm(now)
        self._tokens = min(self._tokens, 0.0)

    def _fill(self, rate: _Rate, now: float) -> None:
        self._tokens = min(float(rate.burst), self._tokens + (now - self._filled) * rate.per_second)
        self._filled = now
