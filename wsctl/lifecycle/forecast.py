"""The estimate of when the last client will have left, from the departures of the recent past."""

from collections import deque

WINDOW = 30.0
"""The time that is looked back, in seconds: long enough for a handful of departures from a small server,
short enough to forget the rush when a drain begins."""

SLOT = 1.0
"""The time whose departures are counted together, in seconds, so that memory does not depend on how many
leave. It is also the shortest time a rate is taken from."""


class Forecast:
    """Counts the clients that leave from `began` on, when `active` were there. Time is an argument."""

    def __init__(self, began: float, active: int) -> None:
        self._began = began
        self._active = active
        self._slots: deque[tuple[float, int]] = deque(maxlen=int(WINDOW / SLOT) + 1)

    def observe(self, now: float, active: int) -> None:
        """Take the number of clients that are connected at `now`. Times do not go back."""
        gone, self._active = self._active - active, active
        if gone <= 0:
            return
        if self._slots and now - self._slots[-1][0] < SLOT:
            since, before = self._slots.pop()
            self._slots.append((since, before + gone))
        else:
            self._slots.append((now, gone))

    def eta_s(self, now: float, active: int, deadline: float) -> float | None:
        """Return the seconds until the last has left, at the latest at the deadline; None while nobody
        leaves."""
        gone = sum(n for since, n in self._slots if now - since <= WINDOW)
        if not gone or not active:
            return None
        over = min(WINDOW, max(SLOT, now - self._began))
        return max(0.0, min(active * over / gone, deadline - now))
