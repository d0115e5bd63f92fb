"""Numbers in files of the system."""

from pathlib import Path


def number(path: Path) -> int | None:
    """Read the number in a file; None when there is no file, or no number: `max` is no limit."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
