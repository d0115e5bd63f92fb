"""`python -m tests.bench.publish`: what a message costs that a backend publishes over HTTP, one by one and in
batches; how much of that the framework would take; and its share of the CPU where 1,000 clients get it."""

import json
import os
import select
import socket
import sys
from contextlib import ExitStack, closing
from functools import partial
from time import perf_counter

from tests.bench.connections import CHUNK, Connections
from tests.bench.load import STALL
from tests.bench.peer import GREETED, Peer
from tests.bench.server import Server
from tests.bench.single import Bench, Figures, medians, medians_of, run_alone

TOKEN = "bench"

BATCH = 100
"""Lines of a batch."""

DATA = "x" * 128

_PROGRAM = (
    "import os, sys; os.environ['WSCTL_TOKEN'] = {token!r}; sys.argv[:] = {argv!r}; "
    "from wsctl.__main__ import main; main()"
)

_ARGV = (
    "wsctl",
    "serve",
    "--port",
    "0",
    "--log-level",
    "error",
    "--broadcast-interval",
    "0",
    "--ping-interval",
    "0",
)

WSCTL = Peer(
    "wsctl",
    "wsctl serve",
    (sys.executable, "-c", _PROGRAM.format(token=TOKEN, argv=list(_ARGV))),
    speech=GREETED,
)

FLOOR = Peer("floor", "answers, unread", (sys.executable, "-m", "tests.bench.peers.answering"))

NOTE = (
    "The floor is a loop of the same kind that is sent the same requests, and gives one answer to whatever "
    "comes, unread: what the kernel, the loop and two processes take that wake each other. What one_us is "
    "above it is this server's."
)

MESSAGE = b'"type":"message"'
"""The text that each message has once."""

TO_FRAMEWORK = "TE: trailers\r\n"
"""A header that means nothing here, and makes a request one for the framework."""


def figures(rounds: int, count: int, clients: int = 0) -> Figures:
    """Microseconds of CPU for a message, and messages a second: one by one, the same at the floor, by the
    framework, and in batches; and, with clients, the percentage of the CPU that publishing takes when all of
    them get each message."""
    one, line = json.dumps({"data": DATA}).encode(), json.dumps({"data": DATA}).encode() + b"\n"
    requests = {
        "floor": (_request(one, "application/json"), 1, count),
        "one": (_request(one, "application/json"), 1, count),
        "framework": (_request(one, "application/json", TO_FRAMEWORK), 1, count // 4),
        "batch": (_request(line * BATCH, "application/x-ndjson"), BATCH, count // 10),
    }
    with ExitStack() as stack:
        server = stack.enter_context(Server(WSCTL))
        floor = stack.enter_context(Server(FLOOR))
        publisher = stack.enter_context(closing(Publisher(server.port)))
        at_floor = stack.enter_context(closing(Publisher(floor.port)))

        def one_round() -> Figures:
            found: Figures = {}
            for name, each in requests.items():
                to, of = (at_floor, floor) if name == "floor" else (publisher, server)
                found[f"{name}_us"], found[f"{name} a second"] = to.measure(of, *each)
            return found

        found = medians_of(one_round, rounds)
        found["framework ratio"] = found["framework_us"] / found["one_us"]
        if clients:
            crowd = stack.enter_context(closing(Crowd(server.port, clients)))
            request, few = requests["one"][0], max(count // 10, 1)
            to_all = partial(crowd.cost, server, publisher, request, few)
            found |= medians({f"message_us to {clients}": to_all}, rounds)
            found["of it for publishing, %"] = 100 * found["one_us"] / found[f"message_us to {clients}"]
    return found


class Publisher:
    """One connection on which requests are sent, each when the one before it is answered."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def measure(self, server: Server, request: bytes, messages: int, count: int) -> tuple[float, float]:
        """Microseconds of CPU for a message, and messages a second."""
        for _ in range(count // 10 + 1):
            self.publish(request)
        before, begun = server.cpu(), perf_counter()
        for _ in range(count):
            self.publish(request)
        cpu, seconds = server.cpu() - before, perf_counter() - begun
        return 1e6 * cpu / count / messages, count * messages / seconds

    def publish(self, request: bytes) -> None:
        self._socket.sendall(request)
        data = self._socket.recv(CHUNK)
        while (size := _size_of_answer(data)) is None or len(data) < size:
            if not (chunk := self._socket.recv(CHUNK)):
                raise ConnectionError(f"the server hung up after {data[:200]!r}")
            data += chunk
        if not data.startswith(b"HTTP/1.1 200 ") or b'{"error"' in data:
            raise ConnectionError(f"what was published was refused: {data[:200]!r}")


class Crowd:
    """Clients that get all messages."""

    def __init__(self, port: int, clients: int) -> None:
        self._connections = Connections(port, speech=GREETED)
        self._clients = len(self._connections.open(clients))

    def close(self) -> None:
        self._connections.close_all()

    def cost(self, server: Server, publisher: Publisher, request: bytes, count: int) -> float:
        """Microseconds of CPU for a message that all of them get."""
        before = server.cpu()
        for _ in range(count):
            publisher.publish(request)
            self._await(self._connections.epoll, self._clients)
        return 1e6 * (server.cpu() - before) / count

    def _await(self, epoll: select.epoll, messages: int) -> None:
        last = perf_counter()
        while messages > 0:
            for fd, _ in epoll.poll(0.1):
                if not (data := os.read(fd, CHUNK)):
                    raise ConnectionError("a connection was closed")
                messages -= data.count(MESSAGE)
                last = perf_counter()
            if perf_counter() - last > STALL:
                raise ConnectionError(f"{messages} messages did not come")


def _request(body: bytes, kind: str, *more: str) -> bytes:
    head = (
        f"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n{''.join(more)}\r\n"
    )
    return head.encode() + body


def _size_of_answer(data: bytes) -> int | None:
    """The bytes of a whole answer, of which some have come; None while its head is not there."""
    head, end, _ = data.partition(b"\r\n\r\n")
    if not end:
        return None
    return len(head) + len(end) + int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


BENCH = Bench(
    "publish",
    "what a message costs that a backend publishes over HTTP",
    lambda size: figures(size.rounds, size.count, size.clients),
    full={"rounds": 5, "count": 2000, "clients": 1000},
    quick={"rounds": 0, "count": 200, "clients": 10},
    note=NOTE,
)

if __name__ == "__main__":
    sys.exit(run_alone(BENCH, sys.argv[1:]))
