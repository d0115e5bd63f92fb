"""A terminal that a program runs in, and what a person sees on it."""

import os
import pty
import select
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from fcntl import ioctl

import pyte

from tests.support.processes import popen, take_terminal
from tests.support.server import DEADLINE


class Terminal:
    """A pseudo-terminal with a screen of `columns` x `lines`, and one program on it."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], columns: int = 100, lines: int = 30
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.raw = b""
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = popen(
            command,
            env={"TERM": "xterm-256color"} | dict(environ),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        os.close(slave)

    @property
    def text(self) -> str:
        """The screen as it stands."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, wanted: str | Callable[[str], bool], deadline: float = DEADLINE) -> str:
        """The screen once it shows a text, or fulfils a condition."""
        true = wanted if callable(wanted) else lambda text: wanted in text
        until = time.monotonic() + deadline
        while not true(self.text):
            if not self.read(until - time.monotonic()):
                raise AssertionError(f"{wanted!r} never came on the screen:\n{self.text}")
        return self.text

    def wait(self, deadline: float = DEADLINE) -> int:
        """The exit code, once everything it wrote is on the screen."""
        until = time.monotonic() + deadline
        while self.read(until - time.monotonic()):
            pass
        return self.process.wait(max(0.1, until - time.monotonic()))

    @property
    def reads_lines(self) -> bool:
        """The terminal collects a whole line, and edits it, before the program gets it."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ICANON)

    def hang_up(self) -> None:
        """Close the window: who still has the terminal has none any more."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._master >= 0:
            os.close(self._master)

    def read(self, patience: float) -> bool:
        """Take in what was written; false when the program is gone or the time is up."""
        if patience <= 0 or not select.select([self._master], [], [], patience)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux's answer once the last writer has closed
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)
