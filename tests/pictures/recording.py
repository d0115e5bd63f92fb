"""A recording of a terminal: what a person saw on it, and when."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.terminal import Terminal

INTERVAL = 0.2
"""Seconds between two frames, at least: a picture in a README is no film."""

KEYSTROKE = 0.06
"""Seconds between two keys of what is typed for the recording."""

Line = tuple[tuple[str, str], ...]
"""Runs of text with the name of their colour (`default`, `green`, `bold`, ...)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The lines of a screen, from a number of seconds after the recording's start on."""

    at: float
    lines: tuple[Line, ...]


@dataclass(slots=True)
class Recording:
    """The frames of one terminal, oldest first."""

    title: str
    frames: list[Frame] = field(default_factory=list)


@contextmanager
def recorded(terminal: Terminal, title: str, started: float) -> Iterator[Recording]:
    """Record a terminal until the block ends; `started` is the moment (monotonic) that frames count from."""
    recording = Recording(title)
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            due = time.monotonic() + INTERVAL
            while (left := due - time.monotonic()) > 0 and terminal.read(left):
                pass
            _keep(recording, Frame(time.monotonic() - started, _lines(terminal)))
            ended.wait(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield recording
    finally:
        ended.set()
        thread.join()


def type_slowly(terminal: Terminal, text: str) -> None:
    """Type like a person, so that it can be followed."""
    for key in text:
        terminal.type(key)
        time.sleep(KEYSTROKE)


def _keep(recording: Recording, frame: Frame) -> None:
    if not recording.frames or recording.frames[-1].lines != frame.lines:
        recording.frames.append(frame)


def _lines(terminal: Terminal) -> tuple[Line, ...]:
    return tuple(_line(terminal, row) for row in range(terminal.screen.lines))


def _line(terminal: Terminal, row: int) -> Line:
    """Join neighbours of one colour; spaces at the end are dropped."""
    cells = terminal.screen.buffer[row]
    runs: list[tuple[str, str]] = []
    for column in range(terminal.screen.columns):
        cell = cells[column]
        colour = "bold" if cell.bold and cell.fg == "default" else cell.fg
        if runs and runs[-1][1] == colour:
            runs[-1] = (runs[-1][0] + cell.data, colour)
        else:
            runs.append((cell.data, colour))
    while runs and not runs[-1][0].strip():
        runs.pop()
    if runs:
        runs[-1] = (runs[-1][0].rstrip(), runs[-1][1])
    return tuple(runs)
