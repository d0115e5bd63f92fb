"""The pauses and the log of workers that cannot be started again just now."""

import logging

FIRST_PAUSE = 0.5
"""Seconds before the first further attempt to start a worker, doubled before each one after it."""

LONGEST_PAUSE = 5.0
"""Seconds between two attempts at most: to start an interpreter that often costs little, and what was missing
is used soon after it is back."""

log = logging.getLogger("wsctl.workers")


def pause(refusals: int) -> float:
    """Return the seconds until the next attempt for a worker that was refused so many times before."""
    return min(FIRST_PAUSE * 2.0 ** min(refusals, 8), LONGEST_PAUSE)


class Refusals:
    """Logs why a worker cannot start, once as long as the reason is the same."""

    def __init__(self) -> None:
        self._why: str | None = None

    def note(self, why: str) -> None:
        """Log the reason why a worker could not start, if it is a new one."""
        if why != self._why:
            log.warning("a worker cannot start for now, and is tried again", extra={"fields": {"why": why}})
        self._why = why

    def over(self) -> None:
        """Note that all workers serve."""
        self._why = None
