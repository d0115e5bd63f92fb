"""The output of a server on a terminal and elsewhere: its log, and its drain."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wsctl.cli.ui.streams import console, has_colour, is_live
from wsctl.drain.observers import DrainLog, DrainObserver
from wsctl.drain.progress import HandoverProgress, HandoverState
from wsctl.server import logs
from wsctl.server.workers.worker import LogOutput
from wsctl.settings import Settings

if TYPE_CHECKING:
    from wsctl.cli.ui.drain_bar import DrainBar


class Display:
    """The observers that show a drain on stderr: the log, and below it the bar where there is one."""

    def __init__(self, bar: "DrainBar | None" = None) -> None:
        self._bar = bar
        # The log's start and end lines stay above the bar; the bar is what moves in between.
        self._log = DrainLog(interval=float("inf")) if bar else DrainLog()

    @property
    def observers(self) -> Sequence[DrainObserver]:
        return [self._log, *([self._bar] if self._bar else [])]

    def handing_over(self, progress: HandoverProgress) -> None:
        """Take each state of a handover: afterwards the successor has the terminal, with a bar of its own,
        and what is left here is told in lines."""
        if progress.state is HandoverState.DONE and self._bar:
            self._bar.retire()
            self._log.interval = DrainLog().interval


@contextmanager
def drain_display(settings: Settings, *, in_front: bool) -> Iterator[Display]:
    """Set up the log on stderr, and what shows a drain there: a live bar on a terminal, log lines elsewhere,
    and where another process uses the terminal too: this one is not `in_front` of it."""
    stream = sys.stderr
    if not (in_front and is_live(stream)):
        handler = logs.stream_handler(stream, settings.log_format, colour=False)
        logs.configure(handler, settings.log_level, access=settings.access_log)
        yield Display()
        return

    from wsctl.cli.ui.drain_bar import ConsoleHandler, DrainBar

    screen = console(stream)
    shown = ConsoleHandler(screen)
    shown.setFormatter(logs.formatter(settings.log_format, terminal=True, colour=has_colour(stream)))
    logs.configure(shown, settings.log_level, access=settings.access_log)
    bar = DrainBar(screen)
    try:
        yield Display(bar)
    finally:
        bar.stop()


@contextmanager
def parent_display(settings: Settings) -> Iterator[tuple[Sequence[DrainObserver], LogOutput | None]]:
    """Do the same as `drain_display` for the parent of workers; and give how their lines are written, which
    must go above the bar. None where they may write by themselves."""
    with drain_display(settings, in_front=True) as shown:
        yield shown.observers, _log_output() if is_live(sys.stderr) else None


def _log_output() -> LogOutput:
    from wsctl.cli.ui.drain_bar import ConsoleHandler

    (shown,) = (h for h in logging.getLogger("wsctl").handlers if isinstance(h, ConsoleHandler))
    return LogOutput(shown.line, has_colour(sys.stderr))


def worker_log(settings: Settings, *, terminal: bool, colour: bool) -> None:
    """Set up the log of a worker: on stderr, which may lead to its parent's terminal."""
    handler = logs.LineHandler(sys.stderr)
    handler.setFormatter(logs.formatter(settings.log_format, terminal=terminal, colour=colour))
    logs.configure(handler, settings.log_level, access=settings.access_log)
