"""The decisions about workers, without I/O: when one that died or refused is started again, and when one that
should have ended counts as hung."""

import logging
from collections import deque
from collections.abc import Iterable

from wsctl.codes import CLOSE_TIMEOUT
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress
from wsctl.server.diagnostics.stop_time import WORKER_GRACE

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
    """The restarts of one worker, of which `moments` are those so far, on the caller's clock."""

    def __init__(self, moments: Iterable[float] = ()) -> None:
        self._at = deque(moments)

    @property
    def moments(self) -> list[float]:
        return list(self._at)

    def next_pause(self, now: float) -> float | None:
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
    """Logs why a worker cannot start, once as long as the reason is the same.

    Attributes:
        why: the reason that was logged last; None when all serve.
    """

    def __init__(self) -> None:
        self.why: str | None = None

    def record(self, why: str) -> None:
        """Log the reason why a worker could not start, if it is a new one."""
        if why != self.why:
            log.warning("a worker cannot start for now, and is tried again", extra={"fields": {"why": why}})
        self.why = why

    def clear(self) -> None:
        """Note that all workers serve."""
        self.why = None


class ShutdownDeadline:
    """The time that workers have to end: `timeout` seconds, unless they report otherwise. All moments are on
    the caller's clock."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._deadline = float("inf")
        self._expired = False

    def start(self, now: float) -> None:
        """Note that the workers are asked to end."""
        self._deadline, self._expired = now + self._timeout, False

    def update(self, drain: DrainProgress, now: float) -> None:
        """Note how much time remains, as a worker reports it. The deadline can be moved: the last report of
        any counts, for those too that hang and did not learn of it."""
        if not self._expired and drain.phase is not Phase.STOPPED:
            self._deadline = now + drain.remaining_s

    def extend(self, now: float) -> None:
        """Let the workers have their last seconds, though the deadline has passed while all were stopped."""
        self._deadline = max(self._deadline, now)

    def expire(self, now: float) -> None:
        """Let no time remain, whatever is reported from here on."""
        self._deadline, self._expired = now, True

    def has_passed(self, now: float) -> bool:
        """Tell whether a worker that has not ended must be taken for hung."""
        return now >= self._deadline + CLOSE_TIMEOUT + WORKER_GRACE
