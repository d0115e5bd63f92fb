"""The availability of Redis, as failures and answers show it: decided without input and output."""

import logging
from collections.abc import Callable

from wsctl.log.home import Away
from wsctl.log.redis.reasons import CHECK_REDIS

FIRST_RETRY, SLOWEST_RETRY = 0.1, 1.0
"""Seconds between two tries to reach Redis: doubled from the first to the second."""

STEADY = 5.0
"""Seconds without a failure after which the next one counts as the first again."""

UNEXPECTED = "what Redis says makes no sense"
"""The reason given for an unexpected error: its traceback is in the log, and for nobody else."""

log = logging.getLogger("wsctl.shared")


class Availability:
    """Tells whether a Redis is there, or away after two failures in a row, and logs each change. `name` is
    that of the Redis, for people.

    Attributes:
        why: why it is away; None while it is there.
        since: since when that is so, on `clock`.
        failures: how many there were in a row.
    """

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.why: str | None = None
        self.since = clock()
        self.failures = 0
        self._name = name
        self._clock = clock
        self._up: float | None = None
        self._unexpected: str | None = None
        self._unexpected_count = 0

    @property
    def pause(self) -> float:
        """The seconds until the next try."""
        if self.why is None:
            return 0.0
        doubled = min(self.failures - 2, 10)  # a day of tries is more than a float holds
        return min(FIRST_RETRY * float(2**doubled), SLOWEST_RETRY)

    def explain(self, error: Exception) -> Away:
        """Return what an error means for others. One that is not `Away` is counted, and logged once however
        often it comes."""
        if isinstance(error, Away):
            return error
        self._unexpected_count += 1
        if repr(error) != self._unexpected:
            self._unexpected = repr(error)
            log.error(UNEXPECTED, exc_info=error)
        return Away(UNEXPECTED, CHECK_REDIS)

    def fail(self, error: Exception) -> bool:
        """Count a failure, and return whether Redis is away just from now on. The first one changes nothing
        yet: a connection that was lost is made again at once."""
        why = str(self.explain(error))
        self.failures = 1 if self._is_steady() else self.failures + 1
        self._up = None
        if self.failures == 1:
            return False
        is_new, self.why = self.why is None, why
        if is_new:
            self.since = self._clock()
            if why != UNEXPECTED:
                log.warning("Redis is away", extra={"fields": {"redis": self._name, "why": why}})
        return is_new

    def succeed(self, *, recovered: bool) -> bool:
        """Note that Redis answers, with all messages if `recovered`, and return whether it was away."""
        why, self.why = self.why, None
        self._up = self._clock()
        if why is None:
            return False
        fields = {"redis": self._name, "away_s": round(self._up - self.since, 3), "recovered": recovered}
        if why != UNEXPECTED:
            log.info("Redis is back", extra={"fields": fields})
        self.since = self._up
        return True

    def check(self) -> None:
        """Log, once nothing has failed for a while, how many unexpected errors there were."""
        if self._unexpected and self._is_steady():
            fields = {"failures": self._unexpected_count}
            log.info("what Redis says makes sense again", extra={"fields": fields})
            self._unexpected, self._unexpected_count = None, 0

    def _is_steady(self) -> bool:
        return self._up is not None and self._clock() - self._up >= STEADY
