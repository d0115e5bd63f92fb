"""The servers that are compared."""

import importlib.util
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """How to start one. It prints where it listens, and sends what any client sends to all of them.

    Attributes:
        greets: it sends one frame to each client that connects.
        needs: the module without which it is left out, if any.
    """

    name: str
    title: str
    command: tuple[str, ...]
    greets: bool = False
    needs: str = ""

    @property
    def missing(self) -> str:
        """Why it cannot be measured here; empty when it can."""
        if not self.needs or importlib.util.find_spec(self.needs) is not None:
            return ""
        return f"there is no {self.needs} here: pip install -e '.[bench]'"


def _program(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.bench.peers.{name}")


_SERVE = (sys.executable, "-m", "wsctl", "serve", "--port", "0")
_UNLIMITED = ("--rate", "0", "--max-queue", "64m", "--broadcast-interval", "0", "--log-level", "error")

PEERS = (
    Peer("floor", "floor: map(os.write)", _program("floor")),
    Peer("wsctl", "wsctl", (*_SERVE, *_UNLIMITED), greets=True),
    Peer("picows", "picows", _program("picows_loop"), needs="picows"),
    Peer("websockets", "websockets.broadcast", _program("websockets_broadcast")),
    Peer("fastapi", "FastAPI tutorial, uvicorn", _program("fastapi_tutorial")),
)
