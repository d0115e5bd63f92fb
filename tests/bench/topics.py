"""`python -m tests.bench.topics`: what a message of a topic costs, against one to everybody; what memory
subscriptions take; and, with `--before COMMIT`, what a message to everybody cost at that commit, in the same
rounds."""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

from tests.bench.connections import CHUNK, Connections
from tests.bench.frames import TEXT, frame, next_frame, opening
from tests.bench.homes import cost
from tests.bench.load import STALL
from tests.bench.peer import GREETED, PEERS, Peer
from tests.bench.server import ROOT, Server
from tests.bench.single import Bench, Figures, main, medians
from tests.support.connections import RecordedConnection
from wsctl.frame import Batch
from wsctl.hub.manager import ConnectionManager
from wsctl.log.message_log import MessageLog

(WSCTL,) = (peer for peer in PEERS if peer.name == "wsctl")

SUBSCRIPTIONS = 10
"""Topics of a client."""

FEW, MANY = 10, 100
"""Subscribers of a small topic, and of a large one."""

WINDOW, BUSY = 8, 64
"""Messages under way at a time, each of another topic, and none for the same client as another; the larger
number where a server has as much to do as it can."""

PADDING = "x" * 40

MESSAGE = b'"type":"message"'
"""The text that each message has once."""

_AT_COMMIT = "import sys; sys.path.insert(0, {folder!r}); sys.argv[:] = {argv!r}; {main}"
_MAIN = "from wsctl.__main__ import main; main()"

Message = tuple[str | None, int]
"""A topic, or None for everybody, and how many get it."""


