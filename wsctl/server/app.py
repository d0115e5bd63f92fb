"""The FastAPI application of one server."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from wsctl import __version__
from wsctl.control.encoding import encode
from wsctl.control.operations import ControlError
from wsctl.server import dashboard_routes
from wsctl.server.api import HttpControl, health_routes, operator_routes, pages
from wsctl.server.asyncapi import document as asyncapi
from wsctl.server.dashboard.access import DashboardAccess
from wsctl.server.event_stream.endpoint import AsgiStreamAcceptor
from wsctl.server.event_stream.opener import MEDIA_TYPE
from wsctl.server.event_stream.publishing import ClientPublisher
from wsctl.server.http.middleware import HostMiddleware, MethodMiddleware, methods_of
from wsctl.server.http.semantics import allow, error_body
from wsctl.server.node import Node
from wsctl.server.node_control import control_of
from wsctl.server.openapi import Application
from wsctl.server.own_application import RouteSet
from wsctl.server.page import reference
from wsctl.server.websocket.endpoint import AsgiAcceptor

Answer = Callable[[Request], Awaitable[Response]]
"""Answers a request."""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    node: Node,
    lifespan: Lifespan | None = None,
    control: HttpControl | None = None,
    kind: type[Application] = Application,
    routes: RouteSet = RouteSet.ALL,
    *,
    access: DashboardAccess | None = None,
) -> FastAPI:
    """Create the application with these routes; its lifespan runs the node unless another one is given, and
    `control` carries out the operations in place of the node alone. `access` knows who may use the
    dashboard."""
    is_admin = routes is RouteSet.ADMIN
    app = kind(
        title="wsctl",
        version=__version__,
        summary="WebSocket broadcasting that can be redeployed at noon",
        description=_ADMIN if is_admin else _CLIENTS,
        lifespan=lifespan or (lambda _: node.running()),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would lead to whatever Host the request names
    )
    if not is_admin:  # no proxy stands before that address
        app.root_path = node.settings.root_path  # for servers that are told none; ours puts it into the scope
    app.state.node = node
    app.state.dashboard_access = access = access or DashboardAccess(None, node.settings.token)
    app.state.control = control or control_of(node, access)
    app.add_middleware(HostMiddleware, hosts=node.hosts, refusals=node.refusals)
    app.add_middleware(MethodMiddleware)  # first: it knows the host of an absolute target
    if not is_admin:
        _add_client_routes(app, node)
    app.include_router(health_routes)
    if routes is not RouteSet.CLIENTS:
        app.include_router(operator_routes(open_metrics=is_admin))
        app.include_router(dashboard_routes.router)
    app.include_router(reference.router)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ControlError, _control_error)
    return app


_CLIENTS = (
    "What goes over the WebSocket `/ws/{client_id}`, and over event streams, is in "
    "[asyncapi.json](asyncapi.json)."
)
_ADMIN = "The routes for operators and probes, at an address of their own."


def _add_client_routes(app: FastAPI, node: Node) -> None:
    app.include_router(pages)
    app.include_router(asyncapi.router)
    acceptor = AsgiAcceptor(node.acceptor_services)
    app.add_api_websocket_route("/ws/{client_id}", acceptor.accept)
    app.add_api_websocket_route("/{path:path}", acceptor.refuse_path)
    app.add_api_route("/ws/{client_id}", upgrade_required, include_in_schema=False)
    streams = AsgiStreamAcceptor(node.acceptor_services)
    add_stream_routes(app, streams.accept, streams.describe)
    publisher = ClientPublisher(node.acceptor_services, node.is_publishing)
    app.add_api_route(PUBLISH_PATH, publisher.options, methods=["OPTIONS"], include_in_schema=False)
    app.add_api_route(
        PUBLISH_PATH,
        publisher.answer,
        methods=["POST"],
        response_model=None,
        name="publish",
        summary="Publish as a client",
        description=_PUBLISH,
        tags=["clients"],
    )


def add_stream_routes(router: FastAPI | APIRouter, accept: Answer, describe: Answer) -> None:
    """Add the routes of event streams to an application or a router: `accept` answers with the stream,
    `describe` HEAD and OPTIONS."""
    router.add_api_route(STREAM_PATH, describe, methods=["HEAD", "OPTIONS"], include_in_schema=False)
    router.add_api_route(
        STREAM_PATH,
        accept,
        response_class=Response,
        response_model=None,
        name="events",
        summary="The events of a client",
        description=_STREAM,
        responses={
            200: {"description": "The stream", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
            204: {"description": "The client was told not to connect again"},
        },
        tags=["clients"],
    )


STREAM_PATH = "/events/{client_id}"
PUBLISH_PATH = "/publish"

_PUBLISH = (
    "For clients of event streams: a message is published as if it came over a WebSocket, with the client's "
    "credentials, and within the same rate and size. The answer comes when it has its id."
)

_STREAM = (
    "Server-sent events: the frames of the WebSocket `/ws/{client_id}`, for clients that only listen. "
    "`event` is a frame's type, `id` the id of a message, `data` the frame. `since` or the header "
    "`Last-Event-ID` resumes; `topic`, once for each, subscribes."
)


async def upgrade_required(request: Request) -> JSONResponse:
    """Answer a plain request where a WebSocket is served."""
    above, _, name = request.url.path.rpartition("/ws/")
    text = (
        "this is a WebSocket: connect with ws://, for instance with 'wsctl client'; "
        f"the same messages come over plain HTTP at {above}/events/{name}"
    )
    headers = {"upgrade": "websocket", "sec-websocket-version": "13"}
    return JSONResponse(error_body("upgrade_required", text), HTTPStatus.UPGRADE_REQUIRED, headers)


async def _http_error(request: Request, error: Any) -> Response:
    if error.status_code == HTTPStatus.NOT_FOUND and (place := _without_slash(request)):
        return RedirectResponse(place)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"allow": allow(methods_of(request.app.routes, request.scope))}
    return JSONResponse(error_body(code, str(error.detail)), error.status_code, headers)


async def _control_error(request: Request, error: Any) -> JSONResponse:
    headers = {"www-authenticate": "Bearer"} if error.status is HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(encode(error.answer), error.status, headers)


def _without_slash(request: Request) -> str | None:
    """Return the address of the same path without the slash at its end, relative to this one; None if it has
    none, or nothing is there."""
    path: str = request.scope["path"]
    shorter = path.removesuffix("/")
    scope = {**request.scope, "path": shorter}
    if shorter == path or all(route.matches(scope)[0] is Match.NONE for route in request.app.routes):
        return None
    query = request.scope["query_string"].decode("latin-1")
    return f"../{quote(shorter.rpartition('/')[2])}{f'?{query}' if query else ''}"
