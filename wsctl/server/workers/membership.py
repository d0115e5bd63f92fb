"""What a worker has from its parent, before it has an event loop."""

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from wsctl import __version__
from wsctl.errors import CannotStart
from wsctl.lifecycle.parcels import ChannelBroken, packed, receive_one
from wsctl.lifecycle.workers import VARIABLE, VERSION

HELLO_TIMEOUT = 30.0
"""Seconds for the first parcel, which is sent right after this process is started."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What a worker starts with.

    Attributes:
        parent: the pid of its parent.
        terminal, colour: how lines look that the parent passes on; `passed_on` whether it does.
        listeners: the sockets that clients reach; none when a predecessor has them for it.
    """

    channel: socket.socket
    number: int
    parent: int
    terminal: bool
    colour: bool
    listeners: list[socket.socket]

    def refuse(self, why: str) -> None:
        """Tell the parent why this process cannot start: it tells it, once for all."""
        with contextlib.suppress(OSError):
            self.channel.sendall(packed("refused", {"why": why}, (), ()))


def membership(environ: Mapping[str, str]) -> Membership | None:
    """What a parent has for this process; None when it is no worker.

    Raises:
        CannotStart: the parent is gone, or of a version that is not understood here.
    """
    fd = environ.get(VARIABLE, "")
    if not fd.isdecimal():
        return None
    with contextlib.ExitStack() as opened:
        try:
            channel = opened.enter_context(socket.socket(fileno=int(fd)))
            os.set_inheritable(channel.fileno(), False)
            hello = receive_one(channel, HELLO_TIMEOUT)
        except (OSError, OverflowError, ValueError, ChannelBroken) as error:
            raise CannotStart(f"{VARIABLE}={fd} leads to no parent of workers: {error}") from None
        listeners = [opened.enter_context(socket.socket(fileno=fd)) for fd in hello.fds]
        if hello.kind != "hello" or hello.fields.get("version") != VERSION:
            why = f"wsctl {__version__} cannot be a worker of the parent that runs: restart it"
            Membership(channel, 0, 0, False, False, listeners).refuse(why)
            raise CannotStart(why)
        opened.pop_all()
        told = hello.fields
        look = told["terminal"], told["colour"]
        return Membership(channel, told["number"], told["parent"], *look, listeners)
