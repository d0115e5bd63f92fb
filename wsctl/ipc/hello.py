"""The hello of the process that started this one: a packet, on the descriptor that a variable names."""

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wsctl.errors import CannotStart
from wsctl.ipc.framing import ChannelBroken, Packet, PacketDecoder, encode_packet, receive

HELLO_TIMEOUT = 30.0
"""The time to wait for the first packet, in seconds: it is sent when this process is started or before."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first packet, and the channel that it came through."""

    channel: socket.socket
    packet: Packet


def receive_hello(
    environ: Mapping[str, str], variable: str, version: int, *, missing: str, mismatch: str
) -> Hello | None:
    """Receive the first packet from the descriptor in `variable`; None when there is none.

    `missing` names, in the error, what the descriptor leads to if that is no channel; `mismatch` is the error
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
            hello = receive_packet(channel, HELLO_TIMEOUT)
        except (OSError, OverflowError, ValueError, ChannelBroken) as error:
            raise CannotStart(f"{variable}={fd} leads to {missing}: {error}") from None
        for passed in hello.fds:
            opened.callback(os.close, passed)
        if hello.kind != "hello" or hello.fields.get("version") != version:
            why = mismatch.format(release=hello.fields.get("release"))
            refuse(channel, why)
            raise CannotStart(why)
        opened.pop_all()
        return Hello(channel, hello)


def split_admin(
    fds: Sequence[int], told: Mapping[str, Any]
) -> tuple[list[socket.socket], list[socket.socket]]:
    """Return the listening sockets that came with a hello: those that clients reach, and the last ones, of
    which `admin` says how many there are: those of the admin address. An older version has none."""
    sockets = [socket.socket(fileno=fd) for fd in fds]
    public = max(0, len(sockets) - told.get("admin", 0))
    return sockets[:public], sockets[public:]


def receive_packet(sock: socket.socket, timeout: float) -> Packet:
    """Wait for one packet behind which nothing comes yet, `timeout` seconds at most.

    Raises:
        ChannelBroken: none came.
    """
    decoder = PacketDecoder()
    sock.settimeout(timeout)
    try:
        while True:
            data, fds = receive(sock)
            if not data:
                raise ChannelBroken("it hung up")
            for packet in decoder.feed(data, fds):
                return packet
    except OSError as error:
        raise ChannelBroken(error.strerror or str(error)) from None


def refuse(channel: socket.socket, why: str) -> None:
    """Send the other process the reason for a refusal, if it still listens."""
    with contextlib.suppress(OSError):
        channel.sendall(encode_packet("refused", {"why": why}, (), ()))
