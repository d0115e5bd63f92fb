"""The checks of who can reach the server from other machines, and who on this one can read its secrets."""

import ipaddress
import stat
from collections.abc import Mapping
from pathlib import Path

from wsctl.server.checks.finding import Finding, fine, warning
from wsctl.settings import EVERY_PROXY, Settings, flag

NAME = "token"

SECRETS = ("WSCTL_TOKEN_FILE", "WSCTL_CLIENT_TOKEN_FILE", "WSCTL_REDIS_PASSWORD_FILE")


def is_public(settings: Settings) -> bool:
    """Tell whether other machines reach the server without a proxy: it listens on more than loopback."""
    if settings.uds is not None or settings.fd is not None or settings.host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(settings.host).is_loopback
    except ValueError:  # a name, or none: every address
        return True


def token(settings: Settings) -> Finding:
    """Check whether operators have a way in from other machines."""
    if settings.token is not None:
        return fine(NAME, "set: commands work from elsewhere with it")
    if is_public(settings):
        text = "none: commands and /metrics from other machines are answered with 403"
        return warning(NAME, text, "set WSCTL_TOKEN_FILE, if anybody is to use them")
    return fine(NAME, "none: commands work on this machine alone")


def proxies(settings: Settings) -> Finding | None:
    """Check whether a client can choose its own address; None where it cannot, as proxies are named or none
    is believed."""
    if settings.forwarded_allow_ips != EVERY_PROXY or not settings.proxy_headers or not is_public(settings):
        return None
    text = f"{flag('forwarded_allow_ips')} * believes whoever reaches {settings.host or 'this machine'}"
    return warning(
        "proxies", f"{text}: a client may choose its address", "name the proxies, or their network"
    )


def secret_files(environ: Mapping[str, str], flags: Mapping[str, str | None]) -> list[Finding]:
    """Warn of files with secrets that everybody on the machine can read: those that variables name, and those
    of some flags. A file that cannot be looked at is reported by the check that needs it."""
    found = []
    for name, path in [*((name, environ.get(name)) for name in SECRETS), *flags.items()]:
        if not path:
            continue
        try:
            mode = Path(path).stat().st_mode
        except OSError:
            continue
        if mode & stat.S_IROTH:
            text = f"everybody on this machine can read {path} ({name})"
            found.append(warning("secrets", text, f"chmod 600 {path}"))
    return found
