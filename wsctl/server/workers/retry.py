"""Further starts of a worker: how often one that dies is started again, and when one that refused is tried
again."""

import logging
from collections import deque

MAX_RESTARTS = 5
"""Restarts within `RESTART_WINDOW`: a worker that dies more often dies of something that a restart does not
mend."""

RESTART_WINDOW = 60.0
"""Seconds after which a restart is forgotten."""

RESTART_PAUSE = 0.1
"""Seconds before the first restart, twice as many before each further one: five take three seconds."""

REFUSAL_PAUSE = 0.5
"""Seconds before the first further attempt to start a worker, doubled before each one after it."""

LONGEST_PAUSE = 5.0
"""Seconds between two attempts at most: to start an interpreter that often costs little, and what was missing
is used soon after it is back."""

log = logging.getLogger("wsctl.workers")


class RestartLimit:
    """The restarts of one worker. All moments are on the caller's clock."""

    def __init__(self) -> None:
        self._at: deque[float] = deque()

    def next(self, now: float) -> float | None:
        """Return the seconds until a worker that died is to be started again; None when it died too often."""
        while self._at and now - self._at[0] >= RESTART_WINDOW:
            self._at.popleft()
        if len(self._at) >= MAX_RESTARTS:
            return None
        self._at.append(now)
        return RESTART_PAUSE * 2.0 ** (len(self._at) - 1)


def refusal_pause(refusals: int) -> float:
    """Return the seconds until the next attempt for a worker that was refused so many times before."""
    return min(REFUSAL_PAUSE * 2.0 ** min(refusals, 8), LONGEST_PAUSE)


class StartFailureLog:
    """Logs why a worker cannot start, once as long as the reason is the same."""

    def __init__(self) -> None:
        self._why: str | None = None

    def record(self, why: str) -> None:
        """Log the reason why a worker could not start, if it is a new one."""
        if why != self._why:
            log.warning("a worker cannot start for now, and is tried again", extra={"fields": {"why": why}})
        self._why = why

    def clear(self) -> None:
        """Note that all workers serve."""
        self._why = None
