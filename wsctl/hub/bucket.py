"""How many messages one client may send."""

from wsctl.settings import Rate

PATIENCE = 10
"""Bursts that may be refused in one spell before the limit counts as ignored. A spell ends when the
client has been quiet long enough for its bucket to be full again."""

REMINDER = 1.0
"""Seconds between two answers that say so: refusing must cost less than asking."""


class TokenBucket:
    """A token bucket that remembers how much was refused. Time is an argument, in seconds."""

    __slots__ = ("_filled", "_reminded", "_tokens", "refused")

    def __init__(self, burst: int, now: float) -> None:
        self._tokens = float(burst)
        self._filled = now
        self._reminded = float("-inf")
        self.refused = 0

    def take(self, rate: Rate, now: float) -> bool:
        """Whether one more message is within the rate."""
        self._tokens = min(rate.burst, self._tokens + (now - self._filled) * rate.per_second)
        self._filled = now
        if self._tokens >= rate.burst:
            self.refused = 0
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        return True

    def exhausted(self, rate: Rate) -> bool:
        """Whether the limit was ignored for too long."""
        return self.refused > PATIENCE * rate.burst

    def remind(self, now: float) -> bool:
        """Whether it is time to tell the client (again)."""
        if now - self._reminded < REMINDER:
            return False
        self._reminded = now
        return True
