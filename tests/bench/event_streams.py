"""`python -m tests.bench.event_streams`: what an event stream costs against a WebSocket: a message that is
delivered to it, a client that comes back over messages that it missed, and its memory."""

import json
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import NamedTuple, Self

from tests.bench.connections import CHUNK, Connections
from tests.bench.frames import TEXT, frame, opening
from tests.bench.load import STALL
from tests.bench.peer import GREETED, PEERS
from tests.bench.server import Server
from tests.bench.single import Bench, Figures, main, medians

(WSCTL,) = (peer for peer in PEERS if peer.name == "wsctl")

TEXT_FRAME = frame(TEXT, b"x" * 100)

MESSAGE = b'"type":"message"'
"""The text that each message has once."""

MISSED = 100
"""Messages that a client has missed when it resumes."""

_STREAM_REQUEST = "GET /events/{client} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Kind(NamedTuple):
    """A kind of client: what it sends to be connected, and how what it reads ends behind a whole message."""

    request: Callable[[str], bytes]
    end: bytes


KINDS = {
    "websocket": Kind(lambda client: opening(f"/ws/{client}"), b"}"),
    "stream": Kind(lambda client: _STREAM_REQUEST.format(client=client).encode(), b"\n\n\r\n"),
}


def figures(rounds: int, clients: int, count: int) -> Figures:
    """Microseconds of CPU of the server for each kind of client: for a delivery,
    for a client that connects, and for one that comes back over 100 messages; and the ratios."""
    costs: dict[str, Callable[[Crowd], float]] = {
        "delivery": lambda crowd: crowd.delivery(count),
        "handshake": lambda crowd: crowd.arrival(0),
        "resume": lambda crowd: crowd.arrival(MISSED),
    }
    found: Figures = {}
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(Server(WSCTL)) for kind in KINDS}
        crowds = {kind: stack.enter_context(closing(Crowd(servers[kind], kind, clients))) for kind in KINDS}
        for what, cost in costs.items():
            costs_us = medians({kind: partial(cost, crowd) for kind, crowd in crowds.items()}, rounds)
            found |= {f"{what}_us {kind}": value for kind, value in costs_us.items()}
            found[f"{what} ratio"] = costs_us["stream"] / costs_us["websocket"]
    return found


def memory(many: int, only: Iterable[str] = KINDS) -> Figures:
    """KiB of an idle connection of each kind."""
    found = {}
    for kind in only:
        with Server(WSCTL) as server, Clients(server.port, kind) as clients:
            clients.open(100)
            before = server.memory()
            clients.open(many)
            server.settle()
            found[f"kib {kind}"] = (server.memory() - before) / many
    return found


class Clients(Connections):
    """Clients of one kind; each counts as connected when it has its welcome, and the messages that it has
    missed."""

    def __init__(self, port: int, kind: str, name: str = "c", query: str = "", missed: int = 0) -> None:
        super().__init__(port, speech=GREETED, first=name, prefix=name, query=lambda n: query)
        self._kind = KINDS[kind]
        self._missed = missed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close_all()

    def receive(self, messages: int) -> bytes:
        """Wait until all of them together have read so many messages; return the last piece of it."""
        rest: dict[int, bytes] = {}
        last, data = perf_counter(), b""
        while messages > 0:
            for fd, _ in self.epoll.poll(0):
                if not (piece := os.read(fd, CHUNK)):
                    raise ConnectionError("a connection was closed")
                data = rest.pop(fd, b"") + piece
                last = perf_counter()
                if data.endswith(self._kind.end):
                    messages -= data.count(MESSAGE)
                else:
                    rest[fd] = data
            if perf_counter() - last > STALL:
                raise ConnectionError(f"{messages} messages did not come")
        return data

    def _request(self, client: str) -> bytes:
        return self._kind.request(client)

    def _is_open(self, answer: bytes) -> bool:
        if not answer or not answer.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200")):
            raise ConnectionError(f"it was refused: {answer[:60]!r}")
        is_whole = b'"type":"welcome"' in answer and answer.endswith(self._kind.end)
        return is_whole and answer.count(MESSAGE) >= self._missed


class Crowd:
    """Clients of one kind that read, and a WebSocket beside them that publishes and reads, too."""

    def __init__(self, server: Server, kind: str, clients: int) -> None:
        self._server, self._kind, self._clients = server, kind, clients
        self._publisher = Clients(server.port, "websocket", "publisher")
        (self._publishes,) = self._publisher.open(1)
        self._readers = Clients(server.port, kind)
        self._readers.open(clients)
        self._since = ""

    def close(self) -> None:
        self._readers.close_all()
        self._publisher.close_all()

    def delivery(self, count: int) -> float:
        """Microseconds of CPU of the server for each delivery, of so many messages one after the other."""
        before = self._server.cpu()
        for _ in range(count):
            self._publish()
        return 1e6 * (self._server.cpu() - before) / (count * (self._clients + 1))

    def arrival(self, missed: int) -> float:
        """Microseconds of CPU of the server for each of as many clients more, which all come at once and have
        missed so many messages."""
        if missed and not self._since:
            newest = self._publish()
            self._since = "?since=" + json.loads(newest[newest.index(b"{") :])["id"]
            for _ in range(missed):
                self._publish()
        query = self._since if missed else ""
        with Clients(self._server.port, self._kind, "late", query, missed) as late:
            self._server.settle()
            before = self._server.cpu()
            late.open(self._clients)
            cost = 1e6 * (self._server.cpu() - before) / self._clients
        self._server.settle()
        return cost

    def _publish(self) -> bytes:
        """Publish a message, and wait until everybody has it; return it as the publisher got it."""
        os.write(self._publishes, TEXT_FRAME)
        message = self._publisher.receive(1)
        self._readers.receive(self._clients)
        return message


BENCH = Bench(
    "event_streams",
    "an event stream against a WebSocket: CPU µs, and KiB of an idle one",
    lambda size: figures(size.rounds, size.clients, size.count) | (memory(size.many) if size.many else {}),
    full={"rounds": 5, "clients": 1000, "count": 100, "many": 5000},
    quick={"rounds": 0, "clients": 100, "count": 5, "many": 50},
)

if __name__ == "__main__":
    main(BENCH)
