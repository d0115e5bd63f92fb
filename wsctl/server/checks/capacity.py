"""The checks whether descriptors, memory, processes and the kernel's queues suffice for what the settings
allow."""

import resource
from dataclasses import dataclass
from math import inf
from pathlib import Path

from wsctl.server.diagnostics.finding import Finding, error, ok, unknown, warning
from wsctl.server.diagnostics.platform import read_number
from wsctl.server.listening.limits import RESERVED_FILES, capacity, raise_open_files
from wsctl.settings import Settings

OPEN_FILES, MEMORY, PROCESSES, BACKLOG = "open files", "memory", "processes", "backlog"

FEW_CLIENTS = 1000
"""Clients below which room is scarce: a process with room for fewer has the soft limit that systems give to
all, 1,024, as a hard one."""

RAISE_LIMIT = "raise the hard limit (LimitNOFILE= of a unit, --ulimit nofile of docker run, ulimit -Hn)"

PROCESS_BYTES = 64 << 20
"""Bytes of a process without a client and without history: Python and what it loads, rounded up."""

PROCESS_THREADS = 40
"""Threads of a process at most: Python's pool has up to 32, and some libraries have their own."""


@dataclass(frozen=True, slots=True)
class KernelQueues:
    """The bounds of the kernel's queues: `accepted` of the connections that wait for a server to accept them
    (net.core.somaxconn), `opening` of those in the middle of a TCP handshake (net.ipv4.tcp_max_syn_backlog);
    None: not known. With `cookies`, handshakes beyond these go on without a queue."""

    accepted: int | None
    opening: int | None
    cookies: bool


def check_open_files(asked: int | None, open_files: float, of: str = "") -> Finding:
    """Check the limit of open files: `asked` is `--max-connections`, `open_files` the limit of a process once
    raised, `of` says whose it is."""
    if open_files == inf:
        return ok(OPEN_FILES, f"no limit of open files{of}")
    files = int(open_files)
    limit, room = f"{files} open files{of}", capacity(None, files)
    if asked and asked > room:
        text = f"{limit} leave room for {room} clients, and --max-connections is {asked}"
        return error(
            OPEN_FILES, text, f"{RAISE_LIMIT} to {asked + RESERVED_FILES}, or --max-connections {room}"
        )
    if asked == 0:
        text = f"without a limit of connections, new ones hang once {limit} are used up"
        return warning(OPEN_FILES, text, "leave out --max-connections: then the rest is refused in time")
    if asked is None and room < FEW_CLIENTS:
        return warning(
            OPEN_FILES, f"{limit} leave room for {room} clients", f"{RAISE_LIMIT}: 65536 is common"
        )
    return ok(OPEN_FILES, f"room for {room if asked is None else asked} clients in each process ({limit})")


def own_open_files() -> float:
    """Return the limit that a server here would have: raises the soft one to the hard one."""
    files = raise_open_files()
    return inf if files == resource.RLIM_INFINITY else files


def check_memory(settings: Settings, bytes_there: int | None) -> Finding:
    """Check the memory; `bytes_there` is what the machine has left, or the limit of the container, None if it
    is not known."""
    if bytes_there is None:
        return unknown(MEMORY, "the size of the memory cannot be read here")
    parents = 1 if settings.workers > 1 else 0
    histories = settings.workers + (0 if settings.redis else parents)
    kept = (settings.workers + parents) * PROCESS_BYTES + histories * settings.history_bytes
    if kept > bytes_there:
        text = f"{_size(bytes_there)}, but processes and their history take up to {_size(kept)}"
        return warning(MEMORY, text, "a smaller --history-bytes, fewer --workers, or more memory")
    clients = settings.workers * (settings.max_connections or 0)
    queues = clients * settings.max_queue
    if not settings.max_queue:
        text = "without a limit of its queue, one client that reads slowly can use all memory"
        return warning(MEMORY, text, "leave out --max-queue")
    room = (bytes_there - kept) // settings.max_queue
    if clients > room:
        text = f"{_size(bytes_there)}, but {clients} clients that read slowly take {_size(queues + kept)}"
        fits = max(1, (bytes_there - kept) // clients >> 10)
        return warning(MEMORY, text, f"--max-queue {fits}k, a smaller --max-connections, or more memory")
    return ok(MEMORY, f"{_size(bytes_there)}: room for {room} clients with a full queue at a time")


def check_processes(workers: int, limit: int | None) -> Finding | None:
    """Check `limit`, the most processes and threads that there may be; None where there is no limit."""
    needed = PROCESS_THREADS * (workers + (workers > 1))
    if limit is None:
        return None
    if limit < needed:
        text = f"the container may have {limit} processes and threads, and {workers} workers up to {needed}"
        return warning(PROCESSES, text, f"--pids-limit {needed} or more (TasksMax= of a unit)")
    return ok(PROCESSES, f"{limit} processes and threads are allowed")


def bytes_available(limit: int | None, proc: Path = Path("/proc")) -> int | None:
    """Return the bytes that the machine can give, within the limit of the group; None: not known."""
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        told = next(line for line in lines if line.startswith("MemAvailable:"))
        there = int(told.split()[1]) << 10
    except (OSError, ValueError, StopIteration, IndexError):
        return limit
    return there if limit is None else min(there, limit)


def check_backlog(backlog: int, queues: KernelQueues) -> Finding:
    """Check whether the queues hold `backlog` connections, as many as `--backlog` asks for."""
    if queues.accepted is None:
        return unknown(BACKLOG, "net.core.somaxconn cannot be read here")
    if queues.accepted < backlog:
        text = f"--backlog is {backlog}, but the kernel holds {queues.accepted} (net.core.somaxconn)"
        return warning(BACKLOG, text, _sysctl("net.core.somaxconn", backlog))
    if queues.opening is not None and queues.opening < backlog and not queues.cookies:
        name = "net.ipv4.tcp_max_syn_backlog"
        text = f"{name} is {queues.opening} and there are no SYN cookies: a crowd of {backlog} is dropped"
        return warning(BACKLOG, text, f"{_sysctl(name, backlog)}, or net.ipv4.tcp_syncookies=1")
    return ok(BACKLOG, f"the kernel holds {backlog} connections until they are accepted")


def kernel_queues(proc: Path = Path("/proc")) -> KernelQueues:
    """Read the bounds of the queues from Linux; elsewhere nothing is known."""
    cookies = read_number(proc / "sys/net/ipv4/tcp_syncookies")
    return KernelQueues(
        read_number(proc / "sys/net/core/somaxconn"),
        read_number(proc / "sys/net/ipv4/tcp_max_syn_backlog"),
        cookies is None or cookies > 0,
    )


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"


def _sysctl(name: str, value: int) -> str:
    return f"sysctl -w {name}={value} (docker run --sysctl, securityContext.sysctls of a pod)"
