"""The HTTP routes."""

import asyncio
import hmac
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request, Response, Security
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from starlette.requests import ClientDisconnect

from wsctl import client_ids, messages
from wsctl.codes import ErrorCode
from wsctl.control.encoding import encode
from wsctl.control.status import ServerStatus
from wsctl.drain.graceful import NotDraining
from wsctl.drain.phases import Phase
from wsctl.log.home import Refusal
from wsctl.server.asyncapi.frames import CLIENT_ID
from wsctl.server.node import Node
from wsctl.server.openapi import CONTROL, Alive, Drained, Ended, Health, Status, Upgraded, refused, told
from wsctl.server.page import MODULE_HEADERS
from wsctl.server.page import headers as page_headers
from wsctl.settings import LONGEST

BODY_ALLOWANCE = 64 * 1024
"""Bytes that a request body may have beyond its message, for the addressees."""

_PUBLISHING = frozenset({Phase.STARTING, Phase.SERVING, Phase.LAMEDUCK, Phase.HANDOVER, Phase.DRAINING})
"""The phases in which messages flow."""

_UNPUBLISHED = {
    ErrorCode.DEGRADED: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.UNCONFIRMED: HTTPStatus.GATEWAY_TIMEOUT,
}
"""The status of an answer that a message was refused: 503 promises that it was not published, 504 promises
nothing."""

router = APIRouter()


M = TypeVar("M", bound=BaseModel)


