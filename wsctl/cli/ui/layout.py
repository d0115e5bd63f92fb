"""The layout that bars and tables share: parts in one line, and lists that are cut to the screen."""

from collections.abc import Callable, Sequence
from typing import Any

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

ECHO = 3
"""Columns left free at the end of a line: the terminal's `^C` there must not begin another one."""

BAR_WIDTH, MIN_BAR, GAP = 24, 4, 2
"""Columns: of a bar where there is room, of the shortest one worth showing, and between two parts."""

LINE_EVERY = 10.0
"""Seconds between two lines about what goes on, where there is no bar."""


def row(*parts: Text | ProgressBar) -> Table:
    """Put parts beside each other, in one line."""
    line = Table.grid(padding=(0, GAP))
    for _ in parts:
        line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_row(*parts)
    return line


def list_table() -> Table:
    """Return the table of a list, without columns yet, and without lines."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def fill_table(
    table: Table,
    rows: Sequence[Any],
    cells: Callable[[Any], list[Text]],
    room: int | None,
) -> Table:
    """Give the table at most `room` of the rows, and of each row the cells that it has columns for."""
    shown = rows if room is None else rows[:room]
    for row in shown:
        table.add_row(*cells(row)[: len(table.columns)])
    if len(shown) < len(rows):
        table.add_row(Text(f"  and {len(rows) - len(shown)} more", style="dim"))
    return table
