"""The check whether this process may end while its successor goes on."""

import os
from collections.abc import Callable
from pathlib import Path

INITS = frozenset({"tini", "docker-init", "dumb-init", "catatonit"})
"""First processes that start one program and end with it, and their container with them."""


def bound_to_us(
    pid: int | None = None, parent: int | None = None, first: Callable[[], str] | None = None
) -> str | None:
    """Return the reason why the successor would end with this process, or None.

    `first` returns the name of process 1.
    """
    pid = os.getpid() if pid is None else pid
    parent = os.getppid() if parent is None else parent
    advice = "deploy a new container instead"
    if pid == 1:
        return f"this is process 1, whose end is its container's: {advice}"
    name = (first or first_process)() if parent == 1 else ""
    if name in INITS:
        return f"process 1 is {name}, which ends its container when this process ends: {advice}"
    return None


def first_process() -> str:
    """Return the name of process 1, empty if it cannot be read."""
    try:
        return Path("/proc/1/comm").read_text().strip()
    except OSError:
        return ""
