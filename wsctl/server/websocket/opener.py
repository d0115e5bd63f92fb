"""The openers of connections: what differs between the ways in which a client can be connected."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from wsctl.addresses import host_port
from wsctl.frame import Encoding
from wsctl.server.credentials.extraction import COMMANDS, chosen_subprotocol, offered_subprotocols
from wsctl.server.http.semantics import HttpRefusal
from wsctl.server.websocket import handshake
from wsctl.server.websocket.admission import Admitted, HandshakeRequest
from wsctl.server.websocket.services import AcceptorServices, admit
from wsctl.server.websocket.wire import Wire


@dataclass(slots=True)
class ClientRequest:
    """A request that asks for a connection. Header names are lower case, everything is Latin-1 text."""

    method: str
    http_version: str
    path: str
    query: str
    headers: Mapping[str, str]


class IncomingRequest(NamedTuple):
    """A request with the transport that it came over: `early` is what came behind it, `host` and `port` are
    the client's."""

    transport: asyncio.Transport
    request: ClientRequest
    early: bytes
    host: str
    port: int

    @property
    def address(self) -> str:
        """The client's address, as `192.0.2.1:50123`."""
        return host_port(self.host, self.port)


class ConnectionOpener(ABC):
    """The opener of one kind of connection: reads requests, and answers them as is decided elsewhere."""

    def __init__(self, services: AcceptorServices) -> None:
        self._services = services

    @abstractmethod
    def find_refusal(self, request: ClientRequest) -> HttpRefusal | None:
        """Return the refusal of a request that cannot become a connection of this kind, whoever sends it;
        None for all others."""

    @abstractmethod
    def asked(self, name: str, request: ClientRequest, *, foreign_host: bool) -> HandshakeRequest:
        """Return what a request asks for; `name` is the client id as it stands in the path."""

    def subprotocols(self, request: ClientRequest) -> tuple[str, ...]:
        """Return the subprotocols that the client offers."""
        return ()

    @abstractmethod
    def open(self, incoming: IncomingRequest, admitted: Admitted, identity: Any) -> None:
        """Give the transport to a new connection of a client that is let in. `identity` is what the
        application knows of it."""

    @abstractmethod
    def reject(self, incoming: IncomingRequest) -> None:
        """Take the transport over, and ask the client to connect again: the server drains."""

    def refuse(self, incoming: IncomingRequest, refused: HttpRefusal) -> HttpRefusal | None:
        """Return the refusal that the owner of the transport is to answer with; None where the transport was
        taken over, and the client is answered."""
        return refused


class WebSocketOpener(ConnectionOpener):
    """The opener of WebSockets."""

    def find_refusal(self, request: ClientRequest) -> HttpRefusal | None:
        return handshake.find_refusal(request.method, request.http_version, request.headers)

    def asked(self, name: str, request: ClientRequest, *, foreign_host: bool) -> HandshakeRequest:
        headers = request.headers
        return HandshakeRequest(
            name,
            request.query,
            headers.get("origin"),
            headers.get("host", ""),
            headers.get("authorization"),
            headers.get("sec-websocket-protocol"),
            foreign_host,
        )

    def subprotocols(self, request: ClientRequest) -> tuple[str, ...]:
        return offered_subprotocols(request.headers.get("sec-websocket-protocol"))

    def open(self, incoming: IncomingRequest, admitted: Admitted, identity: Any) -> None:
        services = self._services.connections
        answer, deflate, subprotocol = _agreement(incoming.request)
        transport, address = incoming.transport, incoming.address
        encoding = Encoding.DEFLATE if deflate else Encoding.PLAIN
        wire = Wire(services, transport, admitted.client_id, address, encoding)
        wire.commands = subprotocol == COMMANDS
        admit(services, wire, admitted, identity)
        wire.begin(answer, admitted.since, incoming.early)

    def reject(self, incoming: IncomingRequest) -> None:
        incoming.transport.write(_agreement(incoming.request)[0])
        self._services.drain_rejector.reject(incoming.transport, incoming.host)


def _agreement(request: ClientRequest) -> tuple[bytes, bool, str | None]:
    """Return the 101 answer to a request, whether compression is agreed on, and the subprotocol."""
    deflate = handshake.agreed_deflate(request.headers)
    subprotocol = chosen_subprotocol(request.headers.get("sec-websocket-protocol"))
    return handshake.accept_answer(request.headers, deflate, subprotocol), bool(deflate), subprotocol
