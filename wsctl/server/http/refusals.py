"""Refusals: how many there were, and a line of the log a reason and second, however many they are."""

import logging
from collections import Counter
from collections.abc import Callable

from wsctl.drain.phases import Phase

PAUSE = 1.0
"""Seconds between two lines of one reason."""

log = logging.getLogger("wsctl.server")


class RefusalLog:
    """Gathers refusals by their reason, of which there are few. The first of a reason is logged at once,
    those that follow within a second together, with the address of the last one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._pending: Counter[str] = Counter()
        self._last: dict[str, tuple[int, str, dict[str, object]]] = {}

    def note(
        self,
        reason: str,
        address: str,
        *,
        level: int = logging.INFO,
        event: str = "refused",
        **fields: object,
    ) -> None:
        """Log a refusal, or keep it for the next line; `address` is empty where there is none, on a Unix
        socket."""
        self._pending[reason] += 1
        named = {"address": address} if address else {}
        self._last[reason] = level, event, {"reason": reason, **fields, **named}
        self._log(reason, self._clock())

    def check(self, now: float) -> None:
        """Log what has gathered; called once a second."""
        for reason in list(self._pending):
            self._log(reason, now)

    def _log(self, reason: str, now: float) -> None:
        if now - self._logged_at.get(reason, float("-inf")) < PAUSE:
            return
        self._logged_at[reason] = now
        level, event, fields = self._last.pop(reason)
        log.log(level, event, extra={"fields": {**fields, "count": self._pending.pop(reason)}})


class Refusals:
    """Counts and logs the clients and requests that were not let in. `capacity` is the most clients that
    there may be.

    Attributes:
        counts: the number of clients that were not let in, by the code of the answer; "draining" for those
            sent away.
    """

    def __init__(self, clock: Callable[[], float], capacity: int) -> None:
        self.counts: Counter[str] = Counter()
        self._log = RefusalLog(clock)
        self._capacity = capacity

    def count(self, code: str) -> None:
        """Count a client that is not let in."""
        self.counts[code] += 1

    def count_drained(self) -> None:
        """Count a client that is sent away because the server drains."""
        self.counts[Phase.DRAINING] += 1

    def log(self, code: str, host: str) -> None:
        """Log that a request or handshake from `host` was refused, with others of that second."""
        if code == "full":
            event = "full: new clients are refused"
            self._log.note(code, host, level=logging.WARNING, event=event, capacity=self._capacity)
        else:
            self._log.note(code, host)

    def count_evicted(self, host: str) -> None:
        """Count and log that a connection from `host` has ended because it was no client's and others
        came."""
        self.count("full")
        event = "full: the oldest connections without a client end"
        self._log.note("crowded", host, level=logging.WARNING, event=event)

    def check(self, now: float) -> None:
        """Log what has gathered; called once a second."""
        self._log.check(now)
