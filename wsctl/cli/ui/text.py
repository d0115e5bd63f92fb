"""The text that commands write: that of others made harmless for a terminal, and durations."""

import json
import math
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

_JOINERS = frozenset("\u200c\u200d")
"""Invisible characters with which scripts and emoji are written."""


def printable(text: str) -> str:
    """Return one line in which control characters, escape sequences, line breaks and what turns the writing
    direction are shown as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else _escaped(c) for c in text)


def say(text: str) -> None:
    """Print one line on stderr, in the program's name."""
    print(f"wsctl: {printable(' '.join(text.split()))}", file=sys.stderr, flush=True)


def compact(value: Any) -> str:
    """Return JSON on one line for people: printable, but no longer JSON where something was escaped."""
    return printable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def clock(seconds: float) -> str:
    """Format a time that runs, as `M:SS` or `H:MM:SS`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def timestamp(moment: float) -> str:
    """Format a moment in Unix seconds as RFC 3339 has it: UTC, to the millisecond."""
    told = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(moment * 1000))
    return told.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def left(seconds: float) -> str:
    """Format a time until something, rounded up: nothing is left only when it is over. The largest numbers
    that a server may send are no times: a hundred years stand for them."""
    return clock(math.ceil(min(max(0.0, seconds), 100 * 365 * 86_400.0)))


def measured(seconds: float) -> str:
    """Format a time that was measured, to three digits: `12.5 ms` or `1.25 s`."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
