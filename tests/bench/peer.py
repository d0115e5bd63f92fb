"""The servers that are compared."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent / "peers"


class Speech(NamedTuple):
    """How clients speak to a server that puts something of its own around each text.

    Attributes:
        query: stands behind the path.
        hello: is the first text of a client, once the handshake is through.
        greetings: is the number of frames with which the server greets it, all together.
        before, after: stand around each text that a client sends.
    """

    query: str = ""
    hello: bytes = b""
    greetings: int = 0
    before: bytes = b""
    after: bytes = b""


PLAIN, GREETED = Speech(), Speech(greetings=1)

SOCKET_IO = Speech("?EIO=4&transport=websocket", b"40", 2, b'42["message","', b'"]')
"""Socket.IO in its version 5, over a WebSocket from the start."""


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
        return f"`{' '.join(self.probe)}` fails" if done.returncode else ""


def _program(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.bench.peers.{name}")


_SERVE = (sys.executable, "-m", "wsctl", "serve", "--port", "0")
_UNLIMITED = ("--rate", "0", "--max-queue", "64m", "--broadcast-interval", "0", "--log-level", "error")

PEERS = (
    Peer("floor", "floor: map(os.write)", _program("floor")),
    Peer("wsctl", "wsctl", (*_SERVE, *_UNLIMITED), GREETED),
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
)

NOT_COMPARED = {
    "NATS": "its clients speak a protocol of its own, which this load does not",
    "Centrifugo": "its clients speak a protocol of its own, which this load does not",
    "nchan": "it is a module that an nginx has to be built with",
}
"""Servers that are no peers here, each with the reason."""
