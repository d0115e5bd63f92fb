"""Terminals: the checks whether a stream is one, and whether it shows colour."""

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def console(stream: TextIO) -> "Console":
    """Return a rich console for a stream: colour only on a terminal that wants it (NO_COLOR, TERM=dumb)."""
    from rich.console import Console

    return Console(file=stream, highlight=False, soft_wrap=True, no_color=not has_colour(stream))


def has_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that is to be coloured."""
    return is_live(stream) and not os.environ.get("NO_COLOR")


def is_live(stream: TextIO) -> bool:
    """Tell whether a line on a stream can be drawn over."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
