"""The platform that runs this process: its kind, the limits of its control group, and the unit of systemd, as
systemd tells of it."""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path, PurePosixPath

from wsctl.process.spawn import INITS, init_name, why_not_outlived

MARKS = ("/.dockerenv", "/run/.containerenv")
"""Files by which Docker and Podman mark a container."""

SERVERS = frozenset({"wsctl", "uvicorn"})
"""Names of first processes that are servers of ours."""

CGROUP = Path("/proc/self/cgroup")
CGROUP_ROOT = Path("/sys/fs/cgroup")

NO_LIMIT = 1 << 60
"""The least number that stands for no limit: version 1 says so with the largest number of whole pages."""

SYSTEMCTL = "systemctl"

BOOTED = Path("/run/systemd/system")
"""Exists where systemd runs the machine (sd_booted(3))."""

SYSTEMD_TIMEOUT = 2.0
"""Seconds for an answer: systemd's own takes a hundredth of one, and a hung bus must hold no server up."""

_ASKED = ("LoadState", "Type", "TimeoutStopUSec", "KillMode", "MainPID", "LimitNOFILE")

_SPANS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
    "month": 2629800.0,
    "y": 31557600.0,
}
"""Seconds of the units in which systemd prints a time (systemd.time(7))."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform that sends SIGTERM and, `leaves` seconds later, SIGKILL, unless it was told another time.
    `fix` is what to set there; `{n}` in it are the seconds."""

    name: str
    leaves: float
    fix: str


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


class Unanswered(Exception):
    """The error that systemd gave no answer about a unit; the text says why, in one line."""


class NoSystemd(Unanswered):
    """The error that no systemd runs on this machine."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of systemd: `stop` is the seconds from SIGTERM to SIGKILL, `open_files` the hard limit; both may
    be infinite, and None is what systemd did not tell."""

    name: str
    type: str
    stop: float
    kill_mode: str
    main_pid: int
    open_files: float | None

    @property
    def extends(self) -> bool:
        """True if systemd is told of a drain, and so leaves it more time, by EXTEND_TIMEOUT_USEC."""
        return self.type in ("notify", "notify-reload")


def unit_in(cgroup: str) -> tuple[str, bool] | None:
    """Return the service that a process is part of, from its `/proc/PID/cgroup`, and whether a user's own
    systemd runs it; None for what a person runs in a session."""
    for line in cgroup.splitlines():
        hierarchy, _, path = line.partition("::") if line.startswith("0::") else line.rpartition(":")
        if hierarchy == "0" or hierarchy.endswith("name=systemd"):
            parts = PurePosixPath(path).parts
            units = [part for part in parts if part.endswith((".service", ".scope"))]
            if units and units[-1].endswith(".service") and not units[-1].startswith("user@"):
                return units[-1], any(unit.startswith("user@") for unit in units)
    return None


def own_service(environ: Mapping[str, str], cgroup: Path = CGROUP, systemctl: str = SYSTEMCTL) -> Unit | None:
    """Return the service of systemd that this process is part of; None: there is none.

    Raises:
        Unanswered: there is one, but systemd does not tell of it.
    """
    # Also programs in a person's terminal may have the variable, and only the group tells them apart.
    if "INVOCATION_ID" not in environ:
        return None
    try:
        found = unit_in(cgroup.read_text())
    except OSError:
        return None
    return query_unit(found[0], user=found[1], systemctl=systemctl) if found else None


def query_unit(
    name: str,
    *,
    user: bool = False,
    systemctl: str = SYSTEMCTL,
    patience: float = SYSTEMD_TIMEOUT,
    booted: Path = BOOTED,
) -> Unit:
    """Ask systemd, or with `user` the caller's own one, about a unit.

    Raises:
        NoSystemd: there is no systemd.
        Unanswered: there is no such unit, or no answer within `patience` seconds.
    """
    of = ["--user"] if user else []
    command = [systemctl, *of, "show", "--property", ",".join(_ASKED), "--", name]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, errors="replace", timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unanswered(f"systemctl did not answer within {patience:g} s") from None
    except FileNotFoundError:
        raise NoSystemd("there is no systemd on this machine") from None
    except OSError as failure:
        raise Unanswered(f"systemctl: {failure.strerror or failure}") from None
    if done.returncode and not booted.exists():
        raise NoSystemd("systemd does not run on this machine")
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise Unanswered(f"systemctl: {said}")
    return parse_unit(name, done.stdout)


def parse_unit(name: str, output: str) -> Unit:
    """Parse a unit from what `systemctl show` prints.

    Raises:
        Unanswered: systemd has no such unit.
    """
    facts = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    if facts.get("LoadState") != "loaded":
        raise Unanswered(f"systemd has no unit {name} ({facts.get('LoadState', 'it tells nothing of it')})")
    return Unit(
        name,
        facts.get("Type", ""),
        parse_timespan(facts.get("TimeoutStopUSec", "infinity")),
        facts.get("KillMode", ""),
        _number(facts, "MainPID") or 0,
        inf if facts.get("LimitNOFILE") == "infinity" else _number(facts, "LimitNOFILE"),
    )


def parse_timespan(text: str) -> float:
    """Parse a time such as `1min 30s` into seconds; `infinity`, and what is not understood, has no end."""
    parts = [re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]+)", word) for word in text.split()]
    if not parts or not all(part and part[2] in _SPANS for part in parts):
        return inf
    return sum(float(part[1]) * _SPANS[part[2]] for part in parts if part)


def _number(facts: Mapping[str, str], name: str) -> int | None:
    value = facts.get(name, "")
    return int(value) if value.isdecimal() else None
