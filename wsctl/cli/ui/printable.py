"""Text of others, made harmless for a terminal."""

import json
import sys
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