class Failure(HTTPException):
    """An error answer with a code for programs."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        headers = {"www-authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else None
        super().__init__(status, message, headers)
        self.code = code


# Dependencies of requests are async: FastAPI would run each other one in a thread.


async def node_of(request: Request) -> Node:
    """Return the server that the application belongs to."""
    node: Node = request.app.state.node
    return node


HasNode = Annotated[Node, Depends(node_of)]


_BEARER = HTTPBearer(auto_error=False, description="The server's token (WSCTL_TOKEN_FILE or WSCTL_TOKEN).")

Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


async def control(request: Request, node: HasNode, bearer: Bearer) -> None:
    """Let operators pass: through the control socket, or with the token.

    Raises:
        Failure: the request is not an operator's; that is logged.
    """
    if request.scope.get("state", {}).get("control"):
        return
    if failure := _not_an_operator(node.settings.token, bearer):
        node.refusals.log(failure.code, request.client.host if request.client else "")
        raise failure


def _not_an_operator(token: str | None, bearer: HTTPAuthorizationCredentials | None) -> Failure | None:
    if token is None:
        text = "only through the control socket: this server has no token (WSCTL_TOKEN_FILE)"
        return Failure(HTTPStatus.FORBIDDEN, "control_only", text)
    given = bearer.credentials.strip() if bearer else ""
    if hmac.compare_digest(given.encode(), token.encode()):
        return None
    return Failure(
        HTTPStatus.UNAUTHORIZED, "bad_token", "send the server's token: Authorization: Bearer TOKEN"
    )


OPERATORS = [Depends(control)]

CONTROL_SOCKET = "control socket"
"""The way in which operators on this machine ask."""


async def asked_by(request: Request) -> str:
    """Return the way in which an operator asks, for the log."""
    if request.scope.get("state", {}).get("control"):
        return CONTROL_SOCKET
    return f"token, from {request.client.host}" if request.client else "token"


AskedBy = Annotated[str, Depends(asked_by)]


ClientId = Annotated[str, WithJsonSchema(CLIENT_ID)]
"""A client id, checked by `client_ids.client_id`, which knows more than a schema can say."""


class Broadcast(BaseModel):
    """A message to publish."""

    model_config = ConfigDict(extra="forbid")

    data: Any = Field(description="Any JSON value.")
    to: list[ClientId] | None = Field(None, description="Everyone when it is not given.")
    show_to: bool = Field(
        False, description="Whether each addressee sees all of them; else each sees itself alone."
    )


class Published(BaseModel):
    """The receipt of a message."""

    id: str = Field(description="The id the message got.")
    recipients: int = Field(description="Clients it was sent to.")


class Drain(BaseModel):
    """The time that clients get to leave."""

    model_config = ConfigDict(extra="forbid")

    timeout: float | None = Field(
        None,
        ge=0,
        le=LONGEST,
        description="Seconds from now, or from the end of --drain-delay; --shutdown-timeout if not given.",
    )


def _takes(model: type[BaseModel], *, required: bool = False) -> dict[str, Any]:
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"content": content, "required": required}}


async def body_of(request: Request, limit: int) -> bytes:
    """Read the body of a request.

    Raises:
        Failure: it has more than `limit` bytes (0 for no limit), or is not complete.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if limit and len(body) > limit:
                text = f"a body may have {limit} bytes"
                raise Failure(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_big", text)
    except ClientDisconnect:  # nobody will read this, and it is no news for the log
        raise Failure(HTTPStatus.BAD_REQUEST, "bad_request", "the body is not complete") from None
    return bytes(body)


def _parse(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        text = f"{where}: {first['msg']}" if where else first["msg"]
        raise Failure(HTTPStatus.BAD_REQUEST, "bad_request", text) from None


@router.get("/", response_class=HTMLResponse, summary="The browser client")
async def page() -> Response:
    name = Path(__file__).parent / "page" / "index.html"
    html = name.read_text(encoding="utf-8")
    return HTMLResponse(html, headers=page_headers(html))


@router.get(
    "/wsctl.js",
    response_class=Response,
    summary="The client for programs in JavaScript",
    responses={200: {"content": {"text/javascript": {}}}},
)
async def module() -> Response:
    name = Path(__file__).parent / "page" / "wsctl.js"
    return Response(name.read_bytes(), media_type="text/javascript", headers=MODULE_HEADERS)


@router.get(
    "/health", summary="Phase, connections, uptime, version", response_model=None, responses=told(Health)
)
async def health(node: HasNode) -> Any:
    return encode(node.reporter.health())


@router.get("/health/live", summary="200 while the process works", response_model=None, responses=told(Alive))
async def live(node: HasNode) -> dict[str, Any]:
    return {"status": node.life.phase}


@router.get(
    "/health/ready",
    summary="200 only while new clients are welcome",
    responses=told(Alive) | told(Alive, HTTPStatus.SERVICE_UNAVAILABLE),
)
async def ready(node: HasNode) -> JSONResponse:
    is_ready = node.life.phase in (Phase.SERVING, Phase.HANDOVER)
    status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"status": node.life.phase}, status)


@router.get(
    "/api/status",
    dependencies=OPERATORS,
    summary="Everything `wsctl status` shows",
    response_model=None,
    responses={**told(Status), **CONTROL, **refused(400)},
)
async def status(node: HasNode, clients: bool = False) -> dict[str, Any]:
    return (await status_of(node, clients)).to_json()


async def status_of(node: Node, clients: bool) -> ServerStatus:
    """Return the status of this process; with `clients`, also who is connected, here and at other nodes."""
    found = node.reporter.status(clients=clients)
    if not clients or node.shared is None:
        return found
    return replace(found, clients=(*(found.clients or ()), *await node.shared.clients_elsewhere()))


