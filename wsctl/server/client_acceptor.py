"""The acceptor of clients: from a parsed request to a connection or a refusal."""

import asyncio
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from starlette.datastructures import Headers, QueryParams

from wsctl.server.client_paths import NO_PATHS, OWN_PATHS, ClientPath, ClientPaths
from wsctl.server.event_stream.opener import EventStreamOpener
from wsctl.server.http.proxy import TrustedProxies
from wsctl.server.http.semantics import HttpRefusal
from wsctl.server.websocket.admission import NO_SUCH_PATH, Admitted, Verdict
from wsctl.server.websocket.hook_calls import ConnectVerdict, Identified
from wsctl.server.websocket.hooks import Handshake
from wsctl.server.websocket.opener import ClientRequest, ConnectionOpener, IncomingRequest, WebSocketOpener
from wsctl.server.websocket.services import AcceptorServices
from wsctl.server.websocket.waiting_handshake import WaitingHandshake


class ClientAcceptor:
    """The acceptor of every client, whichever protocol has parsed its request. `paths` are those of clients;
    with `others` requests for WebSockets at other paths are another application's.

    Attributes:
        has_streams: whether any of the paths can be an event stream's.
    """

    def __init__(
        self,
        services: AcceptorServices,
        proxies: TrustedProxies,
        root_path: str,
        *,
        paths: ClientPaths = OWN_PATHS,
        others: bool = False,
    ) -> None:
        self._paths = paths
        self._others = others
        self._services = services
        self._proxies = proxies
        self._root_path = root_path
        self._websockets = WebSocketOpener(services)
        self._streams = EventStreamOpener(services)
        self.has_streams = paths.stream is not NO_PATHS.stream
        self.clock = services.connections.clock

    def serves(self, path: str) -> bool:
        """Tell whether a request for a WebSocket at this path is answered here."""
        return not self._others or self._paths.websocket(self._inner(path)) is not None

    def serves_stream(self, method: str, path: str) -> bool:
        """Tell whether a request is one for an event stream, which is answered here."""
        return method == "GET" and self._paths.stream(self._inner(path)) is not None

    def accept(
        self, transport: asyncio.Transport, request: ClientRequest, early: bytes
    ) -> HttpRefusal | None:
        """Give the transport to a new WebSocket; `early` is what came behind the request.

        Returns the refusal if there is one: then the transport stays with the caller, who must answer.
        """
        at = self._paths.websocket(self._inner(request.path))
        return self._accept(self._websockets, at, self._incoming(transport, request, early))

    def accept_stream(
        self, transport: asyncio.Transport, request: ClientRequest, early: bytes
    ) -> HttpRefusal | None:
        """Give the transport to a new event stream, as `accept` does to a WebSocket."""
        at = self._paths.stream(self._inner(request.path))
        return self._accept(self._streams, at, self._incoming(transport, request, early))

    def log_refusal(
        self,
        refused: HttpRefusal,
        transport: asyncio.Transport,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Log a refusal."""
        self._services.refusals.log(refused.code, self._proxies.client_address(transport, headers)[0])

    def is_foreign(self, transport: asyncio.BaseTransport, headers: Mapping[str, str]) -> bool:
        """Tell whether a request that no proxy forwards names a host that this server does not allow."""
        allowed = self._services.hosts.allows(headers.get("host", ""))
        return not allowed and self._proxies.is_direct(transport, headers)

    def _accept(
        self, opener: ConnectionOpener, at: ClientPath | None, incoming: IncomingRequest
    ) -> HttpRefusal | None:
        refused = opener.find_refusal(incoming.request) or (
            self._decide(opener, at, incoming) if at else NO_SUCH_PATH
        )
        if refused:
            self._services.refusals.log(refused.code, incoming.host)
        return refused

    def _decide(
        self, opener: ConnectionOpener, at: ClientPath, incoming: IncomingRequest
    ) -> HttpRefusal | None:
        """Answer a valid request at the path of a client, or have the application decide about it first;
        return the refusal, if it is one."""
        foreign = self.is_foreign(incoming.transport, incoming.request.headers)
        asked = opener.asked(at.client_id, incoming.request, foreign_host=foreign)
        verdict = self._services.admission.admit(asked)
        hooks = self._services.connections.hooks
        identity = None
        if hooks and isinstance(verdict, Admitted) and hooks.decides(verdict.topics):
            found = hooks.connect(_handshake(opener, at, incoming, verdict.client_id), verdict.topics)
            if not isinstance(found, Identified | HttpRefusal):
                decide = partial(self._decide_late, opener, incoming, verdict)
                WaitingHandshake(incoming.transport, found, incoming.early, decide, self._services.waiting)
                return None
            verdict, identity = self._place(verdict, found)
        return self._answer(opener, incoming, verdict, identity)

    def _decide_late(
        self,
        opener: ConnectionOpener,
        incoming: IncomingRequest,
        admitted: Admitted,
        found: ConnectVerdict,
        early: bytes,
    ) -> HttpRefusal | None:
        """Answer a request whose hook has returned; return the refusal, if it is one."""
        refused = self._answer(opener, incoming._replace(early=early), *self._place(admitted, found))
        if refused:
            self._services.refusals.log(refused.code, incoming.host)
        return refused

    def _place(self, admitted: Admitted, found: ConnectVerdict) -> tuple[Verdict, Any]:
        """Return the verdict on a client about which the application has decided, and what that knows of
        it."""
        if isinstance(found, HttpRefusal):
            return found, None
        verdict = self._services.admission.place(admitted._replace(client_id=found.client_id))
        return verdict, found.identity

    def _answer(
        self, opener: ConnectionOpener, incoming: IncomingRequest, verdict: Verdict, identity: Any
    ) -> HttpRefusal | None:
        """Answer a request as the verdict says; return the refusal, if it is one that the caller must answer
        with."""
        if isinstance(verdict, HttpRefusal):
            self._services.refusals.count(verdict.code)
            return opener.refuse(incoming, verdict)
        if isinstance(verdict, Admitted):
            if verdict.in_place:
                self._services.connections.manager.make_room(verdict.client_id)
            opener.open(incoming, verdict, identity)
        else:
            self._services.refusals.count_drained()
            opener.reject(incoming)
        return None

    def _incoming(
        self, transport: asyncio.Transport, request: ClientRequest, early: bytes
    ) -> IncomingRequest:
        host, port = self._proxies.client_address(transport, request.headers)
        return IncomingRequest(transport, request, early, host, port)

    def _inner(self, path: str) -> str:
        """Return a path without the root path, which may be there or stripped by the proxy."""
        return path.removeprefix(self._root_path) if self._root_path else path


def _handshake(
    opener: ConnectionOpener, at: ClientPath, incoming: IncomingRequest, client_id: str
) -> Handshake:
    request = incoming.request
    return Handshake(
        client_id=client_id,
        headers=Headers(dict(request.headers)),
        query=QueryParams(request.query),
        path_params=at.params,
        subprotocols=opener.subprotocols(request),
        address=incoming.address,
    )
