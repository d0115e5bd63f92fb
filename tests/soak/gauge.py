"""What a process uses. Reads /proc: Linux only."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

LOOKS, PAUSE = 5, 0.1
"""How often one reading looks, and the seconds in between: what is there for a moment only is not counted."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Use:
    """Of one process at one moment.

    Attributes:
        memory: resident, in bytes.
        files: open descriptors.
        threads: of the process.
    """

    memory: int
    files: int
    threads: int


@dataclass(frozen=True)
class Reading:
    """Of one process in a quiet moment.

    Attributes:
        role: what it is: "server", "parent", "worker 1".
        chain: which cold start of its role it goes back to; processes of a chain took over from each other.
        pid: which process it is.
        memory: resident, in bytes.
        files: open descriptors beside one for each connection.
        tasks: asyncio tasks; None of a process that does not tell.
        threads: of the process.
    """

    role: str
    chain: int
    pid: int
    memory: int
    files: int
    tasks: int | None
    threads: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def use(pid: int) -> Use:
    """Raises `OSError`: there is no such process."""
    home = Path(f"/proc/{pid}")
    memory = int((home / "statm").read_text().split()[1]) * _PAGE
    return Use(memory, len(os.listdir(home / "fd")), len(os.listdir(home / "task")))


def read(role: str, chain: int, pid: int, facts: Callable[[], dict[str, Any]]) -> Reading:
    """`facts` is the process's status."""
    uses, told = [], []
    for _ in range(LOOKS):
        uses.append(use(pid))
        told.append(facts())
        time.sleep(PAUSE)
    connections = min(one["connections"] for one in told) if role != "parent" else 0
    tasks = [one["tasks"] for one in told if "tasks" in one]
    return Reading(
        role,
        chain,
        pid,
        int(median(one.memory for one in uses)),
        min(one.files for one in uses) - connections,
        min(tasks) if tasks else None,
        min(one.threads for one in uses),
    )
