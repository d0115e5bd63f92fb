"""How a server shows itself on a terminal and elsewhere: its log, and its drain."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from wsctl.cli.ui.terminal import console, has_colour, is_live
from wsctl.lifecycle.driver import DrainLog, DrainObserver
from wsctl.server import logs
from wsctl.server.workers.starting import Look
from wsctl.settings import Settings


@contextmanager
def drain_display(settings: Settings, *, in_front: bool) -> Iterator[Sequence[DrainObserver]]:
    """The log on stderr, and who shows a drain there: a live bar on a terminal, log lines elsewhere, and
    where somebody else uses the terminal too: this process is not `in_front` of it."""
    stream = sys.stderr
    if not (in_front and is_live(stream)):
        handler = logs.to_stream(stream, settings.log_format, colour=False)
        logs.configure(handler, settings.log_level, access=settings.access_log)
        yield [DrainLog()]
        return

    from wsctl.cli.ui.drain_bar import ConsoleHandler, DrainBar

    screen = console(stream)
    shown = ConsoleHandler(screen)
    shown.setFormatter(logs.formatter(settings.log_format, terminal=True, colour=has_colour(stream)))
    logs.configure(shown, settings.log_level, access=settings.access_log)
    bar = DrainBar(screen)
    try:
        # The log's start and end lines stay above the bar; the bar is what moves in between.
        yield [DrainLog(interval=float("inf")), bar]
    finally:
        bar.stop()


@contextmanager
def parent_display(settings: Settings) -> Iterator[tuple[Sequence[DrainObserver], Look | None]]:
    """Like `drain_display` for one that has workers; and how their lines are written, which must go above the
    bar. None where they may write by themselves."""
    with drain_display(settings, in_front=True) as observers:
        yield observers, _look() if is_live(sys.stderr) else None


def _look() -> Look:
    from wsctl.cli.ui.drain_bar import ConsoleHandler

    (shown,) = (h for h in logging.getLogger("wsctl").handlers if isinstance(h, ConsoleHandler))
    return Look(shown.line, has_colour(sys.stderr))


def worker_log(settings: Settings, *, terminal: bool, colour: bool) -> None:
    """The log of a worker: on stderr, which may lead to its parent's terminal."""
    handler = logs.LineHandler(sys.stderr)
    handler.setFormatter(logs.formatter(settings.log_format, terminal=terminal, colour=colour))
    logs.configure(handler, settings.log_level, access=settings.access_log)
