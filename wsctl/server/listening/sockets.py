"""The sockets a server listens on."""

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from wsctl.addresses import host_port
from wsctl.errors import CannotStart
from wsctl.process.registry import ServerRecord, UnusableFolder, running_servers, runtime_folder
from wsctl.settings import Settings

FIRST_FD = 3
"""The first descriptor of the sockets that systemd passes (sd_listen_fds)."""

OWN_SERVER_CURE = "'wsctl upgrade' replaces it, 'wsctl drain' ends it"
"""The remedy where a server of this user's has the place."""

FREE_PORT_CURE = "; --port 0 picks a free port beside it"
"""The other remedy, where the place is a port."""

NOT_HERE = "--host names an address of this machine, or 0.0.0.0 for all"

_CURE = "correct --host and --port"
_CURES = {
    errno.EADDRINUSE: "--port 0 picks a free one",
    errno.EADDRNOTAVAIL: NOT_HERE,
    errno.EACCES: "low ports are the system's: take a higher one, or see 'wsctl check'",
}
"""The remedies for an address and port that cannot be had, by errno."""

_CURE_OF_PATH = "choose a shorter --uds"  # the one reason that has no number
_CURES_OF_PATH = {
    errno.ENOENT: "make its folder first, or correct --uds",
    errno.ENOTDIR: "make its folder first, or correct --uds",
    errno.EACCES: "choose a folder that this user may write to",
    errno.EROFS: "choose a folder that this user may write to",
    errno.EADDRINUSE: "move what is there, or choose another --uds",
    errno.EISDIR: "name a file in it, as in FOLDER/wsctl.sock",
}
"""The remedies for the path of a Unix socket that cannot be had, by errno."""


ListeningAt = Callable[[list[str], list[str]], None]
"""Takes the addresses at which a server listens, and those of its admin address."""


class CannotBind(CannotStart):
    """The error that an address and port, or the path of a Unix socket, cannot be had.

    Attributes:
        errno: the system's number of the reason; None where there is none.
    """

    def __init__(self, text: str, errno: int | None) -> None:
        super().__init__(text)
        self.errno = errno


def listeners(settings: Settings, environ: Mapping[str, str]) -> list[socket.socket]:
    """Open the sockets to listen on: `--fd`, `--uds`, those systemd passes, or host and port.

    Raises:
        CannotStart: a port is taken, an address is not ours, a descriptor is no listening socket.
    """
    if settings.fd is not None:
        return [_inherited(settings.fd)]
    if settings.uds is not None:
        return [_unix(settings.uds)]
    passed = _from_systemd(environ)
    return passed or _bound(settings.host, settings.port)


def open_listeners(settings: Settings, environ: Mapping[str, str]) -> list[socket.socket]:
    """Open the sockets to listen on.

    Raises:
        CannotStart: as for `listeners`; if a server of this user's has the place, the text says so.
    """
    try:
        return listeners(settings, environ)
    except CannotBind as failure:
        ours = own_server_at(settings, own_servers(environ)) if failure.errno == errno.EADDRINUSE else None
        if ours is None:
            raise
        text = str(failure).partition(": ")[0]
        beside = "" if settings.uds else FREE_PORT_CURE
        at = f"{ours.uds or ours.url}, pid {ours.pid}"
        raise CannotBind(
            f"{text}: your own server has it: {at}; {OWN_SERVER_CURE}{beside}", failure.errno
        ) from None


def open_admin_listeners(settings: Settings) -> list[socket.socket]:
    """Open the sockets of the admin address; none without `--admin-port`.

    Raises:
        CannotStart: the port is taken, or the address is not ours.
    """
    if settings.admin_port is None:
        return []
    return _bound(settings.admin_host, settings.admin_port, of="admin-")


def own_servers(environ: Mapping[str, str]) -> list[ServerRecord]:
    """Return this user's servers on this machine; none where the folder they are found in cannot be used."""
    try:
        return running_servers(runtime_folder(environ))
    except UnusableFolder:  # has a finding of its own
        return []


def own_server_at(settings: Settings, records: Iterable[ServerRecord]) -> ServerRecord | None:
    """Return the one of this user's servers that has the place of the settings; None: none has it."""
    if settings.uds is not None:
        return next((record for record in records if record.uds == settings.uds), None)
    return next((record for record in records if settings.port and record.port == settings.port), None)


def address(sock: socket.socket, tls: bool) -> str:
    """Return the URL at which a listening socket can be reached; a Unix socket's as unix:PATH."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"{'https' if tls else 'http'}://{host_port(name[0], name[1])}"


def _from_systemd(environ: Mapping[str, str]) -> list[socket.socket]:
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environ.get("LISTEN_FDS", "")
    number = int(count) if count.isdecimal() and len(count) < 6 else 0  # no process has so many descriptors
    return [_inherited(FIRST_FD + i) for i in range(number)]


def _inherited(fd: int) -> socket.socket:
    try:
        # Asking the kernel for family and protocol keeps TCP_NODELAY on what is accepted.
        sock = socket.socket(fileno=fd)
    except (OSError, ValueError, OverflowError) as error:  # the last two: no descriptor has such a number
        raise CannotStart(f"descriptor {fd} is not a socket to listen on: {_why(error)}") from None
    if sock.type != socket.SOCK_STREAM or _is_connected(sock):
        sock.detach()
        raise CannotStart(f"descriptor {fd} is not a socket to listen on: no stream, or a connected one")
    os.set_inheritable(fd, False)
    return sock


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_dead(path)
        sock.bind(path)
    except OSError as error:
        sock.close()
        text = f"cannot listen on {path}: {error.strerror or error}"
        raise CannotBind(
            f"{text}; {_CURES_OF_PATH.get(error.errno or 0, _CURE_OF_PATH)}", error.errno
        ) from None
    return sock


def _remove_dead(path: str) -> None:
    """Remove a socket file that nobody listens on, which a server that was killed has left."""
    if Path(path).is_dir():
        raise IsADirectoryError(errno.EISDIR, "that is a folder")
    if not Path(path).exists() or not stat.S_ISSOCK(Path(path).stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)  # a server that is there may be too busy to accept
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()


def _bound(host: str, port: int, of: str = "") -> list[socket.socket]:
    """Bind the port on each address of the host; errors name the flags `--host` and `--port`, with `of`
    before these words."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):  # UnicodeError: no host name has such a label
        text = f"--{of}host {host!r} is no address, and no name that is known here"
        raise CannotStart(f"{text}; {_named(NOT_HERE, of)}") from None
    sockets: list[socket.socket] = []
    for family, kind, protocol, _, name in dict.fromkeys(found):
        # Port 0 means one port on every address: the one that the first address got.
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_bind(family, kind, protocol, (name[0], chosen, *name[2:])))
        except OSError as error:
            for sock in sockets:
                sock.close()
            text = f"cannot listen on {host} port {chosen}: {error.strerror or error}"
            cure = _named(_CURES.get(error.errno or 0, _CURE), of)
            raise CannotBind(f"{text}; {cure}", error.errno) from None
    return sockets


def _named(cure: str, of: str) -> str:
    return cure.replace("--host", f"--{of}host").replace("--port", f"--{of}port")


def _why(error: Exception) -> object:
    return getattr(error, "strerror", None) or error


def _bind(family: int, kind: int, protocol: int, name: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
    except OSError:
        sock.close()
        raise
    return sock
