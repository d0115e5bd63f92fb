"""How long something took, counted without keeping each time."""

from bisect import bisect_left

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds, the upper bounds of the buckets: a broadcast costs about ten microseconds a client, so these reach
from ten clients to a quarter of a million, in steps in which a change of load is seen."""


class Durations:
    """Times in buckets: `counts[i]` are of at most `BOUNDS[i]` and more than the bound before, the last ones
    above all bounds. `total` is the sum of all, in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def note(self, seconds: float) -> None:
        """Once more it took so long."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds
