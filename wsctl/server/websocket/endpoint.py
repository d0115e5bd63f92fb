"""`/ws/{client_id}` on another ASGI server: the same rules, with tasks for each connection."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import WebSocket
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection
from starlette.types import Scope

from wsctl.codes import CloseCode
from wsctl.frame import Batch
from wsctl.hub.connection import EndReason
from wsctl.server.credentials.extraction import COMMANDS, chosen_subprotocol, offered_subprotocols
from wsctl.server.http.host_header import AllowedHosts, is_foreign
from wsctl.server.http.semantics import HttpRefusal, error_body
from wsctl.server.websocket.admission import NO_SUCH_PATH, Admitted, DrainRejected, HandshakeRequest, Verdict
from wsctl.server.websocket.asgi_connection import AsgiConnection, client_address, client_host, joined
from wsctl.server.websocket.drain_rejection import REASON
from wsctl.server.websocket.hook_calls import Identified
from wsctl.server.websocket.hooks import Handshake
from wsctl.server.websocket.services import AcceptorServices, ConnectionServices, admit


class AsgiAcceptor:
    """The acceptor of the WebSockets whose sockets belong to another ASGI server: one method a route."""

    def __init__(self, services: AcceptorServices) -> None:
        self._services = services

    async def accept(self, websocket: WebSocket) -> None:
        """Serve one client's connection, from the handshake to its end."""
        asked = _request(websocket, self._services.hosts)
        verdict = self._services.admission.admit(asked)
        identity = None
        if isinstance(verdict, Admitted):
            offered = offered_subprotocols(asked.protocols)
            verdict, identity = await identify(self._services, websocket, verdict, offered)
        if isinstance(verdict, HttpRefusal):
            self._services.refusals.count(verdict.code)
            await self._refuse(websocket, verdict)
            return
        if isinstance(verdict, DrainRejected):
            self._services.refusals.count_drained()
        subprotocol = chosen_subprotocol(asked.protocols)
        await websocket.accept(subprotocol)
        if isinstance(verdict, Admitted):
            await self._serve(websocket, verdict, identity, commands=subprotocol == COMMANDS)
        else:
            await self._reject(websocket)

    async def refuse_path(self, websocket: WebSocket) -> None:
        """Refuse a WebSocket at any other path with the answer that `wsctl serve` gives."""
        await self._refuse(websocket, NO_SUCH_PATH)

    async def _serve(
        self, websocket: WebSocket, admitted: Admitted, identity: Any, *, commands: bool
    ) -> None:
        services = self._services.connections
        if admitted.in_place:
            services.manager.make_room(admitted.client_id)
        connection = AsgiWebSocket(services, websocket, admitted.client_id)
        connection.commands = commands
        admit(services, connection, admitted, identity)
        await connection.run(admitted.since)

    async def _reject(self, websocket: WebSocket) -> None:
        """Close a connection that was accepted while the server drains."""
        await asyncio.sleep(self._services.drain_rejector.delay(client_host(websocket)))
        await websocket.close(CloseCode.GOING_AWAY, REASON)

    async def _refuse(self, websocket: WebSocket, refused: HttpRefusal) -> None:
        self._services.refusals.log(refused.code, client_host(websocket))
        body = error_body(refused.code, refused.message)
        await websocket.send_denial_response(JSONResponse(body, refused.status, dict(refused.headers)))


async def identify(
    services: AcceptorServices,
    connection: HTTPConnection,
    admitted: Admitted,
    subprotocols: tuple[str, ...] = (),
) -> tuple[Verdict, Any]:
    """Ask the application about a client; return the verdict then, and what the application knows of it."""
    hooks = services.connections.hooks
    if hooks is None or not hooks.decides(admitted.topics):
        return admitted, None
    handshake = Handshake(
        client_id=admitted.client_id,
        headers=connection.headers,
        query=connection.query_params,
        path_params={key: value for key, value in connection.path_params.items() if key != "client_id"},
        subprotocols=subprotocols,
        address=client_address(connection),
    )
    found = hooks.connect(handshake, admitted.topics)
    if not isinstance(found, Identified | HttpRefusal):
        found = await found
    if isinstance(found, HttpRefusal):
        return found, None
    placed = services.admission.place(admitted._replace(client_id=found.client_id))
    return placed, found.identity


def raw_client_id(scope: Scope) -> str:
    """Return the last part of the path of a request, still percent-encoded."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("latin-1").rpartition("/")[2]


def _request(websocket: WebSocket, hosts: AllowedHosts) -> HandshakeRequest:
    return HandshakeRequest(
        name=raw_client_id(websocket.scope),
        query=websocket.scope["query_string"].decode("latin-1"),
        origin=websocket.headers.get("origin"),
        host=websocket.headers.get("host", ""),
        authorization=joined(websocket, "authorization"),
        protocols=joined(websocket, "sec-websocket-protocol"),
        foreign_host=is_foreign(websocket.scope, hosts),
    )


class AsgiWebSocket(AsgiConnection):
    """A WebSocket whose socket belongs to another ASGI server. Keepalive is that server's matter."""

    __slots__ = ("_websocket",)

    def __init__(self, services: ConnectionServices, websocket: WebSocket, client_id: str) -> None:
        super().__init__(services, websocket, client_id)
        self._websocket = websocket

    async def _write(self, batches: Sequence[Batch]) -> None:
        for payload in [payload for batch in batches for payload in batch.payloads]:
            await self._websocket.send_text(payload.decode())

    async def _end(self) -> None:
        await self._websocket.close(self.code, self.reason)

    async def _receive_all(self) -> None:
        while True:
            received = await self._websocket.receive()
            if received["type"] == "websocket.disconnect":
                code, reason = received.get("code", CloseCode.NO_STATUS), received.get("reason") or ""
                self._services.manager.retire(self, code, reason, EndReason.LEFT)
                return
            self._take(received)

    def _take(self, received: Mapping[str, object]) -> None:
        text, limit = received.get("text"), self._services.settings.max_message_size
        if self.end_reason is not None:
            return
        if not isinstance(text, str):
            self._services.intake.binary(self)
            return
        size = len(text.encode())
        self._services.intake.received_bytes += size
        if limit and size > limit:
            reason = f"a message may have {limit} bytes"
            self.close(CloseCode.MESSAGE_TOO_BIG, reason, EndReason.EVICTED)
        else:
            self._services.intake.text(self, text)
