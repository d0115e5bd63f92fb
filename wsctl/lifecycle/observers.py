"""Those who show a drain: what they are told, when, and the log."""

import logging
from typing import Protocol

from wsctl.codes import ExitCode
from wsctl.lifecycle.phases import Phase
from wsctl.lifecycle.progress import DrainProgress

log = logging.getLogger("wsctl.drain")

_SHOWN = frozenset({Phase.LAMEDUCK, Phase.DRAINING, Phase.CLOSING, Phase.STOPPED})
"""The phases of a drain."""


class DrainObserver(Protocol):
    """Somebody who shows a drain to people.

    `began` is called when a drain begins, and again when the clients are told if that is later.

    Attributes:
        interval: seconds between two calls of `progressed`.
    """

    interval: float

    def began(self, progress: DrainProgress) -> None: ...
    def progressed(self, progress: DrainProgress) -> None: ...
    def cancelled(self) -> None: ...
    def ended(self, progress: DrainProgress, exit_code: ExitCode) -> None: ...


_START = ("reason", "active", "started_with", "elapsed_s", "remaining_s")
_COURSE = ("active", "started_with", "elapsed_s", "remaining_s", "left", "evicted", "eta_s", "oldest")
_END = (
    "active",
    "started_with",
    "elapsed_s",
    "remaining_s",
    "left",
    "evicted",
    "forced",
    "aborted",
    "handed_over",
    "undelivered",
)


class DrainLog:
    """The drain as log lines: its start, every `interval` seconds, its end."""

    def __init__(self, interval: float = 10.0) -> None:
        self.interval = interval

    def began(self, progress: DrainProgress) -> None:
        self._line(_doing(progress), progress, _START)

    def progressed(self, progress: DrainProgress) -> None:
        self._line(f"still {_doing(progress)}", progress, _COURSE)

    def cancelled(self) -> None:
        log.info("drain cancelled")

    def ended(self, progress: DrainProgress, exit_code: ExitCode) -> None:
        self._line("drained", progress, _END, exit_code=int(exit_code))

    def _line(self, event: str, progress: DrainProgress, names: tuple[str, ...], **more: object) -> None:
        if progress.waits:
            names = (*names, "waiting_for")
        fields = {name: value for name in names if (value := getattr(progress, name)) is not None}
        log.info(event, extra={"fields": fields | more})


def _doing(progress: DrainProgress) -> str:
    if progress.waits:
        return "lameduck, waits for its turn"
    return "lameduck" if progress.phase is Phase.LAMEDUCK else "draining"


class Shown:
    """One observer, and what it was last told.

    Attributes:
        next_at: when it is to be told the next time; None when there is no drain.
    """

    def __init__(self, observer: DrainObserver) -> None:
        self._observer = observer
        self._phase: Phase | None = None
        self.next_at: float | None = None

    def is_due(self, phase: Phase, now: float) -> bool:
        """Whether there is something to tell it."""
        if phase not in _SHOWN or self._phase is Phase.STOPPED:
            return False
        return self._begins(phase) or phase is Phase.STOPPED or (self.next_at or now) <= now

    def show(self, progress: DrainProgress, now: float, exit_code: ExitCode) -> None:
        """Tell it what it has not been told. To be called when it is due."""
        if self._begins(progress.phase):
            self._observer.began(progress)
            self.next_at = now + self._observer.interval
        self._phase = progress.phase
        if progress.phase is Phase.STOPPED:
            self._observer.ended(progress, exit_code)
            self.next_at = None
        elif self.next_at is not None and now >= self.next_at:
            self._observer.progressed(progress)
            # A process that was stopped for a while does not catch up on what nobody saw.
            missed = (now - self.next_at) // self._observer.interval
            self.next_at += (missed + 1) * self._observer.interval

    def cancelled(self) -> None:
        self._observer.cancelled()
        self._phase = self.next_at = None

    def _begins(self, phase: Phase) -> bool:
        return self._phase is None or (self._phase is Phase.LAMEDUCK and phase is Phase.DRAINING)
