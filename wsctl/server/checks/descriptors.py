"""The check whether there are descriptors for as many clients as are to be served."""

import resource
from math import inf

from wsctl.server.checks.finding import Finding, error, fine, warning
from wsctl.server.limits import RESERVED_FILES, capacity, raise_open_files

NAME = "open files"

FEW = 1000
"""Clients below which room is scarce: a process with room for fewer has the soft limit that systems give to
all, 1,024, as a hard one."""

REMEDY = "raise the hard limit (LimitNOFILE= of a unit, --ulimit nofile of docker run, ulimit -Hn)"


def check(asked: int | None, open_files: float, of: str = "") -> Finding:
    """Check the limit of open files: `asked` is `--max-connections`, `open_files` the limit of a process once
    raised, `of` says whose it is."""
    if open_files == inf:
        return fine(NAME, f"no limit of open files{of}")
    files = int(open_files)
    limit, room = f"{files} open files{of}", capacity(None, files)
    if asked and asked > room:
        text = f"{limit} leave room for {room} clients, and --max-connections is {asked}"
        return error(NAME, text, f"{REMEDY} to {asked + RESERVED_FILES}, or --max-connections {room}")
    if asked == 0:
        text = f"without a limit of connections, new ones hang once {limit} are used up"
        return warning(NAME, text, "leave out --max-connections: then the rest is refused in time")
    if asked is None and room < FEW:
        return warning(NAME, f"{limit} leave room for {room} clients", f"{REMEDY}: 65536 is common")
    return fine(NAME, f"room for {room if asked is None else asked} clients in each process ({limit})")


def own_limit() -> float:
    """Return the limit that a server here would have: raises the soft one to the hard one."""
    files = raise_open_files()
    return inf if files == resource.RLIM_INFINITY else files
