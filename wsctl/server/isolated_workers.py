"""Workers without a shared store, isolated ones, which know nothing of each other's clients."""

import time
from collections.abc import Callable

from wsctl.settings import Settings

ISOLATED_WARNING = (
    "several workers without a shared store: each is an island, and what a client says reaches only the "
    "clients of the worker that took it; give them --redis, or run one"
)
"""The warning of such workers, which is logged once."""

SHARED_FIELDS = ("degraded", "redis", "nodes", "cluster")
"""The fields of a status that are about all who share a Redis: the same in each of them, null without a
Redis."""


def are_isolated(settings: Settings) -> bool:
    """Tell whether several processes with these settings share neither messages nor history."""
    return settings.redis is None


def distinct_wall_clock(number: int, of: int, wall: Callable[[], float] = time.time) -> Callable[[], float]:
    """Return the wall clock, in Unix seconds, of one worker of `of` that share nothing: each has its own
    milliseconds, so that no id of a message is that of two workers, and a client that resumes at another one
    is told so.

    `number` counts from 1.
    """

    def now() -> float:
        ms = int(wall() * 1000)
        # In the middle of the millisecond, where no rounding leads out of it.
        return (ms - ms % of + number - 1 + 0.5) / 1000

    return now
