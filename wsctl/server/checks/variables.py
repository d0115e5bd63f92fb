"""The check of variables that have no effect: names that are no setting's, and secrets that nothing asks
for."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from wsctl.ipc.handshake import HANDOVER_FD, JOB_FD, WORKER_FD
from wsctl.redis_url import parse
from wsctl.server.checks.finding import Finding, warning
from wsctl.settings import ENV_PREFIX, FLAGS, SECRETS, Settings, flag, variable

NAME, UNUSED = "variables", "secrets"

OTHERS = frozenset({"WSCTL_URL", "WSCTL_RUNTIME_DIR"})
"""The variables of the commands, and of the folder in which servers are found."""

BETWEEN_PROCESSES = frozenset({HANDOVER_FD, JOB_FD, WORKER_FD})
"""The variables that one process of ours gives to another, and no person sets."""

SETTINGS = frozenset(
    [variable(field.name) for field in FLAGS]
    + [name for secret in SECRETS for name in (variable(secret), f"{variable(secret)}_FILE")]
)
"""The variables of settings."""

CLOSE = 0.6
"""The similarity of two names, from 0 to 1, from which on one may be a slip of the other: difflib's own
measure."""

OF_THE_HOST = ("ssl_certfile", "ssl_keyfile", "forwarded_allow_ips")
"""The settings that only `wsctl serve` reads, among those that keep somebody out or let somebody in."""

_SERVICE = re.compile(r"WSCTL_(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT_\d+_\w+)")
"""The variables by which Kubernetes tells each pod of a Service that is named wsctl, or wsctl-something."""

UVICORNS = "FORWARDED_ALLOW_IPS"
"""uvicorn's variable for the proxies to believe; `serve` goes by its own setting alone."""


def check(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of everything that has no effect under `serve`; `environ` is what the settings came from."""
    if UVICORNS in environ and settings.forwarded_allow_ips is None and settings.proxy_headers:
        text = f"{UVICORNS} is uvicorn's, and is not read here: only loopback is believed"
        yield warning(NAME, text, f"{flag('forwarded_allow_ips')}, or {variable('forwarded_allow_ips')}")
    yield from of_any_server(settings, environ)


def of_a_guest(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of everything that has no effect on the application under plain uvicorn."""
    for name in OF_THE_HOST:
        if variable(name) in environ:
            text = f"{variable(name)} is not read under another server than 'wsctl serve'"
            yield warning(UNUSED, text, f"give {flag(name)} to uvicorn, and unset it")
    yield from of_any_server(settings, environ)


def of_any_server(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of everything that has no effect, whichever server runs."""
    yield from unknown(environ)
    yield from unused(settings, environ)


def unknown(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of variables that look like settings and are none, in the order of their names."""
    for name in sorted(environ):
        if name.upper().startswith(ENV_PREFIX) and not _is_known(name, environ[name]):
            near = _nearest(name)
            remedy = f"did you mean {near}?" if near else "'wsctl serve --help' lists the settings; unset it"
            yield warning(NAME, f"{_shown(name)} is no setting, and nothing comes of it", remedy)


def unused(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of secrets that were given although nothing asks for them."""
    given = {name: _given(name, environ) for name in SECRETS}
    for name in SECRETS:
        value, file = variable(name), f"{variable(name)}_FILE"
        if value in environ and file in environ:
            yield warning(UNUSED, f"{file} is not read, since {value} is set too", "unset one of them")
    if given["client_token"] and settings.auth != "token":
        text = f"{given['client_token']} is set, but --auth is {settings.auth}: no client is asked for it"
        yield warning(UNUSED, text, "--auth token, or unset it")
    if given["redis_password"] and not settings.redis:
        text = f"{given['redis_password']} is set, but there is no --redis: it is used for nothing"
        yield warning(UNUSED, text, "--redis URL, or unset it")
    if given["redis_password"] and settings.redis and parse(settings.redis).password:
        text = f"the password in {variable('redis')} is not used: {given['redis_password']} goes before it"
        yield warning(UNUSED, text, "leave it out of the URL")


def _given(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the variable of a secret that is set, the one that counts where both are; None: neither is."""
    return next((one for one in (variable(name), f"{variable(name)}_FILE") if one in environ), None)


def _is_known(name: str, value: str) -> bool:
    if name in SETTINGS | OTHERS | BETWEEN_PROCESSES or _SERVICE.fullmatch(name):
        return True
    return name.endswith("_PORT") and value.startswith(("tcp://", "udp://", "sctp://"))


def _nearest(name: str) -> str | None:
    """Return the known variable with the most similar name, compared without the prefix that all have; None:
    none is similar."""
    rest = {known.removeprefix(ENV_PREFIX): known for known in SETTINGS | OTHERS}
    found = get_close_matches(name.upper().removeprefix(ENV_PREFIX), rest, 1, CLOSE)
    return rest[found[0]] if found else None


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)
