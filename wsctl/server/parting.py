"""The answers of a server that shuts down: they say that the connection ends with them (RFC 9112 section
9.6)."""

from typing import Any

from wsctl.drain.phases import Phase
from wsctl.server.node import Node

CLOSE = (b"connection", b"close")

_GOING = frozenset({Phase.DRAINING, Phase.CLOSING, Phase.STOPPED})


class Parting:
    """An ASGI application that ends HTTP connections with their next answer while the server drains, or a
    successor leads, so that clients connect anew to another server."""

    def __init__(self, app: Any, node: Node) -> None:
        self._app = app
        self._node = node

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def parting(message: Any) -> None:
            if message["type"] == "http.response.start" and self._is_going():
                message = message | {"headers": [*message.get("headers", ()), CLOSE]}
            await send(message)

        await self._app(scope, receive, parting if scope["type"] == "http" else send)

    def _is_going(self) -> bool:
        return self._node.leaving or self._node.life.phase in _GOING
