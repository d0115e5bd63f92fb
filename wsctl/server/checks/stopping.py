"""The check whether the platform leaves a drain the time that it may take."""

from dataclasses import dataclass
from math import ceil, inf

from wsctl.codes import CLOSE_TIMEOUT
from wsctl.server.checks.finding import Finding, fine, warning
from wsctl.server.checks.systemd import Unit
from wsctl.server.workers.overdue import GRACE
from wsctl.settings import Settings, flag, variable

NAME = "stop time"

HEADROOM = 20.0
"""Seconds that a platform is asked for beyond the longest drain, which makes 30 with the closing handshakes:
Kubernetes counts its preStop hook into the same time, and a loaded machine is late with everything."""

LAST_SECONDS = 5.0
"""Seconds of the platform's time that a drain must leave for the process itself to end."""


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

_NOTIFY = "Type=notify (wsctl then asks for the time it needs) or "

SYSTEMD = f"set {_NOTIFY}TimeoutStopSec={{n}}"
"""The remedy in a unit of systemd."""


_FLAG = flag("shutdown_timeout")


def longest_drain(settings: Settings) -> float:
    """Return the seconds from a signal to the end of the process, at most. Waiting for a turn
    (`--max-draining`) adds none: the deadline does not wait for it."""
    last = CLOSE_TIMEOUT + (GRACE if settings.workers > 1 else 0)
    return settings.drain_delay + settings.shutdown_timeout + last


def time_to_ask_for(settings: Settings) -> int:
    """Return the seconds that a platform should be told to leave: what `check` and `serve` advise, and
    generated files say."""
    return ceil(longest_drain(settings) + HEADROOM)


def margin(settings: Settings) -> float:
    """Return the part of `time_to_ask_for`, in seconds and not rounded up, that is neither `--drain-delay`
    nor `--shutdown-timeout`."""
    return longest_drain(settings) + HEADROOM - settings.drain_delay - settings.shutdown_timeout


def by_platform(settings: Settings, platform: Platform | None) -> Finding:
    """Check the time that a platform leaves, by `--stop-timeout` or by its default; None: there is no
    platform."""
    at = platform or OTHER
    if settings.stop_timeout is not None:
        return _compared(settings, at.name, settings.stop_timeout, at.remedy)
    if at is OTHER:
        text = f"a drain may last {_lasts(settings)}, and nothing here is known to cut it short"
        return fine(NAME, f"{text} (--unit NAME asks systemd)")
    return _compared(settings, at.name, at.leaves, at.remedy, "unless it was told otherwise")


def by_unit(settings: Settings, unit: Unit) -> Finding:
    """Check the time that systemd leaves a unit."""
    name = f"systemd ({unit.name})"
    if unit.kill_mode == "none":
        text = f"{name} tells nobody to stop: KillMode=none, so no drain begins"
        return warning(NAME, text, "remove KillMode= from the unit")
    if unit.extends:
        text = f"{name} is told of each drain (Type={unit.type}) and leaves it the time it needs"
        return fine(NAME, text)
    return _compared(settings, name, unit.stop, SYSTEMD)


def for_guest(text: str) -> str:
    """Reword a finding for another ASGI server, which does not speak with systemd, nor know our flags."""
    return text.replace(_NOTIFY, "").replace(f"{_FLAG} ", f"{variable('shutdown_timeout')}=")


def _compared(settings: Settings, name: str, leaves: float, remedy: str, unless: str = "") -> Finding:
    if leaves == inf:
        return fine(NAME, f"{name} never kills; a drain may last {_lasts(settings)}")
    if leaves >= longest_drain(settings):
        text = f"{name} leaves {leaves:g} s, and a drain may last {_lasts(settings)}"
        return fine(NAME, text)
    condition = f" {unless}" if unless else ""
    text = f"{name} kills {leaves:g} s after SIGTERM{condition}, but a drain may last {_lasts(settings)}"
    return warning(NAME, text, remedy.format(n=time_to_ask_for(settings)) + _shorter(settings, leaves))


def _shorter(settings: Settings, leaves: float) -> str:
    """Return the `--shutdown-timeout` that would fit, as part of a remedy; empty where none does."""
    other = longest_drain(settings) - settings.shutdown_timeout
    fits = int(leaves - other - LAST_SECONDS)
    return f", or {_FLAG} {fits}" if fits > 0 else ""


def _lasts(settings: Settings) -> str:
    return f"{longest_drain(settings):g} s"
