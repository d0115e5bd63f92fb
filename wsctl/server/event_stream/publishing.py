"""`POST /publish`: what clients of event streams publish, one request a message."""

import asyncio
import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from wsctl.codes import ErrorCode
from wsctl.frame import Batch
from wsctl.hub.connection import Connection, EndReason
from wsctl.server.event_stream import opener
from wsctl.server.http.host_header import is_foreign
from wsctl.server.http.semantics import HttpRefusal, error_body
from wsctl.server.websocket.admission import Admitted, HandshakeRequest
from wsctl.server.websocket.asgi_connection import client_address, client_host, joined
from wsctl.server.websocket.services import AcceptorServices, ConnectionServices

BODY_ALLOWANCE = 64 * 1024
"""Bytes of a body beside the data: its topic, its addressees, and how JSON spells them."""

PREFLIGHT = {
    "access-control-allow-methods": "POST",
    "access-control-allow-headers": "authorization, content-type, traceparent",
    "access-control-max-age": "600",
}
"""What a page of another origin may send (Fetch standard, section 3.2.2)."""

STATUSES = {
    ErrorCode.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.DEGRADED: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.UNCONFIRMED: HTTPStatus.GATEWAY_TIMEOUT,
    ErrorCode.HOOK_FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.BAD_COMMAND: HTTPStatus.BAD_REQUEST,
    ErrorCode.BAD_TOPIC: HTTPStatus.BAD_REQUEST,
}
"""The statuses of errors; all others are 403. As for operators, 503 promises that a message was not
published, 504 promises nothing."""

_REF = 0
_FIELDS_OF_COMMANDS = {"type", "ref"}

CLOSING = HttpRefusal(HTTPStatus.SERVICE_UNAVAILABLE, "closing", "the server is closing its clients")


class _Refused(Exception):
    """The error raised for a request that is answered with a refusal."""

    def __init__(self, refusal: HttpRefusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class ClientPublisher:
    """Publishes what clients send with single requests: as the command `publish` of a WebSocket, within the
    same limits. `is_open` tells whether messages are still taken."""

    def __init__(self, services: AcceptorServices, is_open: Callable[[], bool]) -> None:
        self._services = services
        self._is_open = is_open

    async def answer(self, request: Request) -> Response:
        """Return the answer to a request to publish, when the home of the log has taken the message."""
        asked = _asked(request, self._services)
        across = self._cross_origin(asked)
        try:
            published = await self._publish(request, asked)
        except _Refused as error:
            refused = error.refusal
            self._services.refusals.log(refused.code, client_host(request))
            headers = dict(refused.headers) | across
            return JSONResponse(error_body(refused.code, refused.message), refused.status, headers)
        return JSONResponse(published, headers=across)

    async def options(self, request: Request) -> Response:
        """Answer OPTIONS, with what a browser asks before it lets a page of another origin send more than a
        text."""
        across = self._cross_origin(_asked(request, self._services))
        headers = across | PREFLIGHT if "access-control-allow-origin" in across else across
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"allow": "OPTIONS, POST", **headers})

    async def _publish(self, request: Request, asked: HandshakeRequest) -> dict[str, Any]:
        if not self._is_open():
            raise _Refused(CLOSING)
        admitted = self._services.admission.identify(asked)
        if isinstance(admitted, HttpRefusal):
            raise _Refused(admitted)
        services = self._services.connections
        limit = services.settings.max_message_size
        command = _command(request, await _body(request, limit and limit + BODY_ALLOWANCE))
        publisher = _Publisher(services, client_address(request), admitted)
        frame = await publisher.execute(command)
        if frame["type"] == "error":
            status = STATUSES.get(frame["code"], HTTPStatus.FORBIDDEN)
            raise _Refused(HttpRefusal(status, frame["code"], frame["message"]))
        return {name: frame[name] for name in ("id", "repeated") if name in frame}

    def _cross_origin(self, asked: HandshakeRequest) -> dict[str, str]:
        allowed = self._services.admission.allows_origin(asked)
        return dict(opener.cross_origin(asked, allowed=allowed))


class _Publisher(Connection):
    """A connection for one command, which is never active: it gets the answer, and nothing else."""

    __slots__ = ("_answer", "_services")

    def __init__(self, services: ConnectionServices, address: str, admitted: Admitted) -> None:
        super().__init__(admitted.client_id, address, services.clock())
        self._services = services
        self._answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.commands = True
        services.permissions.set(self, admitted.permissions)

    async def execute(self, command: str) -> dict[str, Any]:
        """Execute a command, and return the frame that answers it."""
        services = self._services
        try:
            services.intake.received_bytes += len(command)
            services.intake.text(self, command)
            services.intake.left(self)  # its rate is the client's, whoever asks meanwhile
            return await self._answer
        finally:
            services.permissions.forget(self)

    @property
    def waiting(self) -> int:
        return 0

    @property
    def undelivered(self) -> int:
        return 0

    def offer(self, batch: Batch, written: int = 0) -> None:
        for frame in map(json.loads, batch.payloads):
            if frame.get("ref") == _REF:
                self._end(frame)

    def replay(self, missed: Sequence[Batch]) -> None:
        return

    def close(self, code: int, reason: str, end_reason: EndReason) -> None:
        self._end({"type": "error", "code": ErrorCode.RATE_LIMITED, "message": reason})

    def abort(self, reason: str, end_reason: EndReason = EndReason.EVICTED) -> None:
        self.close(0, reason, end_reason)

    def check(self, now: float) -> None:
        return

    def _end(self, frame: dict[str, Any]) -> None:
        if not self._answer.done():
            self._answer.set_result(frame)


def _asked(request: Request, services: AcceptorServices) -> HandshakeRequest:
    return HandshakeRequest(
        quote(request.query_params.get("id", ""), safe=""),
        request.scope["query_string"].decode("latin-1"),
        request.headers.get("origin"),
        request.headers.get("host", ""),
        joined(request, "authorization"),
        None,
        is_foreign(request.scope, services.hosts),
    )


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if limit and len(body) > limit:
                raise _Refused(
                    HttpRefusal(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_big", f"a body may have {limit} bytes"
                    )
                )
    except ClientDisconnect:  # nobody will read this
        raise _bad_request("the body is not complete") from None
    return bytes(body)


def _command(request: Request, body: bytes) -> str:
    """Return the command that a body is: of JSON its fields, and a text is the data."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        text = body.decode()
        if kind == "text/plain":
            fields: Any = {"data": text}
        elif kind == "application/json":
            fields = json.loads(text)
        else:
            why = "send application/json, or text/plain, which is the data"
            unsupported = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
            raise _Refused(HttpRefusal(unsupported, "unsupported_media_type", why))
    except (ValueError, RecursionError):
        raise _bad_request("the body is no text in UTF-8, or no JSON") from None
    if not isinstance(fields, dict) or fields.keys() & _FIELDS_OF_COMMANDS:
        raise _bad_request('the body is a JSON object with "data", and topic, to and key where wanted')
    trace = {"traceparent": request.headers.get("traceparent")}
    return json.dumps({"type": "publish", "ref": _REF} | trace | fields)


def _bad_request(text: str) -> _Refused:
    return _Refused(HttpRefusal(HTTPStatus.BAD_REQUEST, "bad_request", text))
