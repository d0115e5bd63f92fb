"""How a server shows itself on a terminal and elsewhere: its log, and its drain."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from wsctl.cli.ui.drain_bar import ConsoleHandler, DrainBar
from wsctl.cli.ui.terminal import console, has_colour, is_live
from wsctl.lifecycle.driver import DrainLog, DrainObserver
from wsctl.server import logs
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
