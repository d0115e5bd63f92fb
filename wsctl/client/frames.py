"""The contents of a server's frames."""

import json
from functools import lru_cache
from typing import Any

AT_ONCE = 4
"""Frames remembered: a crowd of sessions in one process gets the same frame a thousand times in a row,
and seldom a few of them in turn. Few, for a frame may be large."""


@lru_cache(AT_ONCE)
def decoded(data: str | bytes) -> dict[str, Any] | None:
    """Return the JSON object in a frame; None when it holds none. The object is shared: for reading only."""
    try:
        frame = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return frame if isinstance(frame, dict) else None
