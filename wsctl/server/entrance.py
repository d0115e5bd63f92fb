"""The way from a WebSocket handshake to a connection or a refusal."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from wsctl.addresses import host_port
from wsctl.server import upgrade
from wsctl.server.admission import NOWHERE, Admitted, Handshake
from wsctl.server.credentials.extraction import chosen_subprotocol
from wsctl.server.http_semantics import HttpRefusal
from wsctl.server.node import Node
from wsctl.server.proxy import Forwarded
from wsctl.server.wire import Wire

_WS_PATH = "/ws/"


@dataclass(slots=True)
class Opening:
    """A request that asks for a WebSocket. Header names are lower case, everything is Latin-1 text."""

    method: str
    http_version: str
    path: str
    query: str
    headers: Mapping[str, str]


class Entrance:
    """The acceptor of every WebSocket of this process, whichever protocol has parsed its request."""

    def __init__(self, node: Node, forwarded: Forwarded, root_path: str) -> None:
        self._node = node
        self._forwarded = forwarded
        self._root_path = root_path
        self.clock = node.clock

    def enter(self, transport: asyncio.Transport, asked: Opening, early: bytes) -> HttpRefusal | None:
        """Give the transport to a new connection; `early` is what came behind the request.

        Returns the refusal if there is one: then the transport stays with the caller, who must answer.
        """
        refused = self._enter(transport, asked, early)
        if refused:
            self.note(refused, transport, asked.headers)
        return refused

    def note(
        self,
        refused: HttpRefusal,
        transport: asyncio.Transport,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Log a refusal."""
        self._node.note_refused(refused.code, self._forwarded.client(transport, headers)[0])

    def is_foreign(self, transport: asyncio.BaseTransport, headers: Mapping[str, str]) -> bool:
        """Tell whether a request that no proxy forwards names a host that this server does not take."""
        taken = self._node.hosts.allows(headers.get("host", ""))
        return not taken and self._forwarded.is_direct(transport, headers)

    def _enter(self, transport: asyncio.Transport, asked: Opening, early: bytes) -> HttpRefusal | None:
        name = self._name(asked.path)
        wrong = upgrade.check(asked.method, asked.http_version, asked.headers)
        if wrong:
            return wrong
        if name is None:
            return NOWHERE
        headers = asked.headers
        protocols = headers.get("sec-websocket-protocol")
        handshake = Handshake(
            name,
            asked.query,
            headers.get("origin"),
            headers.get("host", ""),
            headers.get("authorization"),
            protocols,
            self.is_foreign(transport, headers),
        )
        verdict = self._node.admit(handshake)
        if isinstance(verdict, HttpRefusal):
            return verdict
        host, port = self._forwarded.client(transport, headers)
        deflate = upgrade.agreed_deflate(headers)
        answer = upgrade.accept(headers, deflate, chosen_subprotocol(protocols))
        if isinstance(verdict, Admitted):
            if verdict.in_place:
                self._node.manager.make_room(verdict.client_id)
            address = host_port(host, port)
            wire = Wire(self._node, transport, verdict.client_id, address, bool(deflate))
            wire.keepalive = verdict.keepalive
            self._node.expiry.set(wire, verdict.expires)
            wire.begin(answer, verdict.since, early)
        else:
            transport.write(answer)
            self._node.drain_rejector.reject(transport, host)
        return None

    def _name(self, path: str) -> str | None:
        """Return the client id in the path, still percent-encoded; None at other paths. The root path may be
        there or stripped by the proxy."""
        below = path.removeprefix(self._root_path) if self._root_path else path
        name = below[len(_WS_PATH) :]
        return name if below.startswith(_WS_PATH) and "/" not in name else None
