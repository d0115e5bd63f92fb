"""The times of a run: a histogram of latencies, and the longest time without a message."""

from array import array
from collections import Counter
from dataclasses import dataclass
from math import ceil, log

RELATIVE_ERROR = 0.01
"""The largest difference between a quantile and the exact one, as a share of that."""

SHORTEST = 1e-6
"""Seconds below which latencies are not told apart: finer than the loop that takes the time."""

# The bucketing of DDSketch (Masson, Rim and Lee, VLDB 2019): bucket i holds (GROWTH ** (i - 1), GROWTH ** i].
_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH = log(_GROWTH)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Quantiles in seconds. `max` is exact, the others are within `RELATIVE_ERROR`."""

    p50: float
    p95: float
    p99: float
    max: float


class LatencyHistogram:
    """A histogram whose buckets grow by a constant factor: about 115 of them for each factor of ten."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._count = 0
        self._max = 0.0

    def record(self, seconds: float) -> None:
        """Count one latency, in seconds; anything shorter than `SHORTEST` counts as that."""
        seconds = max(seconds, SHORTEST)
        self._buckets[ceil(log(seconds) / _LOG_GROWTH)] += 1
        self._count += 1
        self._max = max(self._max, seconds)

    def quantile(self, share: float) -> float:
        """Return the seconds that at least this share (0 to 1) of the latencies did not exceed: the nearest
        rank.

        Raises:
            ValueError: nothing was recorded.
        """
        rank = max(1, ceil(share * self._count))
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                middle = 2 * _GROWTH**bucket / (_GROWTH + 1)
                return min(middle, self._max)
        raise ValueError("no latency was recorded")

    def quantiles(self) -> Quantiles | None:
        """Return the quantiles that people look at; None when nothing was recorded."""
        if not self._count:
            return None
        return Quantiles(self.quantile(0.50), self.quantile(0.95), self.quantile(0.99), self._max)


class QuietTime:
    """The longest time in which one of several clients received nothing, in seconds of one clock. Memory:
    eight bytes for each client."""

    def __init__(self, clients: int) -> None:
        self._received_at = array("d", [0.0]) * clients
        self._longest = 0.0

    def begin(self, now: float) -> None:
        """Begin to measure."""
        self._received_at = array("d", [now]) * len(self._received_at)

    def receive(self, client: int, now: float) -> None:
        """Note that a client received something."""
        self._longest = max(self._longest, now - self._received_at[client])
        self._received_at[client] = now

    def longest(self, now: float) -> float:
        """Return the longest quiet time so far, with the time since each client received something last."""
        return max(self._longest, now - min(self._received_at))
