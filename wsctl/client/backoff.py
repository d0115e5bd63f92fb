"""The pauses of a client that lost its server, before it tries again."""

import random
from collections.abc import Callable

BASE = 0.5
"""Longest first pause in seconds: a server that restarts is back within it."""

CAP = 30.0
"""Longest pause in seconds, however often it failed."""


class Backoff:
    """Exponential backoff with full jitter: each pause is drawn between nothing and a doubling ceiling.

    The draw over the whole range is what spreads a crowd that was cut off at one moment: "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self._ceiling = BASE

    def pause(self) -> float:
        """Return the seconds to wait now; the next call's ceiling is twice this one's."""
        seconds = self._uniform(0.0, self._ceiling)
        self._ceiling = min(CAP, 2 * self._ceiling)
        return seconds

    def reset(self) -> None:
        """Start over after a success: the next pause is a first one again."""
        self._ceiling = BASE
