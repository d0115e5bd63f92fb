"""The exposure of a server: who reaches it from other machines, with what credentials, and who on this
machine reads its secrets."""

import contextlib
import ipaddress
import logging
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from wsctl.addresses import host_port
from wsctl.errors import WsctlError
from wsctl.server.credentials import verifier_of
from wsctl.server.diagnostics.finding import Finding, error, ok, warning
from wsctl.settings import EVERY_PROXY, Settings, flag

OWN_SOCKETS = "/dev/fd"
"""The folder in which Linux and macOS list the descriptors of a process."""

ONE_FOR_ALL = "whoever has the clients' token may connect under any id, and then gets its direct messages"
"""The words of the log about one token for all clients."""

SECRET_FILES = (
    "WSCTL_TOKEN_FILE",
    "WSCTL_PUBLISH_TOKEN_FILE",
    "WSCTL_CLIENT_TOKEN_FILE",
    "WSCTL_REDIS_PASSWORD_FILE",
)

log = logging.getLogger("wsctl.server")


def log_exposure(settings: Settings, addresses: Iterable[str]) -> None:
    """Log it if other machines reach a server without credentials, or with one token for all; `addresses` are
    what `exposed` has found."""
    reached = ", ".join(addresses)
    if settings.auth == "none" and reached:
        log.warning("%s: --auth asks for credentials", open_to_all(settings, reached))
    if settings.auth == "token" and reached:
        log.info("%s: --auth jwt ties each id to a client", ONE_FOR_ALL)


def open_to_all(settings: Settings, at: str) -> str:
    """Say what anybody who reaches the address `at` may do, where no credentials are asked for."""
    what = "connect and publish" if settings.client_publish else "connect and listen"
    return f"anyone who reaches {at} may {what}, under any id, and then gets its direct messages"


def exposed(sockets: Iterable[socket.socket]) -> list[str]:
    """Return the addresses, as HOST:PORT, at which other machines reach these listening sockets."""
    return [_host_port(sock) for sock in sockets if not _is_local(sock)]


def own_listeners() -> list[str] | None:
    """Return the addresses at which other machines reach this process, whoever has made its sockets; None if
    it listens nowhere."""
    found = []
    listens = False
    for name in os.listdir(OWN_SOCKETS):
        with contextlib.suppress(OSError, ValueError):  # most are no sockets, and one was that of the folder
            sock = socket.socket(fileno=int(name))
            try:
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    listens = True
                    found += exposed([sock])
            finally:
                sock.detach()  # it is not ours to close
    return found if listens else None


def is_public(settings: Settings) -> bool:
    """Tell whether other machines reach the server without a proxy: it listens on more than loopback."""
    if settings.uds is not None or settings.fd is not None or settings.host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(settings.host).is_loopback
    except ValueError:  # a name, or none: every address
        return True


def check_operator_token(settings: Settings) -> Finding:
    """Check whether operators have a way in from other machines."""
    publishers = "; publishers have one of their own" if settings.publish_token else ""
    if settings.token is not None:
        return ok("token", f"set: commands work from elsewhere with it{publishers}")
    if publishers:
        return ok("token", "none but that of publishers: other commands work on this machine alone")
    if is_public(settings):
        answered = "commands" if settings.admin_port is not None else "commands and /metrics"
        text = f"none: {answered} from other machines are answered with 403"
        return warning("token", text, "set WSCTL_TOKEN_FILE, if anybody is to use them")
    return ok("token", "none: commands work on this machine alone")


def check_proxies(settings: Settings) -> Finding | None:
    """Check whether a client can choose its own address; None where it cannot, as proxies are named or none
    is believed."""
    if settings.forwarded_allow_ips != EVERY_PROXY or not settings.proxy_headers or not is_public(settings):
        return None
    text = f"{flag('forwarded_allow_ips')} * believes whoever reaches {settings.host or 'this machine'}"
    return warning(
        "proxies", f"{text}: a client may choose its address", "name the proxies, or their network"
    )


def check_hosts(settings: Settings) -> Finding | None:
    """Check whether names of hosts are given where none is looked at; None where that is in order."""
    on_loopback = settings.uds is None and not is_public(settings)
    if on_loopback or settings.allow_host in ((), ("*",)):
        return None
    text = f"{flag('allow_host')} has no effect: beyond loopback every Host is taken"
    return warning("hosts", text, "leave it out, and let a proxy take the names that are yours")


def check_secret_files(environ: Mapping[str, str], flags: Mapping[str, str | None]) -> list[Finding]:
    """Warn of files with secrets that everybody on the machine can read: those that variables name, and those
    of some flags. A file that cannot be looked at is reported by the check that needs it."""
    found = []
    for name, path in [*((name, environ.get(name)) for name in SECRET_FILES), *flags.items()]:
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


def check_credentials(settings: Settings) -> Finding:
    """Check whether strangers are kept out, as `serve` would."""
    try:
        verifier = verifier_of(settings)
    except WsctlError as failure:
        return error("clients", str(failure), "until then 'wsctl serve' does not start with --auth")
    if verifier:
        keys = f", checked with {' and '.join(verifier.keys.algorithms)}" if verifier.keys else ""
        return ok("clients", f"must show credentials: --auth {settings.auth}{keys}")
    if not is_public(settings):
        return ok("clients", "need no credentials, and come from this machine or through a proxy")
    return warning("clients", open_to_all(settings, settings.host), "--auth token, or --auth jwt")


def shared_secret_file(settings: Settings) -> str | None:
    """Return the file of `--jwt-key` if tokens can be made with what is in it, else None. A file that cannot
    be used is reported by `check_credentials`."""
    if settings.auth != "jwt" or settings.jwt_key is None:
        return None
    try:
        from wsctl.server.credentials.keys import HS256, BadKey, verification_keys
    except ImportError:
        return None
    try:
        keys = verification_keys(Path(settings.jwt_key), settings.jwt_algorithm)
    except BadKey:
        return None
    return settings.jwt_key if any(key.algorithm == HS256 for key in keys) else None


def _is_local(sock: socket.socket) -> bool:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    host = ipaddress.ip_address(sock.getsockname()[0])
    return (getattr(host, "ipv4_mapped", None) or host).is_loopback


def _host_port(sock: socket.socket) -> str:
    return host_port(*sock.getsockname()[:2])
