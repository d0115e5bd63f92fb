"""A handover for people: a live bar, or lines."""

from typing import TextIO

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wsctl.cli.ui.layout import BAR_WIDTH, ECHO, GAP, LINE_EVERY, MIN_BAR, row
from wsctl.cli.ui.live import Picture
from wsctl.cli.ui.text import clock, measured, printable
from wsctl.drain.progress import HandoverProgress, HandoverState


class HandoverBar:
    """Shows a handover in place, for as long as it lasts."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Picture(console, transient=True, redirect_stdout=False)

    def show(self, progress: HandoverProgress) -> None:
        self._live.show(picture(progress, self._console.width - ECHO))

    def stop(self) -> None:
        """Take the bar away."""
        self._live.stop()


class HandoverLines:
    """Shows a handover where nothing can be drawn over: a line for each state, and now and then one more.

    `show` may be called more often than lines are printed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._state: HandoverState | None = None
        self._next = 0.0

    def show(self, progress: HandoverProgress) -> None:
        if progress.state is not self._state or progress.elapsed_s >= self._next:
            self._state = progress.state
            self._next = progress.elapsed_s + LINE_EVERY
            print(standing(progress), file=self._stream, flush=True)

    def stop(self) -> None:
        """Do nothing: there is nothing to take away."""


def standing(progress: HandoverProgress) -> str:
    """Describe a handover as it stands, in one line."""
    match progress.state:
        case HandoverState.STARTING:
            return f"starting the successor, elapsed {clock(progress.elapsed_s)}"
        case HandoverState.MOVING:
            return f"moving: {_moved(progress)}, elapsed {clock(progress.elapsed_s)}"
        case HandoverState.FAILED:
            return f"failed: {' '.join(why(progress))}"
    parts = [f"moved {progress.moved}", f"draining {progress.staying}"]
    if progress.staying:
        parts[-1] += " in the old process"
    if progress.moved:  # of others there is no figure: how long they take is up to them
        parts.append(f"longest silence {measured(progress.silence_s)}")
    return f"{', '.join(parts)} (pid {progress.successor} serves)"


def outcome(progress: HandoverProgress) -> str:
    """Describe how a handover was done, or how it stands if it was not waited for."""
    done = progress.state is HandoverState.DONE
    return f"{'upgraded: ' if done else ''}{standing(progress)}"


def why(progress: HandoverProgress) -> list[str]:
    """Say why a handover failed: one line, and below it the last ones of a traceback if there is one."""
    return [printable(line) for line in (progress.error or "the server does not say why").split("\n")]


def picture(progress: HandoverProgress, width: int) -> Table:
    """Draw how many moved of how many, and elapsed, in one line of at most `width` columns.

    The bar is left out first, then the time.
    """
    elapsed = Text(f"elapsed {clock(progress.elapsed_s)}", style="dim")
    if progress.state is HandoverState.STARTING:
        return _line(width, Text("Starting the successor", style="bold"), elapsed)
    parts = [Text("Moving", style="bold"), Text(_moved(progress)), elapsed]
    room = width - sum(part.cell_len + GAP for part in parts)
    if room < MIN_BAR:
        return _line(width, *parts)
    total = max(1, progress.total)
    bar = ProgressBar(total=total, completed=progress.moved, width=min(room, BAR_WIDTH))
    return row(parts[0], bar, *parts[1:])


def _moved(progress: HandoverProgress) -> str:
    return f"{progress.moved} of {progress.total} moved"


def _line(width: int, *parts: Text) -> Table:
    needed = sum(part.cell_len + GAP for part in parts) - GAP
    return row(*parts) if needed <= width else row(*parts[:-1])
