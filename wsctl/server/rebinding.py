"""HTTP requests and handshakes for foreign hosts, as ASGI applications see them."""

from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from wsctl.server.admission import unknown_host
from wsctl.server.answers import error_body
from wsctl.server.hosts import Hosts

FOREIGN = "foreign_host"
"""The key in a scope's state under which `wsctl serve` tells whether a request's Host is foreign."""

OPEN = ("/health/live", "/health/ready")
"""The paths that may be asked for under any Host: probes send whatever they like, and there is nothing in the
answer."""


def is_foreign(scope: Scope, hosts: Hosts) -> bool:
    """Tell whether a request names a host that is not taken. `wsctl serve` has looked at the connection;
    under another server only what that one believes of its proxies is to be seen."""
    known = scope.get("state", {}).get(FOREIGN)
    return bool(known) if known is not None else not hosts.takes(_host_of(scope)) and _is_direct(scope)


class OwnHosts:
    """An ASGI application that answers requests for foreign hosts by itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].endswith(OPEN):
            node: Any = scope["app"].state.node
            if is_foreign(scope, node.hosts):
                refused = unknown_host(_host_of(scope))
                node.note_refused(refused.code, scope["client"][0] if scope.get("client") else "")
                answer = JSONResponse(error_body(refused.code, refused.message), refused.status)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _host_of(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")


def _is_direct(scope: Scope) -> bool:
    """Tell whether no proxy stands before another ASGI server: false on a Unix socket, and where the client
    is an address that a proxy has named."""
    server, client = scope.get("server"), scope.get("client")
    if not server or server[1] is None or not client:
        return False
    chain = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return client[0] not in [entry.strip() for entry in chain.decode("latin-1").split(",")]
