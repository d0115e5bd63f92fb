"""The acceptor of WebSockets: from a parsed upgrade request to a connection or a refusal."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from starlette.datastructures import Headers, QueryParams

from wsctl.addresses import host_port
from wsctl.frame import Encoding
from wsctl.server.credentials.extraction import COMMANDS, chosen_subprotocol, offered_subprotocols
from wsctl.server.http.proxy import TrustedProxies
from wsctl.server.http.semantics import HttpRefusal
from wsctl.server.websocket import handshake
from wsctl.server.websocket.admission import NO_SUCH_PATH, Admitted, HandshakeRequest, Verdict
from wsctl.server.websocket.hook_calls import ConnectVerdict, Identified
from wsctl.server.websocket.hooks import Handshake
from wsctl.server.websocket.services import AcceptorServices, admit
from wsctl.server.websocket.waiting_handshake import WaitingHandshake
from wsctl.server.websocket.wire import Wire

_WS_PATH = "/ws/"


@dataclass(slots=True)
class UpgradeRequest:
    """A request that asks for a WebSocket. Header names are lower case, everything is Latin-1 text."""

    method: str
    http_version: str
    path: str
    query: str
    headers: Mapping[str, str]


class ClientPath(NamedTuple):
    """The path of a client: its id, still percent-encoded, and what else the path names."""

    client_id: str
    params: Mapping[str, Any] = MappingProxyType({})


FindClient = Callable[[str], ClientPath | None]
"""Returns what a path, without the root path, names; None if it is not a client's."""


def find_client(path: str) -> ClientPath | None:
    """Return the client that a path names where wsctl's own routes are served."""
    name = path[len(_WS_PATH) :]
    return ClientPath(name) if path.startswith(_WS_PATH) and "/" not in name else None


def find_none(path: str) -> None:
    """Return None: no path is a client's."""


class WebSocketAcceptor:
    """The acceptor of every WebSocket of clients, whichever protocol has parsed its request. `find` knows
    the paths of clients; with `others` requests at other paths are another application's."""

    def __init__(
        self,
        services: AcceptorServices,
        proxies: TrustedProxies,
        root_path: str,
        *,
        find: FindClient = find_client,
        others: bool = False,
    ) -> None:
        self._find = find
        self._others = others
        self._services = services
        self._proxies = proxies
        self._root_path = root_path
        self.clock = services.connections.clock

    def serves(self, path: str) -> bool:
        """Tell whether a request for a WebSocket at this path is answered here."""
        return not self._others or self._client_path(path) is not None

    def accept(
        self, transport: asyncio.Transport, request: UpgradeRequest, early: bytes
    ) -> HttpRefusal | None:
        """Give the transport to a new connection; `early` is what came behind the request.

        Returns the refusal if there is one: then the transport stays with the caller, who must answer.
        """
        refused = self._accept(transport, request, early)
        if refused:
            self.log_refusal(refused, transport, request.headers)
        return refused

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
        self, transport: asyncio.Transport, request: UpgradeRequest, early: bytes
    ) -> HttpRefusal | None:
        at = self._client_path(request.path)
        wrong = handshake.find_refusal(request.method, request.http_version, request.headers)
        if wrong:
            return wrong
        if at is None:
            return NO_SUCH_PATH
        headers = request.headers
        asked = HandshakeRequest(
            at.client_id,
            request.query,
            headers.get("origin"),
            headers.get("host", ""),
            headers.get("authorization"),
            headers.get("sec-websocket-protocol"),
            self.is_foreign(transport, headers),
        )
        verdict = self._services.admission.admit(asked)
        hooks = self._services.connections.hooks
        identity = None
        if hooks and isinstance(verdict, Admitted) and hooks.decides(verdict.topics):
            handshake_of = self._handshake(transport, request, at, verdict.client_id)
            found = hooks.connect(handshake_of, verdict.topics)
            if not isinstance(found, Identified | HttpRefusal):
                decide = partial(self._decide, transport, request, verdict)
                WaitingHandshake(transport, found, early, decide, self._services.waiting)
                return None
            verdict, identity = self._place(verdict, found)
        return self._answer(transport, request, verdict, identity, early)

    def _decide(
        self,
        transport: asyncio.Transport,
        request: UpgradeRequest,
        admitted: Admitted,
        found: ConnectVerdict,
        early: bytes,
    ) -> HttpRefusal | None:
        """Answer a request whose hook has returned; return the refusal, if it is one."""
        refused = self._answer(transport, request, *self._place(admitted, found), early)
        if refused:
            self.log_refusal(refused, transport, request.headers)
        return refused

    def _place(self, admitted: Admitted, found: ConnectVerdict) -> tuple[Verdict, Any]:
        """Return the verdict on a client about which the application has decided, and what that knows of
        it."""
        if isinstance(found, HttpRefusal):
            return found, None
        verdict = self._services.admission.place(admitted._replace(client_id=found.client_id))
        return verdict, found.identity

    def _answer(
        self,
        transport: asyncio.Transport,
        request: UpgradeRequest,
        verdict: Verdict,
        identity: Any,
        early: bytes,
    ) -> HttpRefusal | None:
        """Answer a request as the verdict says; return the refusal, if it is one."""
        if isinstance(verdict, HttpRefusal):
            self._services.refusals.count(verdict.code)
            return verdict
        headers = request.headers
        host, port = self._proxies.client_address(transport, headers)
        deflate = handshake.agreed_deflate(headers)
        subprotocol = chosen_subprotocol(headers.get("sec-websocket-protocol"))
        answer = handshake.accept_answer(headers, deflate, subprotocol)
        if isinstance(verdict, Admitted):
            services = self._services.connections
            if verdict.in_place:
                services.manager.make_room(verdict.client_id)
            wire = Wire(
                services, transport, verdict.client_id, host_port(host, port), Encoding(bool(deflate))
            )
            wire.commands = subprotocol == COMMANDS
            admit(services, wire, verdict, identity)
            wire.begin(answer, verdict.since, early)
        else:
            self._services.refusals.count_drained()
            transport.write(answer)
            self._services.drain_rejector.reject(transport, host)
        return None

    def _handshake(
        self, transport: asyncio.Transport, request: UpgradeRequest, at: ClientPath, client_id: str
    ) -> Handshake:
        host, port = self._proxies.client_address(transport, request.headers)
        return Handshake(
            client_id=client_id,
            headers=Headers(dict(request.headers)),
            query=QueryParams(request.query),
            path_params=at.params,
            subprotocols=offered_subprotocols(request.headers.get("sec-websocket-protocol")),
            address=host_port(host, port),
        )

    def _client_path(self, path: str) -> ClientPath | None:
        """Return what a path names. The root path may be there or stripped by the proxy."""
        return self._find(path.removeprefix(self._root_path) if self._root_path else path)
