"""Accepted connections, and the detection of the protocol that each of them speaks.

Clients come back all at once after a deploy, so a plain WebSocket handshake or request for an event stream
that arrives in one piece, which is how they all come, is read by one regular expression and never meets an
HTTP parser. Anything else, and a request with anything unusual about it, goes to h11 as it came.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from wsctl.server.client_acceptor import ClientAcceptor
from wsctl.server.http.deadlines import HEAD_TIMEOUT
from wsctl.server.http.plain_head import FIELDS, read_fields
from wsctl.server.http.proxy import peer_address
from wsctl.server.http.refusals import Refusals
from wsctl.server.http.semantics import HttpRefusal
from wsctl.server.listening.http_protocol import MAX_HEAD, BoundedHttp, detach_descriptor
from wsctl.server.listening.pending_connections import PendingConnection, PendingConnections
from wsctl.server.websocket.admission import server_full
from wsctl.server.websocket.opener import ClientRequest

_PLAIN = re.compile(rb"GET (/[!-~]*+) HTTP/1\.1\r\n" + FIELDS)


def plain_request(data: bytes) -> ClientRequest | None:
    """Return the request in `data` if that is exactly one whole GET with nothing unusual about it, else
    None."""
    found = _PLAIN.fullmatch(data) if len(data) <= MAX_HEAD else None
    if not found:
        return None
    headers = read_fields(found[2])
    if headers is None:
        return None
    path, _, query = found[1].decode("ascii").partition("?")
    return ClientRequest("GET", "1.1", path, query, headers)


def asks_for_websocket(request: ClientRequest) -> bool:
    """Tell whether a request is a WebSocket handshake."""
    headers = request.headers
    is_upgrade = headers.get("upgrade", "").lower() == "websocket"
    return is_upgrade and "upgrade" in headers.get("connection", "").lower()


Accept = Callable[[asyncio.Transport, ClientRequest, bytes], HttpRefusal | None]
"""Gives the transport to a new connection, or returns the refusal; the bytes are what came behind the
request."""

MakeHttp = Callable[[float, PendingConnections, Callable[[], None]], BoundedHttp]
"""Makes the protocol for an HTTP connection, which is there since a moment, is counted somewhere, and calls a
function when it may have changed."""


def http_maker(kind: Callable[..., BoundedHttp], acceptor: ClientAcceptor, **fixed: Any) -> MakeHttp:
    """Return what makes connections of one kind, all of them with the same acceptor and these arguments."""

    def make(since: float, pending: PendingConnections, changed: Callable[[], None]) -> BoundedHttp:
        return kind(acceptor, pending, since=since, changed=changed, **fixed)

    return make


class AcceptedConnections:
    """The connections of one kind of listener that are no clients, or not yet.

    `has_room` tells whether there may be so many.

    Attributes:
        pending: all connections that are no clients.
    """

    def __init__(
        self,
        acceptor: ClientAcceptor,
        make_http: Callable[[float, PendingConnections], BoundedHttp],
        refusals: Refusals,
        has_room: Callable[[int], bool],
    ) -> None:
        self.acceptor = acceptor
        self.make_http = make_http
        self.pending = PendingConnections(has_room)
        self._refusals = refusals

    @property
    def silent(self) -> "list[ProtocolDetector]":
        """The connections that have sent nothing yet."""
        return [holder for holder in self.pending.holders if isinstance(holder, ProtocolDetector)]

    def detector(self) -> "ProtocolDetector":
        """Return the protocol for a new connection."""
        return ProtocolDetector(self)

    def add(self, connection: object, holder: PendingConnection) -> None:
        """Count a connection in. When there is no room, end the one that has been pending for longest, so
        that a peer with many connections shuts out nobody; this one, when all others are handling
        requests."""
        self.pending.hold(connection, holder)
        if ended := self.pending.make_room():
            self._refusals.count_evicted(ended.peer)

    def check(self, now: float) -> None:
        """End the connections that have sent nothing for `HEAD_TIMEOUT` seconds; called once a second."""
        for detector in self.silent:
            if now - detector.since >= HEAD_TIMEOUT:
                detector.expire(now)


class ProtocolDetector(asyncio.Protocol):
    """The protocol that looks at a connection's first bytes and hands it to the one for WebSockets or HTTP.
    `reused` marks a connection that had answers from a predecessor."""

    __slots__ = ("_connections", "_transport", "reused", "since")

    def __init__(self, connections: AcceptedConnections) -> None:
        self._connections = connections
        self._transport: asyncio.Transport
        self.since = connections.acceptor.clock()
        self.reused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._connections.add(transport, self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._release()

    def data_received(self, data: bytes) -> None:
        request = plain_request(data)
        accept = self._acceptance(request) if request else None
        if request is None or accept is None:
            self.switch_to_http().data_received(data)
        elif refused := accept(self._transport, request, b""):
            self.switch_to_http().refuse(refused)
        else:
            self._release()

    def _acceptance(self, request: ClientRequest) -> Accept | None:
        """Return what accepts the connection that a request asks for; None if it asks for none of ours."""
        acceptor = self._connections.acceptor
        if asks_for_websocket(request):
            return acceptor.accept if acceptor.serves(request.path) else None
        if "upgrade" in request.headers or not acceptor.serves_stream("GET", request.path):
            return None
        return acceptor.accept_stream

    def detach(self) -> int | None:
        """Give the connection away to another process that reads it, and return its descriptor; None if it
        stays, because it has TLS or has ended, or no descriptor is left."""
        fd = detach_descriptor(self._transport)
        if fd is not None:
            self._release()
        return fd

    def expire(self, now: float) -> None:
        """End a connection that has sent nothing for too long: with an answer, unless it is `reused`."""
        if self.reused:
            self._transport.close()
        else:
            self.switch_to_http().check(now)

    def switch_to_http(self) -> BoundedHttp:
        """Give the connection to the HTTP protocol, and return that."""
        http = self._connections.make_http(self.since, self._connections.pending)
        self._connections.pending.hold(self._transport, http)
        self._transport.set_protocol(http)
        http.connection_made(self._transport)
        return http

    @property
    def peer(self) -> str:
        return peer_address(self._transport)[0]

    def evict(self) -> bool:
        self.switch_to_http().refuse(server_full(), linger=False)
        return True

    def _release(self) -> None:
        self._connections.pending.release(self._transport)
