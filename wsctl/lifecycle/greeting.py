"""How a process is greeted by the one that started it: by a descriptor in a variable, and a parcel on it."""

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from wsctl.errors import CannotStart
from wsctl.lifecycle.parcels import ChannelBroken, Parcel, packed, receive_one

HELLO_TIMEOUT = 30.0
"""Seconds for the first parcel, which is sent when this process is started or before."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first parcel, and the channel that it came through."""

    channel: socket.socket
    hello: Parcel


def refuse(channel: socket.socket, why: str) -> None:
    """Say why, as far as anybody listens."""
    with contextlib.suppress(OSError):
        channel.sendall(packed("refused", {"why": why}, (), ()))


def greeting(
    environ: Mapping[str, str], variable: str, version: int, *, nobody: str, stranger: str
) -> Greeting | None:
    """What the descriptor in `variable` says first; None when there is none.

    `nobody` is what such a descriptor leads to that is none, and `stranger` may have the `{release}` of a
    program that speaks another version.

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
