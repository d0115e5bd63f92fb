"""The check whether the platform leaves a drain the time that it may take."""

import os
from collections.abc import Callable, Mapping
from math import ceil, inf

from wsctl.codes import CLOSE_TIMEOUT
from wsctl.server.diagnostics.finding import Finding, Level, ok, unknown, warning
from wsctl.server.diagnostics.platform import (
    OTHER,
    Platform,
    Unanswered,
    Unit,
    container_around,
    container_of_server,
    own_service,
)
from wsctl.settings import Settings, flag, variable

NAME = "stop time"

HEADROOM = 20.0
"""Seconds that a platform is asked for beyond the longest drain, which makes 30 with the closing handshakes:
Kubernetes counts its preStop hook into the same time, and a loaded machine is late with everything."""

LAST_SECONDS = 5.0
"""Seconds of the platform's time that a drain must leave for the process itself to end."""

WORKER_GRACE = 3.0
"""Seconds on top of the deadline and of `CLOSE_TIMEOUT`: a worker that does not hang has cut its last client
by then, and ends within one second, on a loaded machine within two."""

_NOTIFY = "Type=notify (wsctl then asks for the time it needs) or "

SYSTEMD = f"set {_NOTIFY}TimeoutStopSec={{n}}"
"""The fix in a unit of systemd."""

_FLAG = flag("shutdown_timeout")

ContainerOf = Callable[[Mapping[str, str], int], Platform | None]
ServiceOf = Callable[[Mapping[str, str]], Unit | None]


def longest_drain(settings: Settings) -> float:
    """Return the seconds from a signal to the end of the process, at most. Waiting for a turn
    (`--max-draining`) adds none: the deadline does not wait for it."""
    last = CLOSE_TIMEOUT + (WORKER_GRACE if settings.workers > 1 else 0)
    return settings.drain_delay + settings.shutdown_timeout + last


def recommended_stop_time(settings: Settings) -> int:
    """Return the seconds that a platform should be told to leave: what `check` and `serve` advise, and
    generated files say."""
    return ceil(longest_drain(settings) + HEADROOM)


def margin(settings: Settings) -> float:
    """Return the part of `recommended_stop_time`, in seconds and not rounded up, that is neither
    `--drain-delay` nor `--shutdown-timeout`."""
    return longest_drain(settings) + HEADROOM - settings.drain_delay - settings.shutdown_timeout


def check_platform(settings: Settings, platform: Platform | None) -> Finding:
    """Check the time that a platform leaves, by `--stop-timeout` or by its default; None: there is no
    platform."""
    at = platform or OTHER
    if settings.stop_timeout is not None:
        return _compare(settings, at.name, settings.stop_timeout, at.fix)
    if at is OTHER:
        text = f"a drain may last {_duration(settings)}, and nothing here is known to cut it short"
        return ok(NAME, f"{text} (--unit NAME asks systemd)")
    return _compare(settings, at.name, at.leaves, at.fix, "unless it was told otherwise")


def check_unit(settings: Settings, unit: Unit) -> Finding:
    """Check the time that systemd leaves a unit."""
    name = f"systemd ({unit.name})"
    if unit.kill_mode == "none":
        text = f"{name} tells nobody to stop: KillMode=none, so no drain begins"
        return warning(NAME, text, "remove KillMode= from the unit")
    if unit.extends:
        text = f"{name} is told of each drain (Type={unit.type}) and leaves it the time it needs"
        return ok(NAME, text)
    return _compare(settings, name, unit.stop, SYSTEMD)


def stop_time_warning(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    pid: int | None = None,
    container: ContainerOf = container_of_server,
    service: ServiceOf = own_service,
) -> str | None:
    """Return the warning for a server's log when it is known that it will be killed in the middle of a drain,
    else None. `pid` is the process that gets the signal: this one unless given."""
    found = check_own_platform(settings, environ, pid=pid, container=container, service=service)
    return f"{found.text}: {found.fix}" if found.level is Level.WARNING else None


def check_own_platform(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    pid: int | None = None,
    container: ContainerOf = container_of_server,
    service: ServiceOf = own_service,
) -> Finding:
    """Check whether the platform leaves a drain its time: `wsctl check` shows the finding, `serve` warns of
    it."""
    pid = os.getpid() if pid is None else pid
    if settings.stop_timeout is not None:
        return check_platform(settings, container_around(environ))
    if platform := container(environ, pid):
        return check_platform(settings, platform)
    found = None if environ.get("NOTIFY_SOCKET") else _check_service(settings, environ, pid, service)
    if not found and container_around(environ):
        text = "this is a container whose first process is no server: the time it leaves is not known"
        found = unknown(NAME, f"{text} (set --stop-timeout)")
    return found or check_platform(settings, None)


def reworded_for_embedded(text: str) -> str:
    """Reword a finding for another ASGI server, which does not speak with systemd, nor know our flags."""
    return text.replace(_NOTIFY, "").replace(f"{_FLAG} ", f"{variable('shutdown_timeout')}=")


def _check_service(
    settings: Settings, environ: Mapping[str, str], pid: int, service: ServiceOf
) -> Finding | None:
    """Check the service of systemd that this process is part of; None: there is none."""
    try:
        unit = service(environ)
    except Unanswered as failure:
        return unknown(NAME, f"this runs under systemd, but {failure}")
    # A unit that is only just being started, as in ExecStartPre=, has no main process yet.
    if not unit or unit.main_pid in (0, pid):
        return check_unit(settings, unit) if unit else None
    return unknown(NAME, f"this runs in {unit.name} of systemd, and is not its main process (--unit NAME)")


def _compare(settings: Settings, name: str, leaves: float, fix: str, unless: str = "") -> Finding:
    if leaves == inf:
        return ok(NAME, f"{name} never kills; a drain may last {_duration(settings)}")
    if leaves >= longest_drain(settings):
        text = f"{name} leaves {leaves:g} s, and a drain may last {_duration(settings)}"
        return ok(NAME, text)
    condition = f" {unless}" if unless else ""
    text = f"{name} kills {leaves:g} s after SIGTERM{condition}, but a drain may last {_duration(settings)}"
    return warning(
        NAME, text, fix.format(n=recommended_stop_time(settings)) + _fitting_timeout(settings, leaves)
    )


def _fitting_timeout(settings: Settings, leaves: float) -> str:
    """Return the `--shutdown-timeout` that would fit, as part of a fix; empty where none does."""
    other = longest_drain(settings) - settings.shutdown_timeout
    fits = int(leaves - other - LAST_SECONDS)
    return f", or {_FLAG} {fits}" if fits > 0 else ""


def _duration(settings: Settings) -> str:
    return f"{longest_drain(settings):g} s"
