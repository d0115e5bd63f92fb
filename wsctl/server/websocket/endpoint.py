"""`/ws/{client_id}` on another ASGI server: the same rules, with tasks for each connection."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import WebSocket
from fastapi.responses import JSONResponse

from wsctl.addresses import host_port
from wsctl.codes import CloseCode
from wsctl.frame import Batch
from wsctl.hub.connection import STALL_TIMEOUT, Connection, EndReason
from wsctl.hub.outbox import CHUNK, Outbox
from wsctl.log.history import Missed
from wsctl.server.credentials.extraction import COMMANDS, chosen_subprotocol, offered_subprotocols
from wsctl.server.http.host_header import AllowedHosts, is_foreign
from wsctl.server.http.proxy import canonical_ip
from wsctl.server.http.semantics import HttpRefusal, error_body
from wsctl.server.websocket.admission import NO_SUCH_PATH, Admitted, DrainRejected, HandshakeRequest, Verdict
from wsctl.server.websocket.drain_rejection import REASON
from wsctl.server.websocket.hook_calls import Identified, drop_error
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
            verdict, identity = await self._identify(websocket, verdict)
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

    async def _identify(self, websocket: WebSocket, admitted: Admitted) -> tuple[Verdict, Any]:
        """Ask the application about a client; return the verdict then, and what the application knows of
        it."""
        hooks = self._services.connections.hooks
        if hooks is None or not hooks.decides(admitted.topics):
            return admitted, None
        found = hooks.connect(_handshake(websocket, admitted.client_id), admitted.topics)
        if not isinstance(found, Identified | HttpRefusal):
            found = await found
        if isinstance(found, HttpRefusal):
            return found, None
        placed = self._services.admission.place(admitted._replace(client_id=found.client_id))
        return placed, found.identity

    async def _serve(
        self, websocket: WebSocket, admitted: Admitted, identity: Any, *, commands: bool
    ) -> None:
        services = self._services.connections
        if admitted.in_place:
            services.manager.make_room(admitted.client_id)
        connection = AsgiConnection(services, websocket, admitted.client_id)
        connection.commands = commands
        admit(services, connection, admitted, identity)
        await connection.run(admitted.since)

    async def _reject(self, websocket: WebSocket) -> None:
        """Close a connection that was accepted while the server drains."""
        await asyncio.sleep(self._services.drain_rejector.delay(_host(websocket)))
        await websocket.close(CloseCode.GOING_AWAY, REASON)

    async def _refuse(self, websocket: WebSocket, refused: HttpRefusal) -> None:
        self._services.refusals.log(refused.code, _host(websocket))
        body = error_body(refused.code, refused.message)
        await websocket.send_denial_response(JSONResponse(body, refused.status, dict(refused.headers)))


def _handshake(websocket: WebSocket, client_id: str) -> Handshake:
    port = websocket.client.port if websocket.client else 0
    return Handshake(
        client_id=client_id,
        headers=websocket.headers,
        query=websocket.query_params,
        path_params={key: value for key, value in websocket.path_params.items() if key != "client_id"},
        subprotocols=offered_subprotocols(_joined(websocket, "sec-websocket-protocol")),
        address=host_port(_host(websocket), port),
    )


def _request(websocket: WebSocket, hosts: AllowedHosts) -> HandshakeRequest:
    raw: bytes = websocket.scope.get("raw_path") or websocket.scope["path"].encode()
    return HandshakeRequest(
        name=raw.decode("latin-1").rpartition("/")[2],
        query=websocket.scope["query_string"].decode("latin-1"),
        origin=websocket.headers.get("origin"),
        host=websocket.headers.get("host", ""),
        authorization=_joined(websocket, "authorization"),
        protocols=_joined(websocket, "sec-websocket-protocol"),
        foreign_host=is_foreign(websocket.scope, hosts),
    )


def _joined(websocket: WebSocket, name: str) -> str | None:
    """Return a header, or several of a name as one list (RFC 9110 section 5.2); None if it is not there, or
    empty."""
    return ", ".join(websocket.headers.getlist(name)) or None


def _host(websocket: WebSocket) -> str:
    """Return the client's IP address; empty where it is not known, or is a text that is no address."""
    return (canonical_ip(websocket.client.host) or "") if websocket.client else ""