@router.post(
    "/api/broadcast",
    dependencies=OPERATORS,
    openapi_extra=_takes(Broadcast, required=True),
    responses={**CONTROL, **refused(400, 413, 503, 504)},
)
async def broadcast(request: Request, node: HasNode) -> Published:
    """Send one message to every client, or to some.

    503: the message was not published. 504 `unconfirmed`: it may have been, or may still be.
    """
    limit = node.settings.max_message_size
    wanted = _parse(Broadcast, await body_of(request, limit and limit + BODY_ALLOWANCE))
    try:
        to = None if wanted.to is None else client_ids.recipients(wanted.to)
        size = len(messages.encode({"data": wanted.data}))
    except client_ids.InvalidClientId as error:
        raise Failure(HTTPStatus.BAD_REQUEST, "bad_request", str(error)) from None
    except ValueError:
        text = "data: it has a NaN or an infinity, which JSON does not have"
        raise Failure(HTTPStatus.BAD_REQUEST, "bad_request", text) from None
    if limit and size > limit + len('{"data":}'):
        raise Failure(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_big", f"a message may have {limit} bytes")
    if node.life.phase not in _PUBLISHING and not node.leaving:
        raise Failure(HTTPStatus.SERVICE_UNAVAILABLE, "closing", "the server is closing its clients")
    published: asyncio.Future[Published] = asyncio.get_running_loop().create_future()

    def receipt(message_id: str, recipients: int) -> None:
        if not published.done():  # the caller may have hung up
            published.set_result(Published(id=message_id, recipients=recipients))

    def refused(why: Refusal) -> None:
        if not published.done():
            published.set_exception(Failure(_UNPUBLISHED[why.code], why.code, why.text))

    node.log.append(client_ids.SERVER, wanted.data, to, receipt, refused=refused, shown=wanted.show_to)
    return await published


@router.post(
    "/api/drain",
    dependencies=OPERATORS,
    openapi_extra=_takes(Drain),
    responses={**told(Drained), **CONTROL, **refused(400, 409, 413)},
)
async def drain(request: Request, node: HasNode, by: AskedBy) -> JSONResponse:
    """Begin a drain, or move the deadline of the one that runs."""
    body = await body_of(request, BODY_ALLOWANCE)
    wanted = _parse(Drain, body) if body.strip() else Drain(timeout=None)
    return _drained(node, lambda: node.driver.drain(wanted.timeout, by))


@router.delete("/api/drain", dependencies=OPERATORS, responses={**told(Drained), **CONTROL, **refused(409)})
async def cancel(node: HasNode, by: AskedBy) -> JSONResponse:
    """Cancel the drain: back to serving."""

    def undo() -> None:
        node.driver.cancel(by)
        node.drain_rejector.forget()

    return _drained(node, undo)


@router.get("/api/drain", dependencies=OPERATORS, responses={**told(Ended), **CONTROL})
async def drained(node: HasNode) -> JSONResponse:
    """Wait until a drain has ended or was cancelled, also one that is still to begin.

    `drain` has its figures, null when it was cancelled.
    """
    await node.driver.wait_until_over()
    return JSONResponse({"drain": encode(node.reporter.drain()), "exit_code": int(node.life.exit_code)})


@router.post(
    "/api/upgrade",
    dependencies=OPERATORS,
    status_code=HTTPStatus.ACCEPTED,
    response_model=None,
    responses={**told(Upgraded, HTTPStatus.ACCEPTED), **CONTROL, **refused(409)},
)
async def upgrade(node: HasNode, by: AskedBy) -> dict[str, Any]:
    """Start a fresh process and hand over to it, without closing a connection."""
    if node.handover is None:
        text = "this server was started by another program, which alone can replace it"
        raise Failure(HTTPStatus.CONFLICT, "not_now", text)
    try:
        node.handover.begin(by)
    except NotDraining as error:
        raise Failure(HTTPStatus.CONFLICT, "not_now", str(error)) from None
    return {"upgrade": encode(node.reporter.upgrade())}


@router.get(
    "/api/upgrade",
    dependencies=OPERATORS,
    response_model=None,
    responses={**told(Upgraded), **CONTROL},
)
async def upgraded(node: HasNode) -> dict[str, Any]:
    """Wait until a handover has ended, also one that is still to begin."""
    if node.handover:
        await node.handover.wait_until_over()
    return {"upgrade": encode(node.reporter.upgrade())}


def _drained(node: Node, act: Any) -> JSONResponse:
    try:
        act()
    except NotDraining as error:
        raise Failure(HTTPStatus.CONFLICT, "not_now", str(error)) from None
    return JSONResponse({"status": node.life.phase, "drain": encode(node.reporter.drain())})
