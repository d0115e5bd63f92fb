"""The checks of the settings by themselves: values that harm clients behind proxies or in a drain, and
variables that have no effect."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from wsctl.process.spawn import BETWEEN_PROCESSES
from wsctl.redis_url import parse
from wsctl.server.diagnostics.finding import Finding, advice, ok, warning
from wsctl.settings import ENV_PREFIX, FLAGS, SECRETS, Settings, flag, variable

PROXY_TIMEOUT = 60.0
"""Seconds of silence after which proxies cut a connection: proxy_read_timeout of nginx and the idle timeout
of an AWS Application Load Balancer, unless they are told otherwise."""

DRAIN_DELAY, RECONNECT_WINDOW = 15, 60
"""Seconds of `--drain-delay` and `--reconnect-window` that suit most deploys: three probes of a load
balancer, and a minute in which the next server takes thousands of clients one after the other."""

ENDPOINT_LAG = 5
"""Seconds, about, until all nodes of a Kubernetes cluster know that a pod is not ready."""

DRAIN_PARTS = ("reconnect_window", "drain_spread")
"""The settings whose time is a part of `--shutdown-timeout`."""

VARIABLES, UNUSED = "variables", "secrets"

OF_COMMANDS = frozenset({"WSCTL_URL", "WSCTL_RUNTIME_DIR"})
"""The variables of the commands, and of the folder in which servers are found."""

OF_SETTINGS = frozenset(
    [variable(field.name) for field in FLAGS]
    + [name for secret in SECRETS for name in (variable(secret), f"{variable(secret)}_FILE")]
)
"""The variables of settings."""

SIMILAR = 0.6
"""The similarity of two names, from 0 to 1, from which on one may be a slip of the other: difflib's own
measure."""

OF_THE_HOST = ("ssl_certfile", "ssl_keyfile", "forwarded_allow_ips")
"""The settings that only `wsctl serve` reads, among those that keep somebody out or let somebody in."""

_SERVICE = re.compile(r"WSCTL_(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT_\d+_\w+)")
"""The variables by which Kubernetes tells each pod of a Service that is named wsctl, or wsctl-something."""

UVICORN_PROXIES = "FORWARDED_ALLOW_IPS"
"""uvicorn's variable for the proxies to believe; `serve` goes by its own setting alone."""


def check_keepalive(ping_interval: float) -> Finding:
    """Check whether clients are pinged before proxies cut them; `ping_interval` is in seconds, 0 for no
    pings."""
    if 0 < ping_interval < PROXY_TIMEOUT:
        return ok("keepalive", f"silent clients are pinged after {ping_interval:g} s")
    pinged = f"clients are pinged after {ping_interval:g} s" if ping_interval else "clients are not pinged"
    text = f"{pinged}, and proxies cut what is silent for {PROXY_TIMEOUT:g} s"
    return warning("keepalive", text, "--ping-interval 20, or a longer time of each proxy on the way")


def check_leaving(settings: Settings, *, embedded: bool = False) -> Finding:
    """Check whether clients are asked to leave in a drain, before they are closed. Where it is `embedded` in
    another server, settings are variables and no flags."""
    if settings.reconnect_window:
        return ok("leaving", f"a drain asks each client to leave within {settings.reconnect_window:g} s")
    text = f"a drain asks nobody to leave, and closes clients by force after {settings.shutdown_timeout:g} s"
    asked = {"drain_delay": DRAIN_DELAY, "reconnect_window": RECONNECT_WINDOW}
    words = [f"{variable(n)}={v}" if embedded else f"{flag(n)} {v}" for n, v in asked.items()]
    return advice("leaving", text, f"{' '.join(words)}; 'wsctl docs deploy' lists the flags for a deploy")


def check_readiness(settings: Settings, kubernetes: bool) -> Finding | None:
    """Check whether load balancers have time to notice a drain; None outside Kubernetes, where none is
    known."""
    if not kubernetes:
        return None
    if settings.drain_delay:
        return ok("readiness", f"fails {settings.drain_delay:g} s before clients are told")
    text = "Kubernetes sends clients here for some seconds after a drain began, and they are turned away"
    return warning("readiness", text, f"--drain-delay {ENDPOINT_LAG}")


