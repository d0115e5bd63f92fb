"""`python -m tests.bench.application`: what an application of one's own costs under `wsctl serve`, against
the same under uvicorn with the same parser; and a message of its hub, against the built-in server."""

import re
import socket
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from tests.bench.frames import TEXT, frame
from tests.bench.peer import Peer
from tests.bench.server import Server
from tests.bench.single import Bench, Figures, main, medians

APPLICATION = "tests.bench.peers.own_application:app"

REQUEST = b"GET /json HTTP/1.1\r\nHost: here\r\n\r\n"

HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

JOIN = HANDSHAKE.replace(b"/echo", b"/ws/bob").replace(b"Host: here", b"Host: localhost")

HUBS = {"plain": "hub", "with_hook": "hub, hook", "with_async_hook": "hub, async hook"}
"""The applications with a hub, and the names of their figures."""

_MAIN = "import sys; sys.argv[:] = {serve}; from wsctl.__main__ import main; main()"
WSCTL = {"httptools": _MAIN, "h11": f"import sys; sys.modules['httptools'] = None; {_MAIN}"}
"""The program that serves with a parser: it takes httptools where that can be imported."""

TEXT_FRAME = frame(0x80 | TEXT, b"x" * 100)


class Exchange(NamedTuple):
    """A request, and an expression for the end of its answer; before all, what opens the connection."""

    request: bytes
    end: bytes
    first: bytes = b""
    end_of_first: bytes = b""


def figures(rounds: int, count: int, hubs: Collection[str] = tuple(HUBS)) -> Figures:
    """Microseconds of CPU for an answer and for an echo under each server in each round one after the
    other, and the ratios; for messages, of these applications with a hub."""
    found: Figures = {}
    for parser in ("httptools", "h11"):
        with ExitStack() as stack:
            servers = {name: stack.enter_context(Server(peer)) for name, peer in _peers(parser).items()}
            for what, measure in (("json", _answers), ("echo", _echoes)):
                costs = _costs(servers, measure, rounds, count, ("wsctl", "uvicorn"))
                found |= {f"{what} {parser} {name}": cost for name, cost in costs.items()}
    return found | _message_figures(rounds, count, hubs)


def _message_figures(rounds: int, count: int, hubs: Collection[str]) -> Figures:
    """Microseconds of CPU for a message that a client sends, and gets, and the ratio of a
    hub without hooks."""
    with ExitStack() as stack:
        servers = {name: stack.enter_context(Server(peer)) for name, peer in _hub_peers(hubs).items()}
        costs = _costs(servers, _messages, rounds, count, ("hub", "built-in"))
    return {f"message {name}": cost for name, cost in costs.items()}


def _costs(
    servers: Mapping[str, Server],
    measure: Callable[[Server, int], float],
    rounds: int,
    count: int,
    compared: tuple[str, str],
) -> Figures:
    measures = {name: partial(measure, server, count) for name, server in servers.items()}
    return medians(measures, rounds, {"ratio": compared})


def _peers(parser: str) -> dict[str, Peer]:
    serve = ("wsctl", "serve", APPLICATION, "--port", "0", "--log-level", "error")
    return {
        "uvicorn": Peer(
            "uvicorn", "uvicorn", (sys.executable, "-m", "tests.bench.peers.own_application", parser)
        ),
        "wsctl": Peer("wsctl", "wsctl serve", (sys.executable, "-c", WSCTL[parser].format(serve=serve))),
    }


def _hub_peers(hubs: Collection[str]) -> dict[str, Peer]:
    flags = ("--port", "0", "--log-level", "error", "--rate", "0", "--broadcast-interval", "0")
    serve = (sys.executable, "-m", "wsctl", "serve")
    peers = {"built-in": Peer("wsctl", "wsctl serve", (*serve, *flags))}
    for function in hubs:
        app = (f"tests.bench.peers.hub_application:{function}", "--factory")
        peers[HUBS[function]] = Peer("wsctl", "wsctl serve", (*serve, *app, *flags))
    return peers


def _answers(server: Server, count: int) -> float:
    return _cost(server, Exchange(REQUEST, rb"\{[^}]*\}$"), count)


def _echoes(server: Server, count: int) -> float:
    return _cost(server, Exchange(TEXT_FRAME, rb"x{100}$", HANDSHAKE, rb"\r\n\r\n$"), count)


def _messages(server: Server, count: int) -> float:
    return _cost(server, Exchange(TEXT_FRAME, rb"x{100}[^x]*\}$", JOIN, rb"\}$"), count)


def _cost(server: Server, exchange: Exchange, count: int) -> float:
    """Microseconds of CPU of the server for each of so many requests on one connection, one after the
    other."""
    is_whole = re.compile(exchange.end).search
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        if exchange.first:
            sock.sendall(exchange.first)
            _read(sock, re.compile(exchange.end_of_first).search)
        for _ in range(100):
            sock.sendall(exchange.request)
            _read(sock, is_whole)
        before = server.cpu()
        for _ in range(count):
            sock.sendall(exchange.request)
            _read(sock, is_whole)
        return 1e6 * (server.cpu() - before) / count


def _read(sock: socket.socket, is_whole: Callable[[bytes], object]) -> None:
    data = b""
    while not is_whole(data):
        chunk = sock.recv(65536)
        if not chunk:
            raise ConnectionError(f"the server hung up after {data[:200]!r}")
        data += chunk


BENCH = Bench(
    "application",
    "an application of one's own under `wsctl serve`, against the same under uvicorn: CPU µs",
    lambda size: figures(size.rounds, size.count),
    full={"rounds": 5, "count": 2000},
    quick={"rounds": 0, "count": 50},
)

if __name__ == "__main__":
    main(BENCH)
