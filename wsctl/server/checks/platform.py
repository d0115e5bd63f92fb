"""The platform that runs this process, or would run a server here, and would stop it."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from wsctl.lifecycle.container import INITS, bound_to_us, first_process
from wsctl.server.checks.cgroup import SELF
from wsctl.server.checks.finding import Finding, Level, unknown
from wsctl.server.checks.stopping import CONTAINER, KUBERNETES, NAME, Platform, by_platform, by_unit
from wsctl.server.checks.systemd import SYSTEMCTL, Unanswered, Unit, ask, own_unit
from wsctl.settings import Settings

MARKS = ("/.dockerenv", "/run/.containerenv")
"""Files by which Docker and Podman mark a container."""

SERVERS = frozenset({"wsctl", "uvicorn"})
"""Names of first processes that are servers of ours."""

Over = Callable[[Mapping[str, str], int], Platform | None]
Service = Callable[[Mapping[str, str]], Unit | None]


def in_kubernetes(environ: Mapping[str, str]) -> bool:
    """Tell whether this is a container of a pod, each of which has the variable KUBERNETES_SERVICE_HOST."""
    return bool(environ.get("KUBERNETES_SERVICE_HOST"))


def around(environ: Mapping[str, str], root: Path = Path("/"), pid: int | None = None) -> Platform | None:
    """Return the container that this process is somewhere in; None: it is in none that is known."""
    if in_kubernetes(environ):
        return KUBERNETES
    marked = any((root / mark.lstrip("/")).exists() for mark in MARKS)
    return CONTAINER if marked or (os.getpid() if pid is None else pid) == 1 else None


def over_us(
    environ: Mapping[str, str], pid: int, first: Callable[[], str] = first_process
) -> Platform | None:
    """Return the container that ends with a server of ours, or None. A container's signals reach its first
    process alone: that is the server itself, an init before it, or the server beside which a person has typed
    something."""
    if pid != 1 and around(environ) is None and bound_to_us(pid) is None:
        return None
    if bound_to_us(pid) is None and first() not in INITS | SERVERS:
        return None
    return KUBERNETES if in_kubernetes(environ) else CONTAINER


def service_of_ours(
    environ: Mapping[str, str], cgroup: Path = SELF, systemctl: str = SYSTEMCTL
) -> Unit | None:
    """Return the service of systemd that this process is part of; None: there is none.

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
    """Return the warning for a server's log when it is known that it will be killed in the middle of a drain,
    else None. `pid` is the process that gets the signal: this one unless given."""
    found = killer(settings, environ, pid=pid, over=over, service=service)
    return f"{found.text}: {found.fix}" if found.level is Level.WARNING else None


def killer(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    pid: int | None = None,
    over: Over = over_us,
    service: Service = service_of_ours,
) -> Finding:
    """Check whether the platform leaves a drain its time: `wsctl check` shows the finding, `serve` warns of
    it."""
    pid = os.getpid() if pid is None else pid
    if settings.stop_timeout is not None:
        return by_platform(settings, around(environ))
    if platform := over(environ, pid):
        return by_platform(settings, platform)
    found = None if environ.get("NOTIFY_SOCKET") else _by_service(settings, environ, pid, service)
    if not found and around(environ):
        text = "this is a container, and its first process is no server: who stops one here is not known"
        found = unknown(NAME, f"{text} (--stop-timeout tells)")
    return found or by_platform(settings, None)


def _by_service(settings: Settings, environ: Mapping[str, str], pid: int, service: Service) -> Finding | None:
    """Check the service of systemd that this process is part of; None: there is none."""
    try:
        unit = service(environ)
    except Unanswered as failure:
        return unknown(NAME, f"this runs under systemd, but {failure}")
    # A unit that is only just being started, as in ExecStartPre=, has no main process yet.
    if not unit or unit.main_pid in (0, pid):
        return by_unit(settings, unit) if unit else None
    return unknown(NAME, f"this runs in {unit.name} of systemd, and is not its main process (--unit NAME)")