def check_drain_parts(settings: Settings, *, embedded: bool = False) -> Iterator[Finding]:
    """Find the parts that are longer than the whole drain, and so are cut to it. Where it is `embedded` in
    another server, settings are variables and no flags."""

    def as_given(name: str, seconds: float) -> str:
        return f"{variable(name)}={seconds:g}" if embedded else f"{flag(name)} {seconds:g}"

    whole = settings.shutdown_timeout
    for name in DRAIN_PARTS:
        seconds = getattr(settings, name)
        if seconds > whole:
            text = f"{as_given(name, seconds)} is longer than a drain, and is cut short to {whole:g} s"
            fix = f"{as_given('shutdown_timeout', seconds)}, or {as_given(name, whole)}"
            yield warning("drain pace", text, fix)


def check_variables(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of everything that has no effect under `serve`; `environ` is what the settings came from."""
    if UVICORN_PROXIES in environ and settings.forwarded_allow_ips is None and settings.proxy_headers:
        text = f"{UVICORN_PROXIES} is uvicorn's, and is not read here: only loopback is believed"
        yield warning(VARIABLES, text, f"{flag('forwarded_allow_ips')}, or {variable('forwarded_allow_ips')}")
    for field in FLAGS:
        if environ.get(variable(field.name)) == "" and getattr(settings, field.name) == field.default:
            text = f"{variable(field.name)} is empty, which counts as not set"
            yield warning(VARIABLES, text, f"give it a value, or {flag(field.name)}; or unset it")
    yield from _check_common(settings, environ)


def check_embedded_variables(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of everything that has no effect on the application under plain uvicorn."""
    for name in OF_THE_HOST:
        if variable(name) in environ:
            text = f"{variable(name)} is not read under another server than 'wsctl serve'"
            yield warning(UNUSED, text, f"give {flag(name)} to uvicorn, and unset it")
    if settings.admin_port is not None:
        text = f"{variable('admin_port')} is not read under another server than 'wsctl serve'"
        yield warning(UNUSED, text, "its routes are beside the others there: unset it")
    yield from _check_common(settings, environ)


def _check_common(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of everything that has no effect, whichever server runs."""
    yield from unknown_variables(environ)
    yield from unused_secrets(settings, environ)


def unknown_variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of variables that look like settings and are none, in the order of their names."""
    for name in sorted(environ):
        if name.upper().startswith(ENV_PREFIX) and not _is_known(name, environ[name]):
            near = _nearest(name)
            fix = f"did you mean {near}?" if near else "'wsctl serve --help' lists the settings; unset it"
            yield warning(VARIABLES, f"{_printable(name)} is no setting, and has no effect", fix)


def unused_secrets(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of secrets that were given although nothing asks for them."""
    given = {name: _variable_of(name, environ) for name in SECRETS}
    for name in SECRETS:
        value, file = variable(name), f"{variable(name)}_FILE"
        if value in environ and file in environ:
            yield warning(UNUSED, f"{file} is not read, since {value} is set too", "unset one of them")
    if given["client_token"] and settings.auth != "token":
        text = f"{given['client_token']} is set, but --auth is {settings.auth}: no client is asked for it"
        yield warning(UNUSED, text, "--auth token, or unset it")
    if given["redis_password"] and not settings.redis:
        text = f"{given['redis_password']} is set, but there is no --redis: it has no effect"
        yield warning(UNUSED, text, "--redis URL, or unset it")
    if given["redis_password"] and settings.redis and parse(settings.redis).password:
        text = f"the password in {variable('redis')} is not used: {given['redis_password']} goes before it"
        yield warning(UNUSED, text, "leave it out of the URL")


def _variable_of(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the variable of a secret that is set, the one that counts where both are; None: neither is."""
    return next((one for one in (variable(name), f"{variable(name)}_FILE") if one in environ), None)


def _is_known(name: str, value: str) -> bool:
    if name in OF_SETTINGS | OF_COMMANDS | BETWEEN_PROCESSES or _SERVICE.fullmatch(name):
        return True
    return name.endswith("_PORT") and value.startswith(("tcp://", "udp://", "sctp://"))


def _nearest(name: str) -> str | None:
    """Return the known variable with the most similar name, compared without the prefix that all have; None:
    none is similar."""
    rest = {known.removeprefix(ENV_PREFIX): known for known in OF_SETTINGS | OF_COMMANDS}
    found = get_close_matches(name.upper().removeprefix(ENV_PREFIX), rest, 1, SIMILAR)
    return rest[found[0]] if found else None


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)
