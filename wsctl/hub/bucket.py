"""How many messages one client may send."""

from collections.abc import Sequence

from wsctl.settings import Rate

PATIENCE = 10
"""Bursts that may be refused in one spell before the limit counts as ignored. A spell ends when the
client has been quiet long enough for its bucket to be full again."""

REMINDER = 1.0
"""Seconds between two answers that say so: refusing must cost less than asking."""


class TokenBucket:
    """A token bucket that remembers how much was refused. Time is an argument, in seconds.

    It begins full. Where somebody else answers for what a new one may send at once, `earned` of it is its own
    and the rest a loan: each message of that is also one of `lender`. What it earns takes the loan's place.

    Attributes:
        lender, lent: who lends, and at which rate; without one the loan is given.
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
    def restored(cls, told: Sequence[float], now: float) -> "TokenBucket":
        """One that goes on where `told` was made."""
        tokens, loan, refused, age = told
        bucket = cls(0, now - age)
        bucket._tokens, bucket._loan, bucket.refused = tokens, loan, int(refused)
        return bucket

    def told(self, now: float) -> tuple[float, float, int, float]:
        """All of it but its lender, as plain values."""
        return self._tokens, self._loan, self.refused, now - self._filled

    def take(self, rate: Rate, now: float) -> bool:
        """Whether one more message is within the rate."""
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
        """Whether it is as good as a new one."""
        return self._tokens + self._loan + (now - self._filled) * rate.per_second >= rate.burst

    @property
    def lacks_lender(self) -> bool:
        """Whether it would have had enough, had it been lent."""
        return self._tokens + self._loan >= 1

    def _borrows(self, now: float) -> bool:
        whole = self._tokens + self._loan
        if whole < 1 or (self.lender and self.lent and not self.lender.take(self.lent, now)):
            return False
        self._tokens, self._loan = 0.0, whole - 1
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
