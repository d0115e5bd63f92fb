"""The sockets and facts that a parent passes to a worker, before that has an event loop."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from wsctl import __version__
from wsctl.ipc.handshake import WORKER_FD, receive_hello, refuse
from wsctl.server.accept_balancer import AcceptBalancer
from wsctl.server.workers.protocol import VERSION


@dataclass(frozen=True, slots=True)
class Membership:
    """The things that a worker starts with.

    Attributes:
        parent: the pid of its parent.
        terminal, colour: the look of its lines, which may go through the parent.
        balancer: how many connections each worker has.
        listeners: the sockets that clients reach; none when a predecessor has them for it.
        keys: the kind of keys that the others check tokens with; None when they have none, or it is not
            known.
    """

    channel: socket.socket
    number: int
    parent: int
    terminal: bool
    colour: bool
    balancer: AcceptBalancer | None
    listeners: list[socket.socket]
    keys: str | None = None

    def refuse(self, why: str) -> None:
        """Tell the parent why this process cannot start: the parent reports it, once for all workers."""
        refuse(self.channel, why)


def membership(environ: Mapping[str, str]) -> Membership | None:
    """Read what a parent passes to this process; return None when it is no worker.

    Raises:
        CannotStart: the parent is gone, or of a version that is not understood here.
    """
    mismatch = f"wsctl {__version__} cannot be a worker of the parent that runs: restart it"
    found = receive_hello(environ, WORKER_FD, VERSION, missing="no parent of workers", mismatch=mismatch)
    if found is None:
        return None
    told, (page, *public) = found.packet.fields, found.packet.fds
    balancer = AcceptBalancer(page, told["number"])
    os.close(page)
    return Membership(
        found.channel,
        told["number"],
        told["parent"],
        told["terminal"],
        told["colour"],
        balancer,
        [socket.socket(fileno=fd) for fd in public],
        told.get("keys"),
    )