class AsgiConnection(Connection):
    """A connection whose socket belongs to another ASGI server. Keepalive is that server's matter."""

    __slots__ = (
        "_closed",
        "_further",
        "_granted",
        "_missed",
        "_outbox",
        "_progress",
        "_sender",
        "_services",
        "_wake",
        "_websocket",
    )

    def __init__(self, services: ConnectionServices, websocket: WebSocket, client_id: str) -> None:
        host, port = _host(websocket), websocket.client.port if websocket.client else 0
        super().__init__(client_id, host_port(host, port), services.clock())
        self._services = services
        self._websocket = websocket
        self._outbox = Outbox()
        self._granted = 0
        self._missed: Missed | None = None
        self._further: deque[tuple[Missed, Outbox]] = deque()
        self._wake = asyncio.Event()
        self._progress = services.clock()
        self._sender: asyncio.Task[None] | None = None

    async def run(self, since: str | None) -> None:
        """Serve the client until it leaves or is closed."""
        self._sender = asyncio.create_task(self._send_all())
        welcome, missed = self._services.welcome.greet(self, since)
        self._services.manager.connect(self, Batch((welcome,)), missed)
        receiver = asyncio.create_task(self._receive_all())
        tasks = {self._sender, receiver}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.add_done_callback(drop_error)
                task.cancel()
            try:
                # Not `gather`: whoever cancels this task must know its own CancelledError again.
                await asyncio.wait(tasks)
            finally:
                self._services.manager.forget(self)

    @property
    def waiting(self) -> int:
        missed = (self._missed.bytes if self._missed else 0) + sum(each.bytes for each, _ in self._further)
        return self._live + missed

    @property
    def undelivered(self) -> int:
        return self._outbox.messages + sum(outbox.messages for _, outbox in self._further)

    @property
    def replays(self) -> int:
        return bool(self._missed) + len(self._further)

    @property
    def _live(self) -> int:
        """Bytes in the queue, without messages that were missed."""
        return self._outbox.size + sum(outbox.size for _, outbox in self._further)

    def offer(self, batch: Batch, written: int = 0) -> None:
        if self.end_reason is not None:
            return
        limit = self._services.settings.max_queue
        if limit and self._live + len(batch.wire) > limit + self._granted:
            self._cut(f"more than {limit} bytes waited for this client")
            return
        self._put(batch)

    def replay(self, missed: Sequence[Batch]) -> None:
        if self.end_reason is not None:
            return
        for batch in missed:
            self._granted += len(batch.wire)
            self._put(batch)

    def catch_up(self, missed: Missed) -> None:
        """Send what was missed behind what waits: it stands in front of an outbox for what comes behind it,
        and that takes the place of the one before it when everything in there is sent."""
        if self.end_reason is not None:
            return
        if not self.waiting:
            self._progress = self._services.clock()
        self._further.append((missed, Outbox()))
        self._wake.set()

    def close(self, code: int, reason: str, end_reason: EndReason) -> None:
        self._services.manager.retire(self, code, reason, end_reason)
        self._wake.set()

    def abort(self, reason: str, end_reason: EndReason = EndReason.EVICTED) -> None:
        self._services.manager.retire(self, CloseCode.ABNORMAL, reason, end_reason)
        if self._sender:
            self._sender.cancel()

    def check(self, now: float) -> None:
        if (self._outbox.size or self._missed or self._further) and now - self._progress >= STALL_TIMEOUT:
            if self.end_reason is None:
                self._cut(f"nothing was read for {STALL_TIMEOUT:g} seconds")
            else:
                self._services.manager.give_up(self)

    def _put(self, batch: Batch) -> None:
        if not self._outbox.size and not self._further:
            self._progress = self._services.clock()
        (self._further[-1][1] if self._further else self._outbox).put(batch)
        self._wake.set()

    def _cut(self, reason: str) -> None:
        self._outbox.clear()
        self._missed = None
        self._further.clear()
        self.close(CloseCode.TRY_AGAIN_LATER, f"too slow: {reason}", EndReason.EVICTED)

    async def _send_all(self) -> None:
        while True:
            await self._send_missed()
            while batches := self._outbox.take():
                await self._send(batches)
                self._granted = max(0, self._granted - sum(len(batch.wire) for batch in batches))
            if self._further:
                self._missed, self._outbox = self._further.popleft()
                continue
            if self.end_reason not in (None, EndReason.LEFT):
                await self._websocket.close(self.code, self.reason)
                return
            self._wake.clear()
            await self._wake.wait()

    async def _send_missed(self) -> None:
        """Send the missed messages in slices, between which others have their turn."""
        while self._missed:
            await asyncio.sleep(self._services.replays.wait(self.client_id))
            self._progress = self._services.clock()
            batches = self._missed.take(CHUNK) if self._missed else []
            size = sum(len(batch.wire) for batch in batches)
            self._services.replays.spend(self.client_id, size)
            self._services.manager.caught_up(sum(batch.messages for batch in batches), size)
            await self._send(batches)

    async def _send(self, batches: Sequence[Batch]) -> None:
        for payload in [payload for batch in batches for payload in batch.payloads]:
            await self._websocket.send_text(payload.decode())
        self._progress = self._services.clock()

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
