"""Terminals: whether a stream is one, and whether it shows colour."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console

from wsctl.cli.ui.drain_bar import ConsoleHandler, DrainBar
from wsctl.lifecycle.driver import DrainLog, DrainObserver
from wsctl.server import logs
from wsctl.settings import Settings


def console(stream: TextIO) -> Console:
    """A rich console for a stream: colour only on a terminal that wants it (NO_COLOR, TERM=dumb)."""
    return Console(file=stream, highlight=False, soft_wrap=True, no_color=not has_colour(stream))


def has_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that is to be coloured."""
    return is_live(stream) and not os.environ.get("NO_COLOR")


def is_live(stream: TextIO) -> bool:
    """Whether a line on a stream can be drawn over."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextmanager
def drain_display(settings: Settings) -> Iterator[Sequence[DrainObserver]]:
    """The log on stderr, and who shows a drain there: a live bar on a terminal, log lines elsewhere."""
    stream = sys.stderr
    if not is_live(stream):
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
