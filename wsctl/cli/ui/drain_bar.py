"""The live bar of a drain, with the log undisturbed above it."""

import logging

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wsctl.codes import ExitCode
from wsctl.lifecycle.graceful import DrainProgress

REFRESH = 0.25
"""Seconds between two pictures of the bar."""


class ConsoleHandler(logging.Handler):
    """Log lines through rich's console, which keeps a live display below them."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._console.print(Text.from_ansi(self.format(record)), soft_wrap=True)
        except Exception:
            self.handleError(record)


class DrainBar:
    """Shows a drain's progress in place, for as long as it lasts."""

    interval = REFRESH

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def began(self, progress: DrainProgress) -> None:
        self._live = Live(
            picture(progress),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start(refresh=True)

    def progressed(self, progress: DrainProgress) -> None:
        if self._live:
            self._live.update(picture(progress), refresh=True)

    def cancelled(self) -> None:
        self.stop()

    def ended(self, progress: DrainProgress, exit_code: ExitCode) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the bar away."""
        if self._live:
            self._live.stop()
            self._live = None


def picture(progress: DrainProgress) -> Table:
    """One line: how many are left of how many, elapsed, remaining, and who has been there longest."""
    gone = progress.started_with - progress.active
    line = Table.grid(padding=(0, 1))
    line.add_row(
        Text(progress.phase.capitalize(), style="bold"),
        ProgressBar(total=max(1, progress.started_with), completed=gone, width=24),
        Text(f"{progress.active} of {progress.started_with} connected"),
        Text(f"elapsed {clock(progress.elapsed_s)}", style="dim"),
        Text(f"remaining {clock(progress.remaining_s)}", style="cyan"),
        Text(
            f"longest: {progress.oldest}" if progress.oldest else "",
            style="dim",
            overflow="ellipsis",
            no_wrap=True,
        ),
    )
    return line


def clock(seconds: float) -> str:
    """Seconds as `M:SS` or `H:MM:SS`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
