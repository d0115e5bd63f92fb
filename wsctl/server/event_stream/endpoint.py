"""`/events/{client_id}` on another ASGI server: the same rules, with tasks for each connection."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from wsctl.codes import RESTART, CloseCode
from wsctl.event_stream import FINAL, closing, seen_up_to
from wsctl.frame import Batch, Encoding
from wsctl.hub.connection import EndReason
from wsctl.server.event_stream import opener
from wsctl.server.event_stream.stream import LAST_RETRY, some_milliseconds
from wsctl.server.http.host_header import is_foreign
from wsctl.server.http.semantics import HttpRefusal, error_body
from wsctl.server.websocket.admission import Admitted, HandshakeRequest
from wsctl.server.websocket.asgi_connection import AsgiConnection, client_host, joined
from wsctl.server.websocket.endpoint import identify, raw_client_id
from wsctl.server.websocket.services import AcceptorServices, ConnectionServices, admit

PREFLIGHT = {
    "access-control-allow-methods": "GET",
    "access-control-allow-headers": "authorization, last-event-id, cache-control",
    "access-control-max-age": "600",
}
"""What a browser may send from a page of another origin (Fetch standard, section 3.2.2); EventSource itself
asks for none of it."""


class AsgiStreamAcceptor:
    """The acceptor of the event streams whose sockets belong to another ASGI server."""

    def __init__(self, services: AcceptorServices) -> None:
        self._services = services

    async def accept(self, request: Request) -> Response:
        """Return the answer to a request for a stream: that, or a refusal."""
        asked = self._asked(request)
        across = self._cross_origin(asked)
        if asked.last_event_id == FINAL:
            return self._refuse(request, opener.STAY_AWAY, across)
        verdict = self._services.admission.admit(asked)
        identity = None
        if isinstance(verdict, Admitted):
            verdict, identity = await identify(self._services, request, verdict)
        if isinstance(verdict, HttpRefusal):
            self._services.refusals.count(verdict.code)
            if verdict.code == "full" and opener.is_browser(request.headers):
                self._services.refusals.log(verdict.code, client_host(request))
                return _ended(opener.full(verdict), across)
            return self._refuse(request, verdict, across)
        if isinstance(verdict, Admitted):
            return _StreamResponse(self._services.connections, verdict, identity, across)
        self._services.refusals.count_drained()
        await asyncio.sleep(self._services.drain_rejector.delay(client_host(request)))
        return _ended(opener.draining(), across)

    async def describe(self, request: Request) -> Response:
        """Answer HEAD, which connects nobody, and OPTIONS, with what a browser asks before it lets a page of
        another origin send headers."""
        asked = self._asked(request)
        across = self._cross_origin(asked)
        if request.method == "HEAD":
            verdict = self._services.admission.admit(asked)
            if isinstance(verdict, HttpRefusal):
                return self._refuse(request, verdict, across)
            return _ended(b"", across)
        headers = across | PREFLIGHT if "access-control-allow-origin" in across else across
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"allow": "GET, HEAD, OPTIONS", **headers})

    def _refuse(self, request: Request, refused: HttpRefusal, across: dict[str, str]) -> Response:
        self._services.refusals.log(refused.code, client_host(request))
        headers = dict(refused.headers) | across
        if refused.status is HTTPStatus.NO_CONTENT:
            return Response(status_code=refused.status, headers=headers)
        return JSONResponse(error_body(refused.code, refused.message), refused.status, headers)

    def _asked(self, request: Request) -> HandshakeRequest:
        headers = dict(request.headers) | {"authorization": joined(request, "authorization")}
        given = {name: value for name, value in headers.items() if value is not None}
        query = request.scope["query_string"].decode("latin-1")
        foreign = is_foreign(request.scope, self._services.hosts)
        return opener.stream_request(raw_client_id(request.scope), query, given, foreign_host=foreign)

    def _cross_origin(self, asked: HandshakeRequest) -> dict[str, str]:
        allowed = self._services.admission.allows_origin(asked)
        return dict(opener.cross_origin(asked, allowed=allowed))


def _headers(across: dict[str, str]) -> dict[str, str]:
    return {"content-type": opener.MEDIA_TYPE, **dict(opener.HEADERS), **across}


def _ended(events: bytes, across: dict[str, str]) -> Response:
    """Return a stream of these events that ends behind them."""
    return Response(events, headers=_headers(across))


class _StreamResponse(Response):
    """The answer that is a stream; its connection becomes active when the answer begins."""

    def __init__(
        self, services: ConnectionServices, admitted: Admitted, identity: Any, across: dict[str, str]
    ) -> None:
        super().__init__(headers=_headers(across))
        del self.headers["content-length"]
        self._services = services
        self._admitted = opener.with_keepalive(admitted)
        self._identity = identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services, admitted = self._services, self._admitted
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": opener.first_field(), "more_body": True})
        if admitted.in_place:
            services.manager.make_room(admitted.client_id)
        connection = AsgiEventStream(services, Request(scope, receive, send), admitted.client_id)
        admit(services, connection, admitted, self._identity)
        await connection.serve(receive, send, admitted.since)


class AsgiEventStream(AsgiConnection):
    """An event stream whose socket belongs to another ASGI server."""

    __slots__ = ("_leaves_at", "_receive", "_send_message")

    def __init__(self, services: ConnectionServices, request: Request, client_id: str) -> None:
        super().__init__(services, request, client_id)
        self.encoding = Encoding.EVENTS_WITHOUT_CHUNKS
        self._leaves_at: float | None = None
        self._receive: Receive
        self._send_message: Send

    async def serve(self, receive: Receive, send: Send, since: str | None) -> None:
        """Serve the client behind the head of the answer, until it leaves or is closed."""
        self._receive, self._send_message = receive, send
        await self.run(since)

    def _caught_up(self) -> bytes:
        return seen_up_to(self._services.log.newest)

    def asked_to_leave(self, seconds: float | None) -> None:
        self._leaves_at = None if seconds is None else self._services.clock() + seconds

    def check(self, now: float) -> None:
        super().check(now)
        if self._leaves_at is not None and now >= self._leaves_at and self.end_reason is None:
            self.close(CloseCode.SERVICE_RESTART, RESTART, EndReason.LEFT)

    async def _write(self, batches: Sequence[Batch]) -> None:
        await self._send_body(b"".join([batch.encoded(self.encoding) for batch in batches]))

    async def _end(self) -> None:
        event = closing(self.code, self.reason, some_milliseconds(LAST_RETRY))
        await self._send_body(event, more=False)

    async def _send_body(self, data: bytes, *, more: bool = True) -> None:
        await self._send_message({"type": "http.response.body", "body": data, "more_body": more})

    async def _receive_all(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._services.manager.retire(
            self, CloseCode.ABNORMAL, "the client has ended the connection", EndReason.LEFT
        )
