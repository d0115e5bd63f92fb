"""The admin address of a server: a listener of its own for the routes of operators and probes."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

import uvicorn
from uvicorn.server import ServerState

from wsctl.server.client_acceptor import ClientAcceptor
from wsctl.server.diagnostics.exposure import exposed
from wsctl.server.http.host_header import AllowedHosts, host_name
from wsctl.server.http.proxy import TrustedProxies
from wsctl.server.http.semantics import HttpRefusal
from wsctl.server.listening.direct_publishing import DirectPublishing
from wsctl.server.listening.http_protocol import HttpProtocol
from wsctl.server.listening.protocol_detection import MakeHttp, http_maker
from wsctl.server.websocket.opener import ClientRequest
from wsctl.server.websocket.services import AcceptorServices
from wsctl.settings import Settings

NO_WEBSOCKETS = HttpRefusal(
    HTTPStatus.NOT_FOUND, "not_found", "the admin address has no WebSockets: connect to the one for clients"
)
"""The answer to a request for a WebSocket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminAddress:
    """The sockets of the admin address, the configuration with which uvicorn's protocol answers there, and
    the one for the routes that wsctl's own application keeps where clients are."""

    sockets: Sequence[socket.socket]
    config: uvicorn.Config
    client_config: uvicorn.Config

    def acceptor(self, services: AcceptorServices, settings: Settings) -> "RefusingAcceptor":
        """Return what answers requests for WebSockets. The rule about a Host is that of its own sockets, and
        no proxy is believed."""
        local = not exposed(self.sockets)
        names = (*settings.allow_host, host_name(settings.admin_host))
        hosts = AllowedHosts(names, on_loopback=lambda: local)
        return RefusingAcceptor(replace(services, hosts=hosts), TrustedProxies(None), "")

    def make_http(
        self, acceptor: ClientAcceptor, state: ServerState, publishing: DirectPublishing
    ) -> MakeHttp:
        """Return what makes the protocol of a connection."""
        return http_maker(
            AdminProtocol,
            acceptor,
            control=False,
            own_routes=True,
            config=self.config,
            server_state=state,
            app_state={},
            publishing=publishing,
        )


class AdminProtocol(HttpProtocol):
    """One HTTP connection at the admin address."""

    admin = True


class RefusingAcceptor(ClientAcceptor):
    """The acceptor of an address without clients."""

    def accept(
        self, transport: asyncio.Transport, request: ClientRequest, early: bytes
    ) -> HttpRefusal | None:
        """Refuse: there is none at any path."""
        self.log_refusal(NO_WEBSOCKETS, transport, request.headers)
        return NO_WEBSOCKETS

    def serves_stream(self, method: str, path: str) -> bool:
        """Return False: there is no event stream at any path."""
        return False
