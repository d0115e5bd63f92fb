"""When workers that should have ended are held for hung, without I/O."""

from wsctl.hub.connection import CLOSE_TIMEOUT
from wsctl.lifecycle.phases import Phase
from wsctl.lifecycle.progress import DrainProgress

GRACE = 3.0
"""Seconds on top of the deadline and of `CLOSE_TIMEOUT`: a worker that works has cut its last client by then,
and ends within one second, on a loaded machine within two."""


class Overdue:
    """The time that workers have to end: so many seconds, unless they tell otherwise. All moments are on the
    caller's clock."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._deadline = float("inf")
        self._cut = False

    def begun(self, now: float) -> None:
        """They are asked to end."""
        self._deadline, self._cut = now + self._longest, False

    def told(self, drain: DrainProgress, now: float) -> None:
        """One tells how much time remains. The deadline can be moved: the last word of any counts, for those
        too that hang and did not hear of it."""
        if not self._cut and drain.phase is not Phase.STOPPED:
            self._deadline = now + drain.remaining_s

    def cut(self, now: float) -> None:
        """No time remains, whatever is told from here on."""
        self._deadline, self._cut = now, True

    def is_over(self, now: float) -> bool:
        """Whether who has not ended will not."""
        return now >= self._deadline + CLOSE_TIMEOUT + GRACE
