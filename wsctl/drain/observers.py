"""The observers of a drain: their interface, when they are called, and the log."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from wsctl.codes import ExitCode
from wsctl.drain.interventions import Intervention, InterventionKind
from wsctl.drain.pace import RELOAD
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress, how_it_went

log = logging.getLogger("wsctl.drain")

_SHOWN = frozenset({Phase.LAMEDUCK, Phase.DRAINING, Phase.CLOSING, Phase.STOPPED})
"""The phases of a drain."""


class DrainObserver(Protocol):
    """An observer that shows a drain to people.

    `began` is called when a drain begins, and again when the clients are told if that is later;
    `intervened` with each step that an operator causes, before anything else that comes of it.

    Attributes:
        interval: seconds between two calls of `progressed`.
    """

    interval: float

    def intervened(self, step: Intervention) -> None: ...
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
    """The drain as log lines: its start, each step of an operator, every `interval` seconds, its end. `wall`
    is the time of day, in seconds since 1970."""

    def __init__(self, interval: float = 10.0, wall: Callable[[], float] = time.time) -> None:
        self.interval = interval
        self._wall = wall
        self._by: dict[str, str] = {}

    def intervened(self, step: Intervention) -> None:
        if step.kind is InterventionKind.BEGUN:  # the line of the beginning tells it
            self._by = {"by": step.by}
            return
        moments = {"from": step.was_s, "to": step.is_s} if step.kind is InterventionKind.MOVED else {}
        facts = {name: self._moment(left) for name, left in moments.items() if left is not None}
        log.info(str(step.kind), extra={"fields": {"by": step.by, **facts}})

    def began(self, progress: DrainProgress) -> None:
        deadline = self._moment(progress.remaining_s)
        self._line(_doing(progress), progress, _START, deadline=deadline, **self._by)

    def progressed(self, progress: DrainProgress) -> None:
        self._line(f"still {_doing(progress)}", progress, _COURSE)

    def cancelled(self) -> None:
        """Log nothing: the step of the operator has its line."""

    def ended(self, progress: DrainProgress, exit_code: ExitCode) -> None:
        self._line("drained", progress, _END, exit_code=int(exit_code), how=how_it_went(progress))

    def _moment(self, seconds: float) -> str:
        """Return the time of day in `seconds` from now, as the log's own."""
        at = datetime.fromtimestamp(self._wall() + seconds, UTC)
        return at.isoformat(timespec="seconds").replace("+00:00", "Z")

    def _line(self, event: str, progress: DrainProgress, names: tuple[str, ...], **more: Any) -> None:
        if progress.waits:
            names = (*names, "waiting_for")
        fields = {name: value for name in names if (value := getattr(progress, name)) is not None}
        level = logging.DEBUG if progress.reason == RELOAD else logging.INFO  # a reload has one line for all
        log.log(level, event, extra={"fields": fields | _of_application(progress) | more})


def _of_application(progress: DrainProgress) -> dict[str, Any]:
    """Return the figures of an application's own connections, as far as there are any."""
    counts = {name: getattr(progress, name) for name in ("websockets", "responses", "by_policy")}
    routes = ", ".join(f"{each.route} {each.connections}" for each in progress.routes)
    return {name: value for name, value in {**counts, "routes": routes}.items() if value}


def _doing(progress: DrainProgress) -> str:
    if progress.waits:
        return "lameduck, waits for its turn"
    return "lameduck" if progress.phase is Phase.LAMEDUCK else "draining"


class _ObserverState:
    """One observer, and what it was last told.

    Attributes:
        next_at: the moment at which it is to be told the next time; None when there is no drain.
    """

    def __init__(self, observer: DrainObserver) -> None:
        self._observer = observer
        self._phase: Phase | None = None
        self.next_at: float | None = None

    def is_due(self, phase: Phase, now: float) -> bool:
        """Tell whether there is something to show to the observer."""
        if phase not in _SHOWN or self._phase is Phase.STOPPED:
            return False
        return self._begins(phase) or phase is Phase.STOPPED or (self.next_at or now) <= now

    def show(self, progress: DrainProgress, now: float, exit_code: ExitCode) -> None:
        """Tell the observer what it has not been told. To be called when it is due."""
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

    def intervened(self, step: Intervention) -> None:
        self._observer.intervened(step)

    def cancelled(self) -> None:
        self._observer.cancelled()
        self._phase = self.next_at = None

    def _begins(self, phase: Phase) -> bool:
        return self._phase is None or (self._phase is Phase.LAMEDUCK and phase is Phase.DRAINING)


class DrainNotifier:
    """The observers of one drain, each told what it has not been told when it is due. Costs nothing without a
    drain."""

    def __init__(self, observers: Sequence[DrainObserver]) -> None:
        self._observers = [_ObserverState(observer) for observer in observers]

    def is_due(self, phase: Phase, now: float) -> bool:
        """Tell whether there is something to show to one of the observers."""
        return any(observer.is_due(phase, now) for observer in self._observers)

    def next_at(self) -> float | None:
        """Return the moment at which one of them is to be told the next time; None when there is no drain."""
        return min((o.next_at for o in self._observers if o.next_at is not None), default=None)

    def show(self, progress: DrainProgress, now: float, exit_code: ExitCode) -> None:
        """Show the drain as it stands now to each that is due."""
        for observer in self._observers:
            if observer.is_due(progress.phase, now):
                observer.show(progress, now, exit_code)

    def intervened(self, step: Intervention) -> None:
        for observer in self._observers:
            observer.intervened(step)

    def cancelled(self) -> None:
        for observer in self._observers:
            observer.cancelled()
