"""The servers that are compared."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.bench.frames import BINARY, TEXT

HERE = Path(__file__).parent / "peers"


class Speech(NamedTuple):
    """How clients speak to a server that has a protocol of its own within the WebSocket.

    Attributes:
        query: stands behind the path.
        hello: is the first message of a client, once the handshake is through.
        greetings: is the number of frames with which the server greets it, all together.
        publication: returns what a client sends to publish a text.
        kind: is the first byte of the frames that a client sends.
        streamed: whether messages are operations of NATS' protocol, in a stream that frames cut anywhere;
            else each is a frame.
    """

    query: str = ""
    hello: bytes = b""
    greetings: int = 0
    publication: Callable[[bytes], bytes] = bytes
    kind: int = TEXT
    streamed: bool = False


PLAIN, GREETED = Speech(), Speech(greetings=1)

SOCKET_IO = Speech("?EIO=4&transport=websocket", b"40", 2, lambda text: b'42["message","%b"]' % text)
"""Socket.IO in its version 5, over a WebSocket from the start."""

NATS = Speech(
    hello=b'CONNECT {"verbose":false}\r\nSUB all 1\r\nPING\r\n',
    greetings=2,
    publication=lambda text: b"PUB all %d\r\n%b\r\n" % (len(text), text),
    kind=BINARY,
    streamed=True,
)
"""NATS' protocol: the server greets with INFO, and its PONG says that the subscription stands."""


@dataclass(frozen=True)
class Peer:
    """How to start one. It prints where it listens, and is sent the same texts as all of them.

    Attributes:
        needs: the module without which it is left out, if any.
        probe: a command that fails where it cannot be started, if there is one.
    """

    name: str
    title: str
    command: tuple[str, ...]
    speech: Speech = PLAIN
    needs: str = ""
    probe: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """Why it cannot be measured here; empty when it can."""
        if self.needs and importlib.util.find_spec(self.needs) is None:
            return f"there is no module {self.needs} here"
        if not self.probe:
            return ""
        if not shutil.which(self.probe[0]):
            return f"there is no {self.probe[0]} here"
        done = subprocess.run(self.probe, capture_output=True, check=False)
        program, *arguments = self.probe
        return f"`{' '.join([Path(program).name, *arguments])}` fails" if done.returncode else ""


def _program(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.bench.peers.{name}", *arguments)


_SERVE = (sys.executable, "-m", "wsctl", "serve", "--port", "0")
_UNLIMITED = ("--rate", "0", "--max-queue", "64m")
_QUIET = ("--broadcast-interval", "0", "--ping-interval", "0", "--log-level", "error")

PEERS = (
    Peer("floor", "floor: map(os.write)", _program("floor")),
    Peer("wsctl", "wsctl", (*_SERVE, *_UNLIMITED, *_QUIET), GREETED),
    Peer("picows", "picows", _program("picows_loop"), needs="picows"),
    Peer("websockets", "websockets.broadcast", _program("websockets_broadcast")),
    Peer("fastapi", "FastAPI tutorial, uvicorn", _program("fastapi_tutorial")),
    Peer("socketio", "python-socketio, uvicorn", _program("socketio_server"), SOCKET_IO, needs="socketio"),
    Peer(
        "node",
        "ws, Node",
        ("node", str(HERE / "node_ws.cjs")),
        probe=("node", "-e", "require('ws')"),
    ),
    Peer("bun", "Bun", ("bun", "run", str(HERE / "bun_publish.mjs")), probe=("bun", "--version")),
    Peer("nchan", "nchan, nginx", _program("nchan_channel"), probe=_program("nchan_channel", "--test")),
    Peer(
        "nats",
        "NATS",
        ("env", "GOMAXPROCS=1", "nats-server", "-c", str(HERE / "nats.conf")),
        NATS,
        probe=("nats-server", "--version"),
    ),
)

NOT_COMPARED = {
    "Centrifugo": "no distribution has a package of it, and its clients speak a protocol of its own",
}
"""Servers that are no peers here, each with the reason."""
