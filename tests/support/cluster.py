"""Servers that share one store, all of them on this machine."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support.clients import receive
from tests.support.server import DEADLINE, WSCTL, ServerProcess

Start = Callable[..., ServerProcess]


class Cluster:
    """Starts nodes, with `flags` for each of them, and their clients, none of which is left in the end.

    Attributes:
        nodes: those that were started, the oldest first.
        welcome: the first frame of the client that joined last.
    """

    def __init__(self, start: Start, url: str, *flags: str) -> None:
        self.nodes: list[ServerProcess] = []
        self.welcome: dict[str, Any] = {}
        self._clients: list[ClientConnection] = []
        self._start = start
        self._flags = ("--broadcast-interval", "0", "--redis", url, *flags)

    async def __aenter__(self) -> "Cluster":
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            client.transport.abort()
        await asyncio.gather(*(client.wait_closed() for client in self._clients))

    def start(self, *flags: str, port: int = 0, **how: Any) -> ServerProcess:
        """A node on a port of its own, unless it is told one."""
        command = (*WSCTL, "serve", "--port", str(port))
        return self._start(*self._flags, *flags, **({"command": command} | how))

    def add(self, *flags: str, **how: Any) -> ServerProcess:
        """One more node."""
        self.nodes.append(self.start(*flags, **how))
        return self.nodes[-1]

    def grow(self, count: int, *flags: str) -> list[ServerProcess]:
        """So many more nodes, all of which know of all."""
        grown = [self.add(*flags) for _ in range(count)]
        for node in self.nodes:
            wait_for(node, lambda facts: len(facts["nodes"]) == len(self.nodes))
        return grown

    async def join(
        self, server: ServerProcess, client_id: str, since: str | None = None, *, recovered: bool = True
    ) -> ClientConnection:
        """A client that was welcomed; one that has seen the message `since` was told if it missed any."""
        query = f"?since={since}" if since else ""
        client = await connect(f"{server.ws_url}/ws/{client_id}{query}", compression=None, proxy=None)
        self._clients.append(client)
        self.welcome = welcome = await receive(client)
        assert (welcome["type"], welcome.get("recovered")) == ("welcome", recovered if since else None), (
            welcome
        )
        return client


def wait_for(
    server: ServerProcess, seen: Callable[[dict[str, Any]], object], deadline: float = DEADLINE
) -> dict[str, Any]:
    """The first status that is so."""
    until = time.monotonic() + deadline
    while not seen(facts := server.status()):
        assert time.monotonic() < until, facts
        time.sleep(0.05)
    return facts


def publish(server: ServerProcess, data: object, *to: str) -> dict[str, Any]:
    """What the server answers to somebody who publishes there."""
    code, answer = server.api("POST", "/api/broadcast", {"data": data} | ({"to": to} if to else {}))
    assert code == 200, answer
    return dict(answer)


def refused(server: ServerProcess, data: object) -> tuple[dict[str, Any], float]:
    """The error of somebody who publishes in vain, and how many seconds he waited for it."""
    began = time.monotonic()
    code, answer = server.api("POST", "/api/broadcast", {"data": data})
    assert code == {"degraded": 503, "unconfirmed": 504}[answer["error"]["code"]], answer
    return dict(answer["error"]), time.monotonic() - began


def connections_of(facts: dict[str, Any]) -> list[int]:
    """How many clients each node has, the oldest node first."""
    return [node["connections"] for node in facts["nodes"]]
