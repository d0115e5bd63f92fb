"""The line a person types in, with what arrives printed above it."""

import asyncio
import os
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TextIO, cast
from unicodedata import category

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.application.current import set_app
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.input.vt100 import cooked_mode as line_mode
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import StdoutProxy

from wsctl.cli.ui.text import left, printable

REFRESH = 0.5
"""Seconds between two drawings of the time until the next attempt."""


class _Keyboard(Vt100Input):
    """The terminal's keys, read one by one also while text is printed above the prompt.

    prompt_toolkit gives the terminal back to its line discipline for the time of each printing. A key that
    is pressed then is changed: Ctrl-D becomes a NUL, which nobody reads as the end.
    """

    def cooked_mode(self) -> AbstractContextManager[None]:
        return nullcontext()


class Prompt:
    """Reads lines on the terminal. What was entered is erased there: it comes back as a message."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._why_disconnected = ""
        self._retries_at: float | None = None
        self._session: PromptSession[str] = PromptSession(
            self._message,
            input=_Keyboard(sys.stdin),
            refresh_interval=REFRESH,
            history=InMemoryHistory(),
            key_bindings=self._keys(),
            erase_when_done=True,
        )
        self._kept = ""

    async def read(self) -> str:
        """Read the next line.

        Raises:
            EOFError: the person leaves.
        """
        kept, self._kept = self._kept, ""
        with self._suspending():
            return shown_as_typed(await self._session.prompt_async(default=kept))

    def put_back(self, text: str) -> None:
        """Begin the next line with this one, which could not be used."""
        self._kept = text

    def show_disconnected(self, text: str, seconds: float | None) -> None:
        """Show above the line why the client is not connected, and when it tries again; with an empty text
        nothing."""
        self._why_disconnected = text
        self._retries_at = None if seconds is None else time.monotonic() + seconds
        self._session.app.invalidate()

    def _message(self) -> str:
        line = f"{self._client_id}> "
        if not self._why_disconnected:
            return line
        when = "" if self._retries_at is None else f" in {left(self._retries_at - time.monotonic())}"
        # A terminal that is too narrow cuts the end off.
        return f"* retrying{when}, Enter tries now; {self._why_disconnected}\n{line}"

    def _keys(self) -> KeyBindings:
        """Bind the keys: Ctrl-C clears the line, and leaves when there is nothing to clear; Ctrl-Z
        suspends."""
        keys = KeyBindings()

        @keys.add("c-c")
        @keys.add("<sigint>")
        def _(event: KeyPressEvent) -> None:
            if event.current_buffer.text:
                event.current_buffer.reset()
            else:
                event.app.exit(exception=EOFError())

        @keys.add("c-z")
        def _(event: KeyPressEvent) -> None:
            self._suspend()

        return keys

    @contextmanager
    def _suspending(self) -> Iterator[None]:
        """Suspend on the signal too, which somebody else may send: never with the terminal as it is while a
        line is typed."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTSTP)

    def _suspend(self) -> None:
        """Give the terminal back, and stop with the whole job until the shell lets it go on."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            loop.remove_signal_handler(signal.SIGTSTP)
            with line_mode(sys.stdin.fileno()):
                os.kill(0, signal.SIGTSTP)
            loop.add_signal_handler(signal.SIGTSTP, self._suspend)

        with set_app(self._session.app):
            run_in_terminal(stop)


def shown_as_typed(text: str) -> str:
    """Return a line as it stood on the screen: control characters, which the prompt shows, as escapes. Line
    breaks and tabs of a pasted text stay."""
    return "".join(c if c in "\n\t" or category(c) != "Cc" else printable(c) for c in text)


@contextmanager
def above_the_prompt() -> Iterator[TextIO]:
    """Open a stream that prints above the line being typed; escape sequences pass. Until it is closed each
    key comes as it was pressed, between two lines too."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin, termios.TCSANOW)
    try:
        with StdoutProxy(raw=True) as stream:
            yield cast(TextIO, stream)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
