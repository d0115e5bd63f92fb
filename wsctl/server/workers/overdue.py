"""The time after which workers that should have ended count as hung, without I/O."""

from wsctl.codes import CLOSE_TIMEOUT
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress
from wsctl.server.diagnostics.stop_time import WORKER_GRACE


class Overdue:
    """The time that workers have to end: `longest` seconds, unless they report otherwise. All moments are on
    the caller's clock."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._deadline = float("inf")
        self._cut = False

    def begun(self, now: float) -> None:
        """Note that the workers are asked to end."""
        self._deadline, self._cut = now + self._longest, False

    def told(self, drain: DrainProgress, now: float) -> None:
        """Note how much time remains, as a worker reports it. The deadline can be moved: the last report of
        any counts, for those too that hang and did not learn of it."""
        if not self._cut and drain.phase is not Phase.STOPPED:
            self._deadline = now + drain.remaining_s

    def went_on(self, now: float) -> None:
        """Let the workers have their last seconds, though the deadline has passed while all were stopped."""
        self._deadline = max(self._deadline, now)

    def cut(self, now: float) -> None:
        """Let no time remain, whatever is reported from here on."""
        self._deadline, self._cut = now, True

    def is_over(self, now: float) -> bool:
        """Tell whether a worker that has not ended must be taken for hung."""
        return now >= self._deadline + CLOSE_TIMEOUT + WORKER_GRACE
