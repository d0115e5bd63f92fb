"""The findings of `wsctl check`, line by line."""

from collections import Counter
from typing import TYPE_CHECKING, TextIO

from wsctl.cli.ui.streams import console, is_live
from wsctl.cli.ui.text import printable
from wsctl.server.diagnostics.finding import Finding, Level

if TYPE_CHECKING:
    from rich.table import Table

STYLES = {
    Level.OK: "green",
    Level.UNKNOWN: "cyan",
    Level.ADVICE: "blue",
    Level.WARNING: "yellow",
    Level.ERROR: "bold red",
}

LEVEL, NAME = 9, 16
"""Columns that the first two words of a line have."""


class Findings:
    """Shows findings as they come. On a terminal long ones are broken, each below where it began; elsewhere a
    finding is one line, and its fix another.

    Attributes:
        counts: the number of findings of each level.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._screen = console(stream) if is_live(stream) else None
        self.counts: Counter[str] = Counter()

    def show(self, finding: Finding) -> None:
        """Show one finding."""
        self.counts[finding.level] += 1
        rows = [(str(finding.level), finding.name, printable(finding.text))]
        if finding.fix:
            rows.append(("", "", f"fix: {printable(finding.fix)}"))
        if self._screen:
            self._screen.print(_grid(rows, STYLES[finding.level]), soft_wrap=False)
        else:
            for level, name, text in rows:
                print(f"{level:<{LEVEL}}{name:<{NAME}}{text}", file=self._stream, flush=True)

    def sum_up(self) -> None:
        """Print the last line: how many findings there are of each level."""
        told = (f"{self.counts[level]} {_plural(level, self.counts[level])}" for level in reversed(Level))
        print(", ".join(words for words in told if not words.startswith("0 ")), file=self._stream, flush=True)


def _grid(rows: list[tuple[str, str, str]], style: str) -> "Table":
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid()
    grid.add_column(width=LEVEL, style=style)
    grid.add_column(width=NAME)
    grid.add_column(overflow="fold")
    for level, name, text in rows:
        grid.add_row(level, name, Text(text))
    return grid


def _plural(level: Level, count: int) -> str:
    return f"{level}s" if count != 1 and level in (Level.WARNING, Level.ERROR) else str(level)