def figures(rounds: int, clients: int, seconds: float) -> Figures:
    """Microseconds of CPU: of a delivery of a message to everybody, and of one to
    the subscribers of a topic, and their ratio; and of a message of a topic with 10 subscribers, in all and
    beyond its deliveries, with the answer to its publisher. What a delivery costs is what a topic
    with 100 subscribers costs more."""
    rooms = [(f"room.{n}", FEW) for n in range(clients)]
    halls = [(f"hall.{n}", MANY) for n in range(clients // MANY)]
    measured: dict[str, tuple[Sequence[Message], int]] = {
        "everybody": ([(None, clients + 1)], 1),
        "rooms": (rooms, WINDOW),
        "halls": (halls, WINDOW),
        "busy": (rooms, BUSY),
        "nobody": ([(f"empty.{n}", 0) for n in range(clients)], BUSY),
        "one by one": (rooms, 1),
    }
    with Server(WSCTL) as server, closing(Crowd(server.port, clients)) as crowd:
        costs = {
            what: partial(crowd.cost, server, messages, seconds, n)
            for what, (messages, n) in measured.items()
        }
        cost = medians(costs, rounds)
    everybody, delivery = cost["everybody"] / (clients + 1), (cost["halls"] - cost["rooms"]) / (MANY - FEW)
    return {
        "delivery_us everybody": everybody,
        "delivery_us topic": delivery,
        "delivery ratio": delivery / everybody,
        "message_us": cost["busy"],
        "message_us beyond deliveries": cost["busy"] - FEW * delivery,
        "message_us to nobody": cost["nobody"],
        "message_us one by one": cost["one by one"],
    }


def hub_alone(rounds: int, topics: int) -> Figures:
    """Microseconds of CPU of a message that the server itself publishes to a topic with 10 subscribers,
    beyond its deliveries: without reading a command and answering it. Its clients
    are in this process, and what is written to them goes nowhere."""
    soon: list[Callable[[], None]] = []
    manager = ConnectionManager(time.monotonic, soon.append)
    log = MessageLog(manager.deliver, 1000, 64 << 20)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for n in range(topics):
        connection = RecordedConnection(f"c{n}")
        connection.fd = nowhere
        names = [f"hall.{n // MANY}", *(f"room.{(n + k * 97) % topics}" for k in range(SUBSCRIPTIONS))]
        connection.subscriptions = dict.fromkeys(names, False)
        manager.connect(connection, Batch())

    def cost(names: Sequence[str]) -> float:
        begun = time.process_time()
        for name in names:
            log.append("publisher", PADDING, topic=name)
            soon.pop()()
        return 1e6 * (time.process_time() - begun) / len(names)

    rooms = [f"room.{n}" for n in range(topics)] * 5
    halls = [f"hall.{n % (topics // MANY)}" for n in range(len(rooms))]
    found = medians({"few": partial(cost, rooms), "many": partial(cost, halls)}, rounds)
    os.close(nowhere)
    return {
        "message_us of the hub beyond deliveries": found["few"]
        - FEW * (found["many"] - found["few"]) / (MANY - FEW)
    }


def memory(many: int, only: Iterable[str] = ("without", "shared", "own")) -> Figures:
    """KiB of a connection: without subscriptions, with 10 that 10 clients share each, with 10 of its own."""
    plans: dict[str, Callable[[int], str]] = {
        "without": lambda n: "",
        "shared": lambda n: _query(f"room.{(n + k * 997) % many}" for k in range(SUBSCRIPTIONS)),
        "own": lambda n: _query(f"user.{n}.{k}" for k in range(SUBSCRIPTIONS - 1)) + f"&topic=user.{n}.*",
    }
    found = {}
    for name in only:
        with Server(WSCTL) as server:
            connections = Connections(server.port, speech=GREETED, query=plans[name])
            try:
                connections.open(100)
                before = server.memory()
                connections.open(many)
                server.settle()
                found[f"kib {name}"] = (server.memory() - before) / many
            finally:
                connections.close_all()
    return found


def against(commit: str, rounds: int, clients: int, seconds: float) -> Figures:
    """Microseconds of CPU for a delivery to everybody, now and at a commit."""
    with _server_of(commit) as before:
        peers = {"now": WSCTL, "before": before}
        costs = {
            f"fanout_us {name}": partial(cost, (), clients, seconds, peer) for name, peer in peers.items()
        }
        found = medians(costs, rounds)
    return found | {"fanout ratio": found["fanout_us now"] / found["fanout_us before"]}


@contextmanager
def _server_of(commit: str) -> Iterator[Peer]:
    """The server as it was at a commit, run by the same interpreter."""
    with ExitStack() as stack:
        folder = f"{stack.enter_context(tempfile.TemporaryDirectory(prefix='wsb'))}/tree"
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run((*git, "add", "--detach", "--quiet", folder, commit), check=True)
        stack.callback(subprocess.run, (*git, "remove", "--force", folder), check=True)
        argv = ["wsctl", *WSCTL.command[3:]]
        program = _AT_COMMIT.format(folder=str(Path(folder)), argv=argv, main=_MAIN)
        yield Peer("wsctl", commit, (sys.executable, "-c", program), speech=GREETED)


class Crowd:
    """Clients that read, each with 10 small topics and a large one, and one beside them that publishes by
    commands and subscribes to nothing."""

    def __init__(self, port: int, clients: int) -> None:
        self._connections = Connections(port, speech=GREETED, query=lambda n: _rooms(n, clients))
        self._connections.open(clients)
        self._epoll = self._connections.epoll
        self._publisher = _commander(port)
        self._epoll.register(self._publisher, select.EPOLLIN)
        self._rest: dict[int, bytes] = {}

    def close(self) -> None:
        self._publisher.close()
        self._connections.close_all()

    def cost(self, server: Server, messages: Sequence[Message], seconds: float, window: int) -> float:
        """Microseconds of CPU of the server for each of these messages, which are published again and again,
        so many at a time."""
        texts = [frame(TEXT, _publish(topic).encode()) for topic, _ in messages]
        counts = [count for _, count in messages]
        window = min(window, len(messages))
        n = 0
        for timed in (seconds / 4, seconds):
            before, begun, first = server.cpu(), perf_counter(), n
            while perf_counter() < begun + timed:
                some = [(n + k) % len(messages) for k in range(window)]
                n += window
                self._publisher.sendall(b"".join([texts[at] for at in some]))
                self._await(sum(counts[at] for at in some), window)
        return 1e6 * (server.cpu() - before) / (n - first)

    def _await(self, messages: int, answers: int) -> None:
        """Wait until so many messages have come, and the answers to what published them."""
        last = perf_counter()
        while messages > 0 or answers > 0:
            for fd, _ in self._epoll.poll(0):
                if not (chunk := os.read(fd, CHUNK)):
                    raise ConnectionError("a connection was closed")
                data = self._rest.pop(fd, b"") + chunk
                last = perf_counter()
                if not data.endswith(b"}"):
                    self._rest[fd] = data
                    continue
                messages -= data.count(MESSAGE)
                if fd == self._publisher.fileno():
                    answers -= data.count(b'"type":"ok"')
                    if b'"type":"error"' in data:
                        raise ConnectionError(f"what was published was refused: {data[:200]!r}")
            if perf_counter() - last > STALL:
                raise ConnectionError(f"{messages} messages and {answers} answers did not come")


def _rooms(n: int, clients: int) -> str:
    return _query([f"hall.{n // MANY}", *(f"room.{(n + k * 97) % clients}" for k in range(SUBSCRIPTIONS))])


def _query(topics: Iterable[str]) -> str:
    return "?" + "&".join(f"topic={topic}" for topic in topics)


def _publish(topic: str | None) -> str:
    return json.dumps({"type": "publish", "data": PADDING, **({"topic": topic} if topic else {})})


def _commander(port: int) -> socket.socket:
    """A client that speaks commands, and has its welcome."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(opening("/ws/publisher", protocol="wsctl.2"))
    data = b""
    while next_frame(data.partition(b"\r\n\r\n")[2]) is None:
        if not (chunk := sock.recv(CHUNK)):
            raise ConnectionError(f"the handshake was refused: {data[:60]!r}")
        data += chunk
    if b"wsctl.2" not in data.partition(b"\r\n\r\n")[0]:
        raise ConnectionError("the server takes no commands")
    return sock


def _measure(size: SimpleNamespace) -> Figures:
    found = figures(size.rounds, size.clients, size.seconds) | hub_alone(size.rounds, size.clients)
    if size.many:
        found |= memory(size.many)
    if size.before:
        found |= against(size.before, size.rounds, size.clients, size.seconds)
    return found


BENCH = Bench(
    "topics",
    "a message of a topic against one to everybody, in CPU µs, and what subscriptions take, in KiB",
    _measure,
    full={"rounds": 5, "clients": 1000, "many": 5000, "seconds": 0.5, "before": ""},
    quick={"rounds": 0, "clients": 100, "many": 50, "seconds": 0.02},
)

if __name__ == "__main__":
    main(BENCH)
