"""A picture that is drawn over in place, on a terminal that is given back whole."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, Any

from rich.console import Console, RenderableType
from rich.live import Live

_ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end a process which has no other use for them."""


class Picture:
    """A picture that rich's `Live` draws, as long as this process has the terminal.

    Ctrl-Z, Ctrl-C, and a signal that ends the process, take the picture away first and show the cursor again;
    none of them comes between while it is drawn. Behind `fg` it is drawn anew below what the shell has
    written, and in the background not at all. For the main thread.
    """

    def __init__(self, console: Console, **how: Any) -> None:
        self.console = console
        self._how: dict[str, Any] = {"console": console, "auto_refresh": False} | how
        self._live: Live | None = None
        self._shown: RenderableType | None = None
        self._before: dict[int, Any] = {}
        self._busy = False
        self._pending: list[int] = []

    def show(self, picture: RenderableType) -> None:
        """Draw a picture, over the one before."""
        self._install_handlers()
        self._shown = picture
        with self._undisturbed():
            self._draw()

    def stop(self) -> None:
        """Take the picture away; the last one stays, where that was wanted."""
        try:
            with self._undisturbed():
                self._take_away()
        finally:
            for signum, before in self._before.items():
                signal.signal(signum, before)
            self._before = {}

    def _draw(self) -> None:
        if not has_terminal(self.console.file):
            self._take_away()
        elif self._live:
            self._live.update(self._shown or "", refresh=True)
        else:
            self._live = Live(self._shown, **self._how)
            self._live.start(refresh=True)

    def _take_away(self) -> None:
        live, self._live = self._live, None
        if live:
            live.stop()

    def _install_handlers(self) -> None:
        """Handle the signals that nobody else has a use for."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        for signum in (signal.SIGTSTP, signal.SIGINT, *_ENDS):
            before = signal.getsignal(signum)
            # Who stops others with this process, stops it himself when the picture is away.
            stops = signum == signal.SIGTSTP and callable(before)
            if before in (signal.SIG_DFL, signal.default_int_handler) or stops:
                self._before[signum] = signal.signal(signum, self._handle_signal)

    def _handle_signal(self, signum: int, _frame: FrameType | None) -> None:
        """Handle a signal; one that comes in the middle of a line waits for its end."""
        self._pending.append(signum)
        if not self._busy:
            self._handle_pending()

    def _handle_pending(self) -> None:
        while self._pending:
            signum = self._pending.pop(0)
            with suppress(OSError):  # the terminal is gone
                self._take_away()
            before = self._before.get(signum)
            if callable(before):
                before(signum, None)
            else:
                signal.signal(signum, signal.SIG_DFL)
                os.kill(os.getpid(), signum)
            # Only what stops a process comes back here, when it goes on.
            signal.signal(signum, self._handle_signal)
            with suppress(OSError):
                self._draw()

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        self._handle_pending()


def has_terminal(stream: IO[str]) -> bool:
    """Tell whether this process may draw there: not from the background of a shell."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):  # no terminal, or that of nobody's shell
        return True
