"""The pace of a drain: its settings, and the moments that follow from them."""

from dataclasses import dataclass

HANDOVER_WINDOW = 10.0
"""Seconds over which clients leave a server that has a successor, unless it was told another window: there
is a place to go to at once, and a crowd of thousands is a few hundred handshakes a second."""


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
