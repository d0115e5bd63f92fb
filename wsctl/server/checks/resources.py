"""The checks whether memory and processes suffice for what the settings allow."""

from pathlib import Path

from wsctl.server.checks.finding import Finding, fine, unknown, warning
from wsctl.settings import Settings

MEMORY, PROCESSES = "memory", "processes"

BASE = 64 << 20
"""Bytes of a process without a client and without history: Python and what it loads, rounded up."""

TASKS = 40
"""Threads of a process at most: Python's pool has up to 32, and some libraries have their own."""


def memory(settings: Settings, bytes_there: int | None) -> Finding:
    """Check the memory; `bytes_there` is what the machine has left, or the limit of the container, None if it
    is not known."""
    if bytes_there is None:
        return unknown(MEMORY, "how much there is, is not to be read here")
    kept = settings.workers * (BASE + settings.history_bytes)
    if kept > bytes_there:
        text = f"{_size(bytes_there)}, but processes and their history take up to {_size(kept)}"
        return warning(MEMORY, text, "a smaller --history-bytes, fewer --workers, or more memory")
    clients = settings.workers * (settings.max_connections or 0)
    queues = clients * settings.max_queue
    if not settings.max_queue:
        text = "without a bound of what waits for a client, one that reads slowly takes all"
        return warning(MEMORY, text, "leave out --max-queue")
    room = (bytes_there - kept) // settings.max_queue
    if clients > room:
        text = f"{_size(bytes_there)}, but {clients} clients that read slowly take {_size(queues + kept)}"
        fits = max(1, (bytes_there - kept) // clients >> 10)
        return warning(MEMORY, text, f"--max-queue {fits}k, a smaller --max-connections, or more memory")
    return fine(MEMORY, f"{_size(bytes_there)}: room for {room} clients with a full queue at a time")


def processes(workers: int, limit: int | None) -> Finding | None:
    """Check `limit`, the most processes and threads that there may be; None where there is no limit."""
    needed = TASKS * (workers + (workers > 1))
    if limit is None:
        return None
    if limit < needed:
        text = f"the container may have {limit} processes and threads, and {workers} workers up to {needed}"
        return warning(PROCESSES, text, f"--pids-limit {needed} or more (TasksMax= of a unit)")
    return fine(PROCESSES, f"{limit} processes and threads are allowed")


def bytes_available(limit: int | None, proc: Path = Path("/proc")) -> int | None:
    """Return the bytes that the machine can give, within the limit of the group; None: not known."""
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        told = next(line for line in lines if line.startswith("MemAvailable:"))
        there = int(told.split()[1]) << 10
    except (OSError, ValueError, StopIteration, IndexError):
        return limit
    return there if limit is None else min(there, limit)


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"
