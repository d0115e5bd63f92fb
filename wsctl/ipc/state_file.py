"""The state of a process that executes a new program in its own place: packets and descriptors, in a file in
memory that has no name.

The descriptors keep their numbers, which are at the head of the file; to each packet belong as many of them,
in their order, as it says.
"""

import json
import os
import struct
import tempfile
from collections.abc import Sequence

from wsctl.ipc.framing import Packet, PacketDecoder, encode_packet

_HEAD = struct.Struct("!I")


def write_state(packets: Sequence[Packet]) -> int:
    """Return the descriptor of a file with the packets, which the caller owns.

    Raises:
        OSError: there is no memory or no descriptor left for it.
    """
    numbers = json.dumps([fd for packet in packets for fd in packet.fds]).encode()
    fd = _create()
    try:
        with open(fd, "wb", closefd=False) as file:
            file.writelines((_HEAD.pack(len(numbers)), numbers))
            file.writelines(encode_packet(*packet) for packet in packets)
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_state(fd: int) -> list[Packet]:
    """Return the packets in the file. The descriptors that they name are not touched.

    Raises:
        OSError, ValueError, ChannelBroken: the descriptor is of no such file.
    """
    with open(os.dup(fd), "rb") as file:
        file.seek(0)
        data = file.read()
    if len(data) < _HEAD.size:
        raise ValueError("it is empty")
    end = _HEAD.size + _HEAD.unpack_from(data)[0]
    numbers: list[int] = json.loads(data[_HEAD.size : end])
    return list(PacketDecoder().feed(data[end:], numbers))


def _create() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("wsctl-state")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
