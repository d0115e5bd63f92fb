"""The checks of settings that proxies, load balancers and several workers depend on."""

from wsctl.server.checks.finding import Finding, advice, fine, warning
from wsctl.settings import Settings, flag, variable

SILENCE = 60.0
"""Seconds of silence after which proxies cut a connection: proxy_read_timeout of nginx and the idle timeout
of an AWS Application Load Balancer, unless they are told otherwise."""

DELAY, WINDOW = 15, 60
"""Seconds of `--drain-delay` and `--reconnect-window` that suit most deploys: three probes of a load
balancer, and a minute in which the next server takes thousands of clients one after the other."""

LAG = 5
"""Seconds, about, until all nodes of a Kubernetes cluster know that a pod is not ready."""


def keepalive(ping_interval: float) -> Finding:
    """Check whether clients are pinged before proxies cut them; `ping_interval` is in seconds, 0 for no
    pings."""
    if 0 < ping_interval < SILENCE:
        return fine("keepalive", f"silent clients are pinged after {ping_interval:g} s")
    pinged = f"clients are pinged after {ping_interval:g} s" if ping_interval else "clients are not pinged"
    text = f"{pinged}, and proxies cut what is silent for {SILENCE:g} s"
    return warning("keepalive", text, "--ping-interval 20, or a longer time of each proxy on the way")


def leaving(settings: Settings, *, guest: bool = False) -> Finding:
    """Check whether clients are asked to leave in a drain, before they are closed. A `guest` of another
    server has no flags but variables."""
    if settings.reconnect_window:
        return fine("leaving", f"a drain asks each client to leave within {settings.reconnect_window:g} s")
    text = f"a drain asks nobody to leave: who stays is closed by force after {settings.shutdown_timeout:g} s"
    asked = {"drain_delay": DELAY, "reconnect_window": WINDOW}
    words = [f"{variable(n)}={v}" if guest else f"{flag(n)} {v}" for n, v in asked.items()]
    return advice("leaving", text, f"{' '.join(words)}; 'wsctl docs deploy' has the set for a deploy")


def readiness(settings: Settings, kubernetes: bool) -> Finding | None:
    """Check whether load balancers have time to notice a drain; None outside Kubernetes, where none is
    known."""
    if not kubernetes:
        return None
    if settings.drain_delay:
        return fine("readiness", f"fails {settings.drain_delay:g} s before clients are told")
    text = "Kubernetes sends clients here for some seconds after a drain began, and they are turned away"
    return warning("readiness", text, f"--drain-delay {LAG}")


def sharing(settings: Settings) -> Finding | None:
    """Check whether the workers of one server share messages; None where they do, or there is only one."""
    if settings.workers == 1 or settings.redis:
        return None
    text = f"{settings.workers} workers, and what a client says reaches the clients of one alone"
    return warning("workers", text, "--redis URL, or --workers 1")
