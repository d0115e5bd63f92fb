"""The token bucket that limits how many messages one client may send."""

from collections.abc import Sequence

from wsctl.settings import Rate

PATIENCE = 10
"""Bursts that may be refused in one spell before the limit counts as ignored. A spell ends when the
client has been quiet long enough for its bucket to be full again."""

REMINDER = 1.0
"""Seconds between two errors that tell a client of the limit: refusing must cost less than asking."""


class TokenBucket:
    """A token bucket that remembers how much was refused. Time is an argument, in seconds.

    A bucket begins full. With `earned`, only so many of its first tokens are its own and the rest is a loan:
    each message sent on the loan also takes a token of `lender`. Tokens that are earned later take the loan's
    place.

    Attributes:
        lender, lent: the bucket that lends, and its rate; without one the loan is free.
    """

    __slots__ = ("_filled", "_loan", "_reminded", "_tokens", "lender", "lent", "refused")

    def __init__(self, burst: int, now: float, *, earned: float | None = None) -> None:
        self._tokens = float(burst) if earned is None else min(float(burst), earned)
        self._loan = burst - self._tokens
        self._filled = now
        self._reminded = float("-inf")
        self.lender: TokenBucket | None = None
        self.lent: Rate | None = None
        self.refused = 0

    @classmethod
    def restored(cls, fields: Sequence[float], now: float) -> "TokenBucket":
        """Return a bucket in the state that `snapshot` returned."""
        tokens, loan, refused, age = fields
        bucket = cls(0, now - age)
        bucket._tokens, bucket._loan, bucket.refused = tokens, loan, int(refused)
        return bucket

    def snapshot(self, now: float) -> tuple[float, float, int, float]:
        """Return all state but the lender, as plain values: tokens, loan, refused messages, seconds since the
        last fill."""
        return self._tokens, self._loan, self.refused, now - self._filled

    def take(self, rate: Rate, now: float) -> bool:
        """Take a token for one more message; return False, and count the message as refused, when there is
        none."""
        self._tokens += (now - self._filled) * rate.per_second
        self._filled = now
        if self._tokens + self._loan >= rate.burst:
            self._tokens = min(self._tokens, float(rate.burst))
            self._loan = rate.burst - self._tokens
            self.refused = 0
        if self._tokens >= 1:
            self._tokens -= 1
            return True
        if self._loan and self._borrows(now):
            return True
        self.refused += 1
        return False

    def is_full(self, rate: Rate, now: float) -> bool:
        """Tell whether the bucket is full, and so as good as a new one."""
        return self._content(rate, now) >= rate.burst

    def left(self, rate: Rate, now: float) -> int:
        """Return how many messages may be sent now at once."""
        return min(rate.burst, int(self._content(rate, now)))

    def _content(self, rate: Rate, now: float) -> float:
        return self._tokens + self._loan + (now - self._filled) * rate.per_second

    @property
    def lacks_lender(self) -> bool:
        """True if own and lent tokens are enough for one more message: after a refusal, the lender had none
        left."""
        return self._tokens + self._loan >= 1

    def _borrows(self, now: float) -> bool:
        whole = self._tokens + self._loan
        if whole < 1 or (self.lender and self.lent and not self.lender.take(self.lent, now)):
            return False
        self._tokens, self._loan = 0.0, whole - 1
        return True

    def exhausted(self, rate: Rate) -> bool:
        """Tell whether the client has ignored the limit for too long."""
        return self.refused > PATIENCE * rate.burst

    def remind(self, now: float) -> bool:
        """Tell whether it is time to send the client an error about the limit (again), and note the time if
        so."""
        if now - self._reminded < REMINDER:
            return False
        self._reminded = now
        return True
