"""The limit on restarts of a worker that dies, without I/O."""

from collections import deque

MOST = 5
"""Restarts within `WINDOW`: a worker that dies more often dies of something that a restart does not mend."""

WINDOW = 60.0
"""Seconds after which a restart is forgotten."""

FIRST_PAUSE = 0.1
"""Seconds before the first restart, twice as many before each further one: five take three seconds."""


class Restarts:
    """The restarts of one worker. All moments are on the caller's clock."""

    def __init__(self) -> None:
        self._at: deque[float] = deque()

    def next(self, now: float) -> float | None:
        """Return the seconds until a worker that died is to be started again; None when it died too often."""
        while self._at and now - self._at[0] >= WINDOW:
            self._at.popleft()
        if len(self._at) >= MOST:
            return None
        self._at.append(now)
        return FIRST_PAUSE * 2.0 ** (len(self._at) - 1)
