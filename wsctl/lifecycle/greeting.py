"""The greeting of a process by the one that started it: a descriptor in a variable, and a parcel on it."""

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from wsctl.errors import CannotStart
from wsctl.lifecycle.parcels import ChannelBroken, Parcel, packed, receive_one

HELLO_TIMEOUT = 30.0
"""The time to wait for the first parcel, in seconds: it is sent when this process is started or before."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first parcel, and the channel that it came through."""

    channel: socket.socket
    hello: Parcel


def refuse(channel: socket.socket, why: str) -> None:
    """Send the other process the reason for a refusal, if it still listens."""
    with contextlib.suppress(OSError):
        channel.sendall(packed("refused", {"why": why}, (), ()))


def greeting(
    environ: Mapping[str, str], variable: str, version: int, *, nobody: str, stranger: str
) -> Greeting | None:
    """Receive the first parcel from the descriptor in `variable`; None when there is none.

    `nobody` names, in the error, what the descriptor leads to if that is no channel; `stranger` is the error
    about a program that speaks another version, and may have its `{release}`.

    Raises:
        CannotStart: the other one is gone, or of a version that is not understood here.
    """
    fd = environ.get(variable, "")
    if not fd.isdecimal():
        return None
    with contextlib.ExitStack() as opened:
        try:
            channel = opened.enter_context(socket.socket(fileno=int(fd)))
            os.set_inheritable(channel.fileno(), False)
            hello = receive_one(channel, HELLO_TIMEOUT)
        except (OSError, OverflowError, ValueError, ChannelBroken) as error:
            raise CannotStart(f"{variable}={fd} leads to {nobody}: {error}") from None
        for passed in hello.fds:
            opened.callback(os.close, passed)
        if hello.kind != "hello" or hello.fields.get("version") != version:
            why = stranger.format(release=hello.fields.get("release"))
            refuse(channel, why)
            raise CannotStart(why)
        opened.pop_all()
        return Greeting(channel, hello)
