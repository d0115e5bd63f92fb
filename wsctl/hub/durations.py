"""A histogram of durations, which does not keep each of them."""

from bisect import bisect_left

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""The upper bounds of the buckets, in seconds: a broadcast costs about ten microseconds a client, so these
reach from ten clients to a quarter of a million, in steps in which a change of load is seen."""


class Durations:
    """A histogram: `counts[i]` counts durations of at most `BOUNDS[i]` and more than the bound before, its
    last element those above all bounds. `total` is the sum of all, in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def note(self, seconds: float) -> None:
        """Count one more duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds
