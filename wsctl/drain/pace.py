"""The pace of a drain: its settings, the moments that follow from them, and the estimate of its end."""

from collections import deque
from dataclasses import dataclass

HANDOVER_WINDOW = 10.0
"""Seconds over which clients leave a server that has a successor, unless it was told another window: there
is a place to go to at once, and a crowd of thousands is a few hundred handshakes a second."""

RELOAD = "reload"
"""The cause of a drain after which a successor serves with code that was changed."""

RELOAD_TIMEOUT = 1.0
"""Seconds that connections have which cannot move when the code was changed: enough for an application to
say goodbye, and no longer than the one who has saved a file waits for what is new."""

ORPHAN_TIMEOUT = 5.0
"""Seconds that clients of a worker have whose parent is gone: enough to be told, and no longer, since nothing
is published any more, and the address is free only when the last worker has ended."""

WINDOW = 30.0
"""The time that is looked back, in seconds: long enough for a handful of departures from a small server,
short enough to forget the rush when a drain begins."""

SLOT = 1.0
"""The time whose departures are counted together, in seconds, so that memory does not depend on how many
leave. It is also the shortest time a rate is taken from."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A drain's settings, in seconds.

    `delay` passes before clients are told, `timeout` after that until they are closed by force; in the
    last `spread` of it they are closed one after the other; `window` is the time over which they are
    asked to leave, each at its own moment. `in_turn` means that clients are told only when it is this
    server's turn to drain; the deadline does not wait for that.
    """

    timeout: float
    delay: float = 0.0
    spread: float = 0.0
    window: float = 0.0
    in_turn: bool = False


def moments(count: int, window: float) -> list[float]:
    """Return `count` moments in seconds from now, evenly from 0 on; `window` itself is none of them, for it
    may be the deadline."""
    return [window * n / count for n in range(count)]


class Spread:
    """The even spread of closes: the clients that are connected at `begin` are closed up to `end`; one that
    leaves meanwhile counts as closed.

    The last one is not closed before `end`.
    """

    def __init__(self, begin: float, end: float) -> None:
        self._begin = begin
        self._end = end
        self._of: int | None = None
        self._gone = 0

    def due(self, now: float, active: int) -> int:
        """Return how many of the `active` must be closed now. They count as gone from here on."""
        if now < self._begin:
            return 0
        if self._of is None:
            self._of = active
        gone, wanted = self._of - active, self._wanted(now, self._of)
        self._gone = max(gone, wanted)
        return self._gone - gone

    def next_at(self) -> float:
        """Return the moment at which `due` must be called next; nothing is due before."""
        return self._begin if self._of is None else self._moment(self._gone + 1, self._of)

    def _wanted(self, now: float, of: int) -> int:
        if now >= self._end:
            return of
        wanted = int(of * (now - self._begin) / (self._end - self._begin))
        # A moment that was waited for has come, whichever way the division was rounded.
        return wanted + (self._moment(wanted + 1, of) <= now) - (self._moment(wanted, of) > now)

    def _moment(self, n: int, of: int) -> float:
        return self._begin + (self._end - self._begin) * n / of if n < of else self._end


class Forecast:
    """The estimate of when the last client will have left, from the departures of the recent past.

    It counts the clients that leave from `began` on, when `active` were there. Time is an argument.
    """

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
