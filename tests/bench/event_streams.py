"""`python -m tests.bench.event_streams`: what an event stream costs against a WebSocket: a message that is
delivered to it, a client that comes back over messages that it missed, and its memory."""

import argparse
import gc
import json
import os
import resource
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from time import perf_counter
from types import TracebackType
from typing import NamedTuple, Self

from tests.bench.connections import CHUNK, Connections
from tests.bench.frames import TEXT, frame, opening
from tests.bench.load import STALL
from tests.bench.peer import PEERS
from tests.bench.server import CORES, Server

(WSCTL,) = (peer for peer in PEERS if peer.name == "wsctl")

WITHOUT_PINGS = ("--ping-interval", "0")
"""The clients answer no pings."""

TEXT_FRAME = frame(TEXT, b"x" * 100)

MESSAGE = b'"type":"message"'
"""The text that each message has once."""

MISSED = 100
"""Messages that a client has missed when it resumes."""

_STREAM_REQUEST = "GET /events/{client} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

Figures = dict[str, float]


class Kind(NamedTuple):
    """A kind of client: what it sends to be connected, and how what it reads ends behind a whole message."""

    request: Callable[[str], bytes]
    end: bytes


KINDS = {
    "websocket": Kind(lambda client: opening(f"/ws/{client}"), b"}"),
    "stream": Kind(lambda client: _STREAM_REQUEST.format(client=client).encode(), b"\n\n\r\n"),
}


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code; prints a table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.event_streams", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--count", type=int, default=200, help="messages of a round")
    parser.add_argument(
        "--many", type=int, default=10_000, help="clients whose memory is measured; 0 for none"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if CORES:
        os.sched_setaffinity(0, {CORES[1]})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()
    found = figures(options.rounds, options.clients, options.count)
    if options.many:
        found |= memory(options.many)
    if options.json:
        print(json.dumps({name: round(value, 3) for name, value in found.items()}))
        return 0
    for name, value in found.items():
        print(f"{name:28} {value:10.2f}")
    return 0


def figures(rounds: int, clients: int, count: int) -> Figures:
    """Microseconds of CPU of the server in the best of the rounds, for each kind of client: for a delivery,
    for a client that connects, and for one that comes back over 100 messages; and the ratios."""
    costs: dict[str, Callable[[Crowd], float]] = {
        "delivery": lambda crowd: crowd.delivery(count),
        "handshake": lambda crowd: crowd.arrival(0),
        "resume": lambda crowd: crowd.arrival(MISSED),
    }
    found: Figures = {}
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(Server(WSCTL, *WITHOUT_PINGS)) for kind in KINDS}
        crowds = {kind: stack.enter_context(closing(Crowd(servers[kind], kind, clients))) for kind in KINDS}
        for what, cost in costs.items():
            # The first round does not count: on a machine that had nothing to do, whichever server comes
            # first costs a quarter less.
            runs = [{kind: cost(crowd) for kind, crowd in crowds.items()} for _ in range(rounds + 1)]
            best = {kind: min(run[kind] for run in runs[1:]) for kind in crowds}
            found |= {f"{what}_us {kind}": value for kind, value in best.items()}
            found[f"{what} ratio"] = best["stream"] / best["websocket"]
    return found


def memory(many: int, only: Iterable[str] = KINDS) -> Figures:
    """KiB of an idle connection of each kind."""
    found = {}
    for kind in only:
        with Server(WSCTL, *WITHOUT_PINGS) as server, Clients(server.port, kind) as clients:
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
        super().__init__(port, greeted=True, deflate=False, first=name, prefix=name, query=lambda n: query)
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
