"""Who the client is when a proxy stands in front."""

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

    def client(self, scope: Mapping[str, Any]) -> tuple[str, int]:
        """Host and port of the client; an empty host on a Unix socket, port 0 when not known."""
        found = dict(scope)
        if self._middleware and any(name == b"x-forwarded-for" for name, _ in scope["headers"]):
            # The middleware awaits nothing but its application, which ends at once.
            call = self._middleware(found, _never, _never)  # type: ignore[arg-type]
            with contextlib.suppress(StopIteration):
                call.send(None)
        host, port = found.get("client") or ("", 0)
        return str(host), int(port)


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    return None


async def _never(*_: Any) -> Any:
    raise RuntimeError("nothing is sent or received here")
