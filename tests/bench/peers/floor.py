"""The floor: epoll, the least handshake, and one write per connection. Who cannot take it is dropped."""

import base64
import hashlib
import os
import select
from itertools import repeat

from tests.bench.frames import next_frame
from tests.bench.peers.listening import listener

ANSWER = b"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
listening, epoll = listener(), select.epoll()
epoll.register(listening, select.EPOLLIN)
unread, fds = {}, []


def broadcast(frame: bytes) -> None:
    wrote, writes = [], map(os.write, fds, repeat(frame))
    while len(wrote) < len(fds):
        try:
            wrote.extend(writes)
        except OSError:
            wrote.append(0)
    if sum(wrote) < len(frame) * len(fds):
        for fd in [fd for fd, n in zip(fds, wrote, strict=True) if n < len(frame)]:
            drop(fd)


def drop(fd: int) -> None:
    unread.pop(fd)
    if fd in fds:
        fds.remove(fd)
    os.close(fd)
