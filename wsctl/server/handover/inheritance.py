"""What a predecessor has for a process that is to succeed it."""

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from wsctl import __version__
from wsctl.errors import CannotStart
from wsctl.lifecycle.handover import VARIABLE, VERSION
from wsctl.lifecycle.parcels import ChannelBroken, packed, receive_one

HELLO_TIMEOUT = 30.0
"""Seconds for the first parcel, which is sent before this process is started."""


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a successor starts with."""

    channel: socket.socket
    listeners: list[socket.socket]
    generation: int

    def refuse(self, why: str) -> None:
        """Tell the predecessor why this process will not take over."""
        with contextlib.suppress(OSError):
            self.channel.sendall(packed("refused", {"why": why}, (), ()))


def inheritance(environ: Mapping[str, str]) -> Inheritance | None:
    """What a predecessor has for this process; None when it was started by somebody else.

    Raises:
        CannotStart: the predecessor is gone, or of a version that is not understood here.
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
            raise CannotStart(f"{VARIABLE}={fd} leads to no server that hands over: {error}") from None
        listeners = [opened.enter_context(socket.socket(fileno=fd)) for fd in hello.fds]
        if hello.kind != "hello" or hello.fields.get("version") != VERSION:
            why = f"wsctl {__version__} does not understand a handover of wsctl {hello.fields.get('release')}"
            Inheritance(channel, listeners, 0).refuse(why)
            raise CannotStart(why)
        opened.pop_all()
        return Inheritance(channel, listeners, hello.fields["generation"])
