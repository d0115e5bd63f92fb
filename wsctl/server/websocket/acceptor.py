"""The acceptor of WebSockets: from a parsed upgrade request to a connection or a refusal."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from wsctl.addresses import host_port
from wsctl.server.credentials.extraction import chosen_subprotocol
from wsctl.server.http.proxy import TrustedProxies
from wsctl.server.http.semantics import HttpRefusal
from wsctl.server.websocket import handshake
from wsctl.server.websocket.admission import NO_SUCH_PATH, Admitted, Handshake
from wsctl.server.websocket.services import AcceptorServices
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


class WebSocketAcceptor:
    """The acceptor of every WebSocket of clients, whichever protocol has parsed its request. With `others`
    requests at other paths than those of clients are another application's."""

    def __init__(
        self, services: AcceptorServices, proxies: TrustedProxies, root_path: str, *, others: bool = False
    ) -> None:
        self._others = others
        self._services = services
        self._proxies = proxies
        self._root_path = root_path
        self.clock = services.connections.clock

    def serves(self, path: str) -> bool:
        """Tell whether a request for a WebSocket at this path is answered here."""
        return not self._others

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
        name = self._raw_client_id(request.path)
        wrong = handshake.find_refusal(request.method, request.http_version, request.headers)
        if wrong:
            return wrong
        if name is None:
            return NO_SUCH_PATH
        headers = request.headers
        protocols = headers.get("sec-websocket-protocol")
        asked = Handshake(
            name,
            request.query,
            headers.get("origin"),
            headers.get("host", ""),
            headers.get("authorization"),
            protocols,
            self.is_foreign(transport, headers),
        )
        verdict = self._services.admission.admit(asked)
        if isinstance(verdict, HttpRefusal):
            self._services.refusals.count(verdict.code)
            return verdict
        host, port = self._proxies.client_address(transport, headers)
        deflate = handshake.agreed_deflate(headers)
        answer = handshake.accept_answer(headers, deflate, chosen_subprotocol(protocols))
        if isinstance(verdict, Admitted):
            services = self._services.connections
            if verdict.in_place:
                services.manager.make_room(verdict.client_id)
            wire = Wire(services, transport, verdict.client_id, host_port(host, port), bool(deflate))
            wire.keepalive = verdict.keepalive
            services.expiry.set(wire, verdict.expires)
            wire.begin(answer, verdict.since, early)
        else:
            self._services.refusals.count_drained()
            transport.write(answer)
            self._services.drain_rejector.reject(transport, host)
        return None

    def _raw_client_id(self, path: str) -> str | None:
        """Return the client id in the path, still percent-encoded; None at other paths. The root path may be
        there or stripped by the proxy."""
        below = path.removeprefix(self._root_path) if self._root_path else path
        name = below[len(_WS_PATH) :]
        return name if below.startswith(_WS_PATH) and "/" not in name else None
