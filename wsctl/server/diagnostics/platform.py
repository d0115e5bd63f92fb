"""The platform that runs this process: its kind, and the limits of its control group."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path, PurePosixPath

from wsctl.process.replacement import INITS, init_name, why_not_outlived

MARKS = ("/.dockerenv", "/run/.containerenv")
"""Files by which Docker and Podman mark a container."""

SERVERS = frozenset({"wsctl", "uvicorn"})
"""Names of first processes that are servers of ours."""

CGROUP = Path("/proc/self/cgroup")
CGROUP_ROOT = Path("/sys/fs/cgroup")

NO_LIMIT = 1 << 60
"""The least number that stands for no limit: version 1 says so with the largest number of whole pages."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform that sends SIGTERM and, `leaves` seconds later, SIGKILL, unless it was told another time.
    `remedy` is what to set there; `{n}` in it are the seconds."""

    name: str
    leaves: float
    remedy: str


KUBERNETES = Platform("Kubernetes", 30.0, "set terminationGracePeriodSeconds: {n} and WSCTL_STOP_TIMEOUT={n}")
"""30 s is the default of terminationGracePeriodSeconds (Kubernetes, "Pod Lifecycle": termination of pods)."""

CONTAINER = Platform(
    "the container engine",
    10.0,
    "set --stop-timeout {n} of docker run or stop_grace_period: {n}s of Compose, and WSCTL_STOP_TIMEOUT={n}",
)
"""10 s is the default of `docker stop`, of Compose's stop_grace_period (Docker's reference) and of Podman."""

OTHER = Platform(
    "the platform",
    inf,
    "set terminationGracePeriodSeconds, stop_grace_period or TimeoutStopSec, and WSCTL_STOP_TIMEOUT, to {n}",
)
"""The platform, of whatever kind, to which WSCTL_STOP_TIMEOUT belongs; without that variable, none."""


def in_kubernetes(environ: Mapping[str, str]) -> bool:
    """Tell whether this is a container of a pod, each of which has the variable KUBERNETES_SERVICE_HOST."""
    return bool(environ.get("KUBERNETES_SERVICE_HOST"))


def container_around(
    environ: Mapping[str, str], root: Path = Path("/"), pid: int | None = None
) -> Platform | None:
    """Return the container that this process is somewhere in; None: it is in none that is known."""
    if in_kubernetes(environ):
        return KUBERNETES
    marked = any((root / mark.lstrip("/")).exists() for mark in MARKS)
    return CONTAINER if marked or (os.getpid() if pid is None else pid) == 1 else None


def container_of_server(
    environ: Mapping[str, str], pid: int, first: Callable[[], str] = init_name
) -> Platform | None:
    """Return the container that ends with a server of ours, or None. A container's signals reach its first
    process alone: that is the server itself, an init before it, or the server beside which a person has typed
    something."""
    if pid != 1 and container_around(environ) is None and why_not_outlived(pid) is None:
        return None
    if why_not_outlived(pid) is None and first() not in INITS | SERVERS:
        return None
    return KUBERNETES if in_kubernetes(environ) else CONTAINER


def memory_limit(groups: Path = CGROUP, root: Path = CGROUP_ROOT) -> int | None:
    """Return the bytes that all processes of the group may have; None: no limit is known."""
    return _tightest_limit(groups, root, "memory", ("memory.max", "memory.limit_in_bytes"))


def process_limit(groups: Path = CGROUP, root: Path = CGROUP_ROOT) -> int | None:
    """Return the processes and threads that the group may have; None: no limit is known."""
    return _tightest_limit(groups, root, "pids", ("pids.max",))


def _tightest_limit(groups: Path, root: Path, controller: str, files: tuple[str, ...]) -> int | None:
    """Return the tightest limit of a group and those around it; None: no limit is known. Inside a container
    the path of the group is the host's, and the container's own group is the root of what is mounted."""
    found = []
    for folder, path in _group_folders(groups, root, controller):
        inside = PurePosixPath(path.lstrip("/"))
        for at in (inside, *inside.parents):
            found += [limit for file in files if (limit := read_number(folder / at / file)) is not None]
    limits = [limit for limit in found if limit < NO_LIMIT]
    return min(limits) if limits else None


def _group_folders(groups: Path, root: Path, controller: str) -> list[tuple[Path, str]]:
    """Return where the files of a controller are: its folder, and the path of the group below that."""
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:
        return []
    mounts = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if not controllers:
            mounts.append((root, path))
        elif controller in controllers.split(","):
            mounts.append((root / controller, path))
    return mounts


def read_number(path: Path) -> int | None:
    """Read the number in a file; None when there is no file, or no number: `max` is no limit."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
