"""Who the client is when a proxy stands in front."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from uvicorn.config import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware


class Forwarded:
    """uvicorn's rules for `X-Forwarded-For`, for connections that no ASGI application sees."""

    def __init__(self, config: Config) -> None:
        self._middleware = (
            ProxyHeadersMiddleware(_nothing, config.forwarded_allow_ips) if config.proxy_headers else None
        )

    def client(self, transport: asyncio.BaseTransport, headers: Mapping[str, str]) -> tuple[str, int]:
        """Host and port of the client; an empty host on a Unix socket, port 0 when not known."""
        peer = transport.get_extra_info("peername")
        host, port = peer[:2] if isinstance(peer, tuple) else ("", 0)
        chain = headers.get("x-forwarded-for")
        if chain is None or self._middleware is None:
            return host, port
        names = [(b"x-forwarded-for", chain.encode("latin-1"))]
        scope: dict[str, Any] = {"type": "websocket", "client": (host, port), "headers": names}
        # The middleware awaits nothing but its application, which ends at once.
        call = self._middleware(scope, _never, _never)  # type: ignore[arg-type]
        with contextlib.suppress(StopIteration):
            call.send(None)
        host, port = scope["client"]
        return host, port


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    return None


async def _never(*_: Any) -> Any:
    raise RuntimeError("nothing is sent or received here")
