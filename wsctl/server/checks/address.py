"""The checks whether a server could listen where it is told to, and whether the commands will find it.
Nothing is left behind, and nobody is disturbed."""

import errno
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from wsctl.errors import CannotStart
from wsctl.process.registry import MAX_SOCKET_PATH, ServerRecord, UnusableFolder, check_folder
from wsctl.server.diagnostics.exposure import exposed
from wsctl.server.diagnostics.finding import Finding, error, ok, warning
from wsctl.server.diagnostics.platform import read_number
from wsctl.server.listening.sockets import (
    FREE_PORT_CURE,
    NOT_HERE,
    OWN_SERVER_CURE,
    CannotBind,
    address,
    listeners,
    open_admin_listeners,
    own_server_at,
)
from wsctl.settings import Settings

NAME, ADMIN, FOLDER = "address", "admin address", "runtime folder"


def check_address(settings: Settings, environ: Mapping[str, str], records: Iterable[ServerRecord]) -> Finding:
    """Check whether a server could listen; `records` are this user's servers."""
    ours = own_server_at(settings, records)
    if settings.uds is not None and settings.fd is None:
        return _check_path(settings.uds, ours)
    try:
        with ExitStack() as stack:
            found = [stack.enter_context(sock) for sock in listeners(settings, environ)]
            at = ", ".join(address(sock, settings.ssl_certfile is not None) for sock in found)
            return ok(NAME, _describe(settings, at, found))
    except CannotBind as failure:
        return explain_unbindable(settings, failure, ours)
    except CannotStart as failure:
        text, _, fix = str(failure).partition("; ")
        return error(NAME, text, fix or "name a host, a port or a descriptor of this machine")


def check_admin_address(settings: Settings, records: Iterable[ServerRecord]) -> Finding | None:
    """Check whether a server could listen at its admin address, and say what others may read there; None
    without one. `records` are this user's servers."""
    if settings.admin_port is None:
        return None
    try:
        with ExitStack() as stack:
            found = [stack.enter_context(sock) for sock in open_admin_listeners(settings)]
            at = ", ".join(address(sock, tls=False) for sock in found)
            where = f"{settings.admin_host} is here" if settings.admin_port == 0 else f"{at} is free"
            open_to = "other machines" if exposed(found) else "this machine alone"
            return ok(ADMIN, f"{where}; health and metrics are open to {open_to}")
    except CannotStart as failure:
        text, _, fix = str(failure).partition("; ")
        taken = isinstance(failure, CannotBind) and failure.errno == errno.EADDRINUSE
        ours = next((record for record in records if record.admin_port == settings.admin_port), None)
        if taken and ours:
            return warning(ADMIN, f"your own server has it: {ours.admin}, pid {ours.pid}", OWN_SERVER_CURE)
        return error(ADMIN, text, fix)


def check_runtime_folder(folder: Path) -> Finding:
    """Check the runtime folder, which need not be there yet."""
    try:
        check_folder(folder)
    except UnusableFolder as failure:
        why = str(failure).partition("; ")[0].partition(": chmod")[0]
        text = f"the commands on this machine would not find a server: {why}"
        return warning(FOLDER, text, "set WSCTL_RUNTIME_DIR to a folder of this user's with mode 0700")
    return ok(FOLDER, str(folder))


def explain_unbindable(settings: Settings, failure: CannotBind, ours: ServerRecord | None) -> Finding:
    """Say why an address cannot be had, and what to do. `ours` is a server of this user's on that port."""
    text = str(failure).partition(";")[0]
    if failure.errno == errno.EADDRINUSE and ours:
        return warning(
            NAME, f"your own server has it: {ours.url}, pid {ours.pid}", OWN_SERVER_CURE + FREE_PORT_CURE
        )
    if failure.errno == errno.EADDRINUSE:
        who = f"find who has it with: ss -ltnp 'sport = :{settings.port}'"
        return error(NAME, text, f"{who}; or take another: --port 0 picks a free one")
    if failure.errno == errno.EACCES:
        text = f"{text}: ports below {first_unprivileged_port()} are the system's"
        fix = "a port above, AmbientCapabilities=CAP_NET_BIND_SERVICE or systemd's sockets"
        return error(NAME, text, f"{fix} (LISTEN_FDS)")
    if failure.errno == errno.EADDRNOTAVAIL:
        return error(NAME, text, NOT_HERE)
    return error(NAME, text, "correct --host and --port")


def first_unprivileged_port(proc: Path = Path("/proc")) -> int:
    """Return the first port that all may have: 1024 (RFC 6335 section 6) unless the kernel was told
    another."""
    told = read_number(proc / "sys/net/ipv4/ip_unprivileged_port_start")
    return 1024 if told is None else told


def _describe(settings: Settings, at: str, found: list[socket.socket]) -> str:
    if settings.fd is not None:
        return f"{at} was passed as descriptor {settings.fd}"
    if settings.port == 0:
        return f"{settings.host or 'every address'} is here; the kernel picks a port"
    passed = any(sock.family == socket.AF_UNIX or sock.getsockname()[1] != settings.port for sock in found)
    return f"{at} was passed by systemd" if passed else f"{at} is free"


def _check_path(path: str, ours: ServerRecord | None) -> Finding:
    """Check the path of a Unix socket without binding it: a socket that is bound for a moment is a file that
    others see."""
    if ours:
        return warning(NAME, f"your own server has it: {path}, pid {ours.pid}", OWN_SERVER_CURE)
    return _check_new_path(path) or _check_old_path(path)


def _check_new_path(path: str) -> Finding | None:
    """Check a path at which nothing is yet; None where something is."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        return error(NAME, f"{path} is longer than a socket's path can be", "choose a shorter --uds")
    folder = Path(path).absolute().parent
    if not os.access(folder, os.W_OK | os.X_OK):
        why = "cannot be written to" if folder.is_dir() else "is not there"
        return error(NAME, f"the folder of {path} {why}", f"make {folder} a folder of this user's")
    if not os.path.lexists(path):
        return ok(NAME, f"{path} is free")
    return None


def _check_old_path(path: str) -> Finding:
    at = Path(path)
    if not at.exists() or not stat.S_ISSOCK(at.stat().st_mode):
        return error(NAME, f"{path} is no socket, and is in the way", "move it, or choose another --uds")
    if _is_answered(path):
        return error(NAME, f"somebody listens on {path} already", f"find who with: ss -lxp src {path}")
    return ok(NAME, f"{path} was left by a server that is gone, and will be replaced")


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:  # too busy to accept, or not for us
            return True
    return True
