"""The sockets and facts that a predecessor passes to its successor at the start."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from wsctl import __version__
from wsctl.ipc.handshake import HANDOVER_FD, receive_hello, refuse
from wsctl.server.handover.protocol import VERSION


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The things that a successor starts with. `keys` is the kind of keys that its predecessor checks tokens
    with; None when it has none, or did not tell."""

    channel: socket.socket
    listeners: list[socket.socket]
    generation: int
    keys: str | None = None

    def refuse(self, why: str) -> None:
        """Tell the predecessor why this process will not take over."""
        refuse(self.channel, why)


def inheritance(environ: Mapping[str, str]) -> Inheritance | None:
    """Read what a predecessor passes to this process; return None when it was not started by one.

    Raises:
        CannotStart: the predecessor is gone, or of a version that is not understood here.
    """
    mismatch = f"wsctl {__version__} does not understand a handover of wsctl {{release}}"
    found = receive_hello(
        environ, HANDOVER_FD, VERSION, missing="no server that hands over", mismatch=mismatch
    )
    if found is None:
        return None
    listeners = [socket.socket(fileno=fd) for fd in found.packet.fds]
    told = found.packet.fields
    return Inheritance(found.channel, listeners, told["generation"], told.get("keys"))
