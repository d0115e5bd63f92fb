"""The pauses of a server's event loop while a client publishes all the time, seen from outside: none is
longer than the answer to a small request takes."""

import select
import socket
from time import perf_counter
from typing import NamedTuple

from tests.bench.frames import TEXT, frame, opening

EVERY = 0.01
"""Seconds between two batches."""

REQUEST = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"

MESSAGE = b'"type":"message"'
"""The text that each message has once."""


class Pauses(NamedTuple):
    """The longest time that an answer took, in milliseconds, and how many messages a second came back."""

    longest_ms: float
    rate: float


def busy(port: int, rate: int, seconds: float) -> Pauses:
    """Publish so many messages a second, in batches, and ask one thing after the other meanwhile.

    Raises:
        ConnectionError: a message did not come back.
    """
    batch = frame(TEXT, b"x" * 100) * round(rate * EVERY)
    count = round(seconds / EVERY)
    with greeted(port) as client, socket.create_connection(("127.0.0.1", port)) as asker:
        poll = select.epoll()
        for sock in (client, asker):
            sock.setblocking(False)
            poll.register(sock, select.EPOLLIN)
        received, longest, rest = 0, 0.0, b""
        begun = asked = perf_counter()
        asker.send(REQUEST)
        batches = 0
        while received < count * round(rate * EVERY):
            now = perf_counter()
            if batches < count and now >= begun + batches * EVERY:
                client.setblocking(True)
                client.sendall(batch)
                client.setblocking(False)
                batches += 1
            for fd, _ in poll.poll(0.001):
                if fd == asker.fileno():
                    asker.recv(65536)
                    now = perf_counter()
                    longest = max(longest, now - asked)
                    asked = now
                    asker.send(REQUEST)
                else:
                    data = rest + client.recv(1 << 20)
                    received += data.count(MESSAGE)
                    rest = data[-(len(MESSAGE) - 1) :]
            if perf_counter() - begun > 10 * seconds + 10:
                raise ConnectionError(f"{received} messages came back of {batches} batches")
        poll.close()
        took = perf_counter() - begun
        asker.settimeout(10)
        asker.recv(65536)  # the last answer counts too, and may be the only one
        return Pauses(max(longest, perf_counter() - asked) * 1000, received / took)


def greeted(port: int) -> socket.socket:
    """A client that has its welcome."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(opening("/ws/busy"))
    data = b""
    while not data.endswith(b"}"):
        data += sock.recv(65536)
    return sock
