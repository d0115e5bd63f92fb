"""The binding of a hub to the node that serves its clients.

Under `wsctl serve` that is the server's own. Anywhere else the hub's lifespan makes one, and runs it within
the ASGI server that is there.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from weakref import WeakSet

from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import JSONResponse, Response
from starlette.routing import Route

from wsctl.control.operations import ControlService
from wsctl.drain.observers import DrainLog
from wsctl.errors import CannotStart, HubNotStarted, WsctlError
from wsctl.server.app import add_stream_routes, upgrade_required
from wsctl.server.asgi.notice import shutdown_notice
from wsctl.server.client_paths import ClientPaths
from wsctl.server.embedded import run_embedded
from wsctl.server.event_stream.endpoint import AsgiStreamAcceptor
from wsctl.server.http.semantics import error_body
from wsctl.server.library.routes import HubRoutes
from wsctl.server.node import Node
from wsctl.server.node_control import NodeControl, control_of
from wsctl.server.websocket.endpoint import AsgiAcceptor
from wsctl.server.websocket.hooks import Hooks
from wsctl.settings import Settings

log = logging.getLogger("wsctl.server")

NOT_STARTED = (
    "the hub has not started: give its lifespan to the application that is served, as in "
    "FastAPI(lifespan=hub.lifespan); one that is mounted in another has no lifespan of its own"
)

_PATH = "/ws/{client_id}"

_bindings: "WeakSet[HubBinding]" = WeakSet()
_running: "WeakSet[HubBinding]" = WeakSet()


class HubBinding:
    """The binding of one hub. `settings` reads its settings, and the environment beside them, where no
    `wsctl serve` has given it a node.

    Attributes:
        hooks: the functions of the application, which a node knows from its start on.
        router: the routes of the hub, for the application.
    """

    def __init__(self, settings: Callable[[], tuple[Settings, Mapping[str, str]]]) -> None:
        self._settings = settings
        self.hooks = Hooks()
        self._node: Node | None = None
        self._acceptor: AsgiAcceptor | None = None
        self._stream_acceptor: AsgiStreamAcceptor | None = None
        self._attached = False
        self._for_all: ControlService | None = None
        self._refusal_logged = False
        self.router = self._create_router()
        _bindings.add(self)

    @property
    def has_node(self) -> bool:
        """True if there is a node, which serves or soon will."""
        return self._node is not None

    @property
    def node(self) -> Node:
        """The node.

        Raises:
            HubNotStarted: there is none yet, or no more.
        """
        if self._node is None:
            raise HubNotStarted(NOT_STARTED)
        return self._node

    @property
    def control(self) -> NodeControl:
        """The service that carries out operations on the node.

        Raises:
            HubNotStarted: there is no node.
        """
        return control_of(self.node)

    @property
    def service(self) -> ControlService:
        """The service that carries out operations on all processes of the server.

        Raises:
            HubNotStarted: there is no node.
        """
        node = self.node
        return self._for_all or control_of(node)

    def attach(self, node: Node, for_all: ControlService | None = None) -> None:
        """Bind the hub to the node of the server that has loaded its application; `for_all` carries out
        operations on all processes of the server, where there are others."""
        self._attached = True
        self._for_all = for_all
        self._bind(node)

    def paths_in(self, app: object) -> ClientPaths:
        """Return the paths of an application that lead to this hub.

        Raises:
            CannotStart: one of them has dependencies, which the server would not call.
        """
        routes = HubRoutes(app, self.serve)
        if not routes:
            log.warning(
                "the application has a hub, and no route to it was found: clients that reach it all the same "
                "have a task each, and do not move in an upgrade; app.include_router(hub.router) adds it"
            )
        return ClientPaths(routes.find, HubRoutes(app, self.serve_stream, kind=Route).find)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run a node, unless the server has given one.

        Raises:
            CannotStart: another hub of this process runs, or this one does already.
            WsctlError: the settings cannot be used.
        """
        if self._attached:
            yield
            return
        try:
            node, environ = self._create_node()
        except WsctlError as error:
            log.error("the hub cannot start: %s", error)
            raise
        _running.add(self)
        self._bind(node)
        try:
            async with run_embedded(node, environ):
                yield
        finally:
            self._node = self._acceptor = self._stream_acceptor = None
            _running.discard(self)

    async def finish_hooks(self) -> None:
        """Wait for the hooks that are at work: what the application opened for them ends next."""
        if self._node and self._node.hooks:
            await self._node.hooks.finish()

    async def serve(self, websocket: WebSocket) -> None:
        """Serve a client whose socket belongs to another ASGI server."""
        if self._acceptor is None or self._node is None:
            await self._refuse(websocket)
            return
        if self._node.application:  # the drain counts it as a client
            self._node.application.exempt(shutdown_notice(websocket))
        await self._acceptor.accept(websocket)

    async def serve_stream(self, request: Request) -> Response:
        """Serve an event stream whose socket belongs to another ASGI server."""
        if self._stream_acceptor is None or self._node is None:
            return self._not_started()
        if self._node.application:
            self._node.application.exempt(shutdown_notice(request))
        return await self._stream_acceptor.accept(request)

    async def _describe_stream(self, request: Request) -> Response:
        acceptor = self._stream_acceptor
        return await acceptor.describe(request) if acceptor else self._not_started()

    async def _refuse(self, websocket: WebSocket) -> None:
        await websocket.send_denial_response(self._not_started())

    def _not_started(self) -> Response:
        if not self._refusal_logged:
            self._refusal_logged = True
            log.error("clients are refused with 503: %s", NOT_STARTED)
        body = error_body("hub_not_started", "the hub of this application has not started: its log says why")
        return JSONResponse(body, HTTPStatus.SERVICE_UNAVAILABLE)

    def _create_router(self) -> APIRouter:
        router = APIRouter()
        router.add_api_websocket_route(_PATH, self.serve)
        router.add_api_route(_PATH, upgrade_required, include_in_schema=False)
        add_stream_routes(router, self.serve_stream, self._describe_stream)
        return router

    def _create_node(self) -> tuple[Node, Mapping[str, str]]:
        if self in _running:
            raise CannotStart("the hub runs already: give its lifespan to one application")
        if len(_running):
            raise CannotStart(TWO_HUBS)
        settings, environ = self._settings()
        return Node(settings, [DrainLog()], hooks=self.hooks), environ

    def _bind(self, node: Node) -> None:
        self._node = node
        self._acceptor = AsgiAcceptor(node.acceptor_services)
        self._stream_acceptor = AsgiStreamAcceptor(node.acceptor_services)


TWO_HUBS = (
    "there are two hubs in this process, which can have one: call Hub() once, and import that everywhere"
)


def find_binding() -> HubBinding | None:
    """Return the binding of the hub that the application has made; None if it has none.

    Raises:
        CannotStart: there are several.
    """
    found = list(_bindings)
    if len(found) > 1:
        raise CannotStart(TWO_HUBS)
    return found[0] if found else None
