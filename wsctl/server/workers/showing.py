"""The drain of all workers, passed to the observers of drains."""

from collections.abc import Callable, Sequence

from wsctl.codes import ExitCode
from wsctl.lifecycle.interventions import Intervention
from wsctl.lifecycle.observers import DrainObserver, Shown
from wsctl.lifecycle.progress import DrainProgress


class Showing:
    """Calls each observer with what it has not been shown, when it is due. Costs nothing without a drain."""

    def __init__(self, observers: Sequence[DrainObserver], clock: Callable[[], float]) -> None:
        self._shown = [Shown(observer) for observer in observers]
        self._clock = clock

    def look(self, progress: DrainProgress, exit_code: ExitCode) -> None:
        """Show the drain as it stands now."""
        now = self._clock()
        for shown in self._shown:
            if shown.is_due(progress.phase, now):
                shown.show(progress, now, exit_code)

    def intervened(self, step: Intervention) -> None:
        for shown in self._shown:
            shown.intervened(step)

    def cancelled(self) -> None:
        for shown in self._shown:
            shown.cancelled()
