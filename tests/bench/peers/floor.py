"""The floor: epoll, the least handshake, map(os.write). No queue: who cannot take a frame is dropped."""

import os
import select
from contextlib import suppress
from itertools import repeat

from tests.bench.frames import TEXT, answer, frame, next_frame
from tests.bench.peers.listening import listener

listening, epoll = listener(), select.epoll()
epoll.register(listening, select.EPOLLIN)
fds: dict[int, bytes] = {}


def broadcast(wire: bytes) -> None:
    wrote, writes = [], map(os.write, fds, repeat(wire))
    while len(wrote) < len(fds):
        try:
            wrote.extend(writes)
        except OSError:
            wrote.append(0)
    for fd in [fd for fd, n in zip(fds, wrote, strict=True) if n < len(wire)]:
        fds.pop(fd)
        os.close(fd)


def handle(ready: int, events: int) -> None:
    if ready == listening.fileno():
        fd = listening.accept()[0].detach()
        os.set_blocking(fd, False)
        epoll.register(fd, select.EPOLLIN)
    elif events & (select.EPOLLERR | select.EPOLLHUP) or not (chunk := os.read(ready, 65536)):
        fds.pop(ready, None)
        os.close(ready)
    elif ready not in fds:
        fds[ready] = b""
        os.write(ready, answer(chunk))
    else:
        fds[ready] += chunk
        while ready in fds and (got := next_frame(fds[ready])):
            fds[ready] = fds[ready][got.end :]
            broadcast(frame(TEXT, got.payload, mask=0))


while True:
    for event in epoll.poll():
        with suppress(OSError):  # dropped a moment ago, by a broadcast
            handle(*event)
