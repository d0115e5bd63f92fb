"""How many clients the process can hold: what the limit of open files leaves."""

import resource

RESERVED_FILES = 64
"""Descriptors kept for listeners, the log, the control socket and short HTTP requests."""


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one, as servers do; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (soft, resource.RLIM_INFINITY):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS refuses values above its own maximum
            return soft
        return hard
    return soft


def capacity(asked: int | None, open_files: int) -> int:
    """Clients at a time: what was asked for, within what the open files allow; 0 is no limit."""
    possible = max(1, open_files - RESERVED_FILES)
    if asked == 0:
        return 0
    return possible if asked is None else min(asked, possible)
