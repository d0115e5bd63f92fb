"""Durations as all commands write them: one that runs as a clock, one that was measured in units."""

import math


def clock(seconds: float) -> str:
    """Format a time that runs, as `M:SS` or `H:MM:SS`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def left(seconds: float) -> str:
    """Format a time until something, rounded up: nothing is left only when it is over. The largest numbers
    that a server may send are no times: a hundred years stand for them."""
    return clock(math.ceil(min(max(0.0, seconds), 100 * 365 * 86_400.0)))


def measured(seconds: float) -> str:
    """Format a time that was measured, to three digits: `12.5 ms` or `1.25 s`."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
