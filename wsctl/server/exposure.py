"""The check whether a server that lets everybody in can be reached from other machines."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterable
from ipaddress import ip_address

from wsctl.addresses import host_port
from wsctl.settings import Settings

OWN_SOCKETS = "/dev/fd"
"""The folder in which Linux and macOS list the descriptors of a process."""

SHARED = "whoever has the clients' token may connect under any id, and then gets its direct messages"
"""The words of the log about one token for all clients."""

log = logging.getLogger("wsctl.server")


def warn(settings: Settings, addresses: Iterable[str]) -> None:
    """Log it if other machines reach a server without credentials, or with one token for all; `addresses` are
    what `exposed` has found."""
    reached = ", ".join(addresses)
    if settings.auth == "none" and reached:
        log.warning("%s: --auth asks for credentials", open_to_all(settings, reached))
    if settings.auth == "token" and reached:
        log.info("%s: --auth jwt ties each id to a client", SHARED)


def open_to_all(settings: Settings, at: str) -> str:
    """Say what anybody who reaches the address `at` may do, where no credentials are asked for."""
    what = "connect and publish" if settings.client_publish else "connect and listen"
    return f"anyone who reaches {at} may {what}, under any id, and then gets its direct messages"


def exposed(sockets: Iterable[socket.socket]) -> list[str]:
    """Return the addresses, as HOST:PORT, at which other machines reach these listening sockets."""
    return [_shown(sock) for sock in sockets if not _is_local(sock)]


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


def _is_local(sock: socket.socket) -> bool:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    host = ip_address(sock.getsockname()[0])
    return (getattr(host, "ipv4_mapped", None) or host).is_loopback


def _shown(sock: socket.socket) -> str:
    return host_port(*sock.getsockname()[:2])
