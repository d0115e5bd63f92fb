"""The number of clients that the process can hold: what the limit of open files leaves."""

import resource
from collections.abc import Callable

from wsctl.server.listening.pending_connections import MAX_PENDING

RESERVED_FILES = 64
"""Descriptors kept for listeners, the log, the control socket and short HTTP requests."""

LAST_FILES = RESERVED_FILES // 2
"""Descriptors among `RESERVED_FILES` that no request from outside may take, so that operators still get
in."""

MANY_FILES = 10_240
"""The soft limit to ask for where there is no hard one: OPEN_MAX, the most that macOS grants unasked."""


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one, as servers do; returns the soft limit that holds
    then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, MANY_FILES) if hard == resource.RLIM_INFINITY else hard
    if soft not in (wanted, resource.RLIM_INFINITY):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # above what the system itself allows
            return soft
        return wanted
    return soft


def fits(files: int, open_files: int) -> bool:
    """Tell whether so many descriptors are within the limit of open files, which may be infinite."""
    return open_files == resource.RLIM_INFINITY or files <= open_files


def capacity(asked: int | None, open_files: int) -> int:
    """Return how many clients there may be at a time, within what the open files allow: `asked`, or as many
    as these allow if it is None; 0 is no limit."""
    if asked == 0:
        return 0
    if open_files == resource.RLIM_INFINITY:
        return asked or 0
    possible = max(1, open_files - RESERVED_FILES)
    return possible if asked is None else min(asked, possible)


class ConnectionLimits:
    """The limits of the connections of this process, whose open files are raised to the most. `asked` is how
    many clients there may be, None for as many as possible; `held` returns how many connections are, or were,
    clients'.

    Attributes:
        capacity: how many clients there may be; 0 is no limit.
    """

    def __init__(self, asked: int | None, held: Callable[[], int]) -> None:
        self._open_files = raise_open_files()
        self._held = held
        self.capacity = capacity(asked, self._open_files)

    def has_room(self, pending: int) -> bool:
        """Tell whether there may be so many connections that are no clients, with enough descriptors left to
        operators."""
        return pending <= MAX_PENDING and fits(pending + self._held() + LAST_FILES, self._open_files)
