"""What runs this process, or would run a server here, and would stop it."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from wsctl.lifecycle.container import bound_to_us
from wsctl.server.checks.cgroup import SELF
from wsctl.server.checks.finding import Finding, Level
from wsctl.server.checks.stopping import CONTAINER, KUBERNETES, Platform, by_platform, by_unit
from wsctl.server.checks.systemd import SYSTEMCTL, Unanswered, Unit, ask, own_unit
from wsctl.settings import Settings

MARKS = ("/.dockerenv", "/run/.containerenv")
"""Files by which Docker and Podman mark a container."""

Over = Callable[[Mapping[str, str], int], Platform | None]
Service = Callable[[Mapping[str, str]], Unit | None]


def in_kubernetes(environ: Mapping[str, str]) -> bool:
    """Every container of a pod has this variable."""
    return bool(environ.get("KUBERNETES_SERVICE_HOST"))


def around(environ: Mapping[str, str], root: Path = Path("/"), pid: int | None = None) -> Platform | None:
    """The container that this process is somewhere in; None: it is in none that is known."""
    if in_kubernetes(environ):
        return KUBERNETES
    marked = any((root / mark.lstrip("/")).exists() for mark in MARKS)
    return CONTAINER if marked or (os.getpid() if pid is None else pid) == 1 else None


def over_us(environ: Mapping[str, str], pid: int) -> Platform | None:
    """The container that ends with a process of ours. Only that process is sent its signals: what a person
    starts in a container by hand is not stopped by it."""
    if bound_to_us(pid) is None:
        return None
    return KUBERNETES if in_kubernetes(environ) else CONTAINER


def service_of_ours(
    environ: Mapping[str, str], cgroup: Path = SELF, systemctl: str = SYSTEMCTL
) -> Unit | None:
    """The service of systemd that this process is part of; None: there is none.

    Raises:
        Unanswered: there is one, but systemd does not tell of it.
    """
    # Also programs in a person's terminal may have the variable, and only the group tells them apart.
    if "INVOCATION_ID" not in environ:
        return None
    try:
        found = own_unit(cgroup.read_text())
    except OSError:
        return None
    return ask(found[0], user=found[1], systemctl=systemctl) if found else None


def too_short(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    pid: int | None = None,
    over: Over = over_us,
    service: Service = service_of_ours,
) -> str | None:
    """What a server logs at its start when it is known that it will be killed in the middle of a drain; None
    when it is not. `pid` is the process that gets the signal: this one unless given."""
    found = _certain(settings, environ, os.getpid() if pid is None else pid, over, service)
    return f"{found.text}: {found.fix}" if found and found.level is Level.WARNING else None


def _certain(
    settings: Settings,
    environ: Mapping[str, str],
    pid: int,
    over: Over,
    service: Service,
) -> Finding | None:
    if settings.stop_timeout is not None:
        return by_platform(settings, around(environ))
    if platform := over(environ, pid):
        return by_platform(settings, platform)
    if environ.get("NOTIFY_SOCKET"):
        return None
    try:
        unit = service(environ)
    except Unanswered:
        return None
    # Whoever is not the main process (a shell's child, a test in a service) need not be the one that counts.
    return by_unit(settings, unit) if unit and unit.main_pid == pid else None
