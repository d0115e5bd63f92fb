"""`python -m tests.bench.application`: what an application of one's own costs under `wsctl serve`, against
the same under uvicorn with the same parser; and a message of its hub, against the built-in server."""

import argparse
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from tests.bench.frames import TEXT, frame
from tests.bench.peer import Peer
from tests.bench.server import CORES, Server

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

Figures = dict[str, float]


class Exchange(NamedTuple):
    """A request, and an expression for the end of its answer; before all, what opens the connection."""

    request: bytes
    end: bytes
    first: bytes = b""
    end_of_first: bytes = b""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code; prints the microseconds of CPU of an operation, and the ratios."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.application", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=3000, help="operations of a round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if CORES:
        os.sched_setaffinity(0, {CORES[1]})
    found = figures(options.rounds, options.count)
    if options.json:
        print(json.dumps({name: round(value, 3) for name, value in found.items()}))
        return 0
    for name, value in found.items():
        print(f"{name:28} {value:8.3f}")
    return 0


def figures(rounds: int, count: int) -> Figures:
    """Microseconds of CPU for an answer and for an echo under each server in the best of the rounds, in each
    of which the servers are measured one after the other, and the ratios."""
    found: Figures = {}
    for parser in ("httptools", "h11"):
        with ExitStack() as stack:
            servers = {name: stack.enter_context(Server(peer)) for name, peer in _peers(parser).items()}
            for what, measure in (("json", _answers), ("echo", _echoes)):
                best = _best(servers, measure, rounds, count)
                found |= {f"{what} {parser} {name}": cost for name, cost in best.items()}
                found[f"{what} {parser} ratio"] = best["wsctl"] / best["uvicorn"]
    return found | _message_figures(rounds, count)


def _message_figures(rounds: int, count: int) -> Figures:
    """Microseconds of CPU for a message that a client sends, and gets, in the best of the rounds, and the
    ratio of a hub without hooks."""
    with ExitStack() as stack:
        servers = {name: stack.enter_context(Server(peer)) for name, peer in _hub_peers().items()}
        best = _best(servers, _messages, rounds, count)
    found = {f"message {name}": cost for name, cost in best.items()}
    return found | {"message ratio": best["hub"] / best["built-in"]}


def _best(
    servers: Mapping[str, Server], measure: Callable[[Server, int], float], rounds: int, count: int
) -> Figures:
    """Return what `measure` finds of each server in the best of the rounds. One round before them does not
    count: on a machine that had nothing to do, whichever server comes first costs a quarter less."""
    runs = [{name: measure(server, count) for name, server in servers.items()} for _ in range(rounds + 1)]
    return {name: min(run[name] for run in runs[1:]) for name in servers}


def _peers(parser: str) -> dict[str, Peer]:
    serve = ("wsctl", "serve", APPLICATION, "--port", "0", "--log-level", "error")
    return {
        "uvicorn": Peer(
            "uvicorn", "uvicorn", (sys.executable, "-m", "tests.bench.peers.own_application", parser)
        ),
        "wsctl": Peer("wsctl", "wsctl serve", (sys.executable, "-c", WSCTL[parser].format(serve=serve))),
    }


def _hub_peers() -> dict[str, Peer]:
    flags = ("--port", "0", "--log-level", "error", "--rate", "0", "--broadcast-interval", "0")
    serve = (sys.executable, "-m", "wsctl", "serve")
    peers = {"built-in": Peer("wsctl", "wsctl serve", (*serve, *flags))}
    for function, name in HUBS.items():
        app = (f"tests.bench.peers.hub_application:{function}", "--factory")
        peers[name] = Peer("wsctl", "wsctl serve", (*serve, *app, *flags))
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
