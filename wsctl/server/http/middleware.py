"""ASGI middleware around wsctl's own routes: foreign hosts, HEAD and OPTIONS, absolute targets."""

from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import unquote

from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from wsctl.server.http.host_header import AllowedHosts, host_of, is_foreign, unknown_host
from wsctl.server.http.refusals import Refusals
from wsctl.server.http.semantics import METHODS, BadTarget, allow, error_body, origin_form

ANY_HOST_PATHS = ("/health/live", "/health/ready")
"""The paths that may be asked for under any Host: probes send whatever they like, and there is nothing in the
answer."""


class HostMiddleware:
    """Answers requests for foreign hosts in place of the application."""

    def __init__(self, app: ASGIApp, hosts: AllowedHosts, refusals: Refusals) -> None:
        self._app = app
        self._hosts = hosts
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_refused(scope):
            refused = unknown_host(host_of(scope))
            self._refusals.log(refused.code, scope["client"][0] if scope.get("client") else "")
            answer = JSONResponse(error_body(refused.code, refused.message), refused.status)
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_refused(self, scope: Scope) -> bool:
        checked = scope["type"] == "http" and not scope["path"].endswith(ANY_HOST_PATHS)
        return checked and is_foreign(scope, self._hosts)


class MethodMiddleware:
    """Answers HEAD as GET, of which the server leaves off the body (RFC 9110 section 9.3.2), and OPTIONS with
    the methods that are allowed, unless a route has an answer of its own; an absolute target is one of the
    path alone, as in any request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = _in_origin_form(scope)
        method = scope.get("method")
        if method in ("HEAD", "OPTIONS") and _has(scope["app"].routes, scope):
            pass
        elif method == "HEAD":
            scope = {**scope, "method": "GET"}
        elif method == "OPTIONS" and (methods := _allowed_methods(scope)):
            await Response(status_code=204, headers={"allow": allow(methods)})(scope, receive, send)
            return
        await self._app(scope, receive, send)


def methods_of(routes: Iterable[BaseRoute], scope: MutableMapping[str, Any]) -> list[str]:
    """Return the methods that one of the routes has at the path that is asked for."""
    routes = list(routes)
    return [method for method in METHODS if _has(routes, {**scope, "method": method})]


def _has(routes: Iterable[BaseRoute], scope: Scope) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in routes)


def _allowed_methods(scope: Scope) -> list[str]:
    if scope["path"].removeprefix(scope.get("root_path", "")) == "*":
        return list(METHODS)
    return methods_of(scope["app"].routes, scope)


def _in_origin_form(scope: Scope) -> Scope:
    """Return the scope as if only the path had been asked for; other ASGI servers leave that to the
    application."""
    root: str = scope.get("root_path", "")
    asked = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").removeprefix(root)
    try:
        path, host = origin_form(scope.get("method", "GET"), asked)
    except BadTarget:
        return scope
    if host is None:
        return scope
    others = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "path": root + unquote(path),
        "raw_path": (root + path).encode("latin-1"),
        "headers": [(b"host", host.encode("latin-1")), *others],
    }
