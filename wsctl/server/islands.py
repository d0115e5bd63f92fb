"""Whether the processes of one server know of each other's clients."""

import time
from collections.abc import Callable

from wsctl.settings import Settings

ISLANDS = (
    "several workers without a shared store: each is an island, and what a client says reaches only the "
    "clients of the worker that took it; give them --redis, or run one"
)
"""What the log says of that, once."""

OF_ALL = ("degraded", "redis", "nodes", "cluster")
"""What a status tells of those that share a Redis: each the same, and nothing where none is shared."""


def islands(settings: Settings) -> bool:
    """Whether several processes with these settings share neither messages nor history."""
    return settings.redis is None


def own_moments(number: int, of: int, wall: Callable[[], float] = time.time) -> Callable[[], float]:
    """The wall clock of one of so many islands, in Unix seconds: each has its own milliseconds, so that no id
    of a message is two islands', and who resumes at another one is told that it is.

    `number` counts from 1.
    """

    def now() -> float:
        ms = int(wall() * 1000)
        # In the middle of the millisecond, where no rounding leads out of it.
        return (ms - ms % of + number - 1 + 0.5) / 1000

    return now
