"""How many clients the process can hold: what the limit of open files leaves."""

import resource

RESERVED_FILES = 64
"""Descriptors kept for listeners, the log, the control socket and short HTTP requests."""

LAST_FILES = RESERVED_FILES // 2
"""Descriptors of these that no request from outside may take, so that operators still get in."""


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
    if asked == 0:
        return 0
    if open_files == resource.RLIM_INFINITY:
        return asked or 0
    possible = max(1, open_files - RESERVED_FILES)
    return possible if asked is None else min(asked, possible)
