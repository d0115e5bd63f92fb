"""Rates over the last seconds, from counters that only grow."""

from collections import deque

WINDOW = 10
"""Samples, one a second, that a rate is taken over."""


class Meter:
    """Counters sampled once a second."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, tuple[int, ...]]] = deque(maxlen=WINDOW + 1)

    def sample(self, now: float, *counters: int) -> None:
        """Note the counters as they are at `now`."""
        self._samples.append((now, counters))

    def rates(self) -> tuple[float, ...]:
        """Return each counter's growth a second over the window; empty before two samples."""
        if len(self._samples) < 2:
            return ()
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        span = ended - began
        return tuple(round((b - a) / span, 1) for a, b in zip(first, last, strict=True))
