"""A list on a terminal: a line for each thing, and how many more there are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text


def listing() -> Table:
    """Return a table without columns yet, and without lines."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def fill(
    table: Table,
    rows: Sequence[Mapping[str, Any]],
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
