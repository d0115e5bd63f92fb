"""Workers that cannot be started again just now."""

import logging

FIRST_PAUSE = 0.5
"""Seconds before the first further attempt, twice as many before each one after it."""

LONGEST_PAUSE = 5.0
"""Seconds between two attempts at most: a new interpreter that often costs little, and what was missing is
used soon after it is back."""

log = logging.getLogger("wsctl.workers")


def pause(refusals: int) -> float:
    """Seconds until the next attempt of one that was refused so many times before."""
    return min(FIRST_PAUSE * 2.0 ** min(refusals, 8), LONGEST_PAUSE)


class Refusals:
    """Logs why, once as long as it is for the same reason."""

    def __init__(self) -> None:
        self._why: str | None = None

    def note(self, why: str) -> None:
        """One could not start."""
        if why != self._why:
            log.warning("a worker cannot start for now, and is tried again", extra={"fields": {"why": why}})
        self._why = why

    def over(self) -> None:
        """All serve."""
        self._why = None
