"""The HTTP routes: pages, health, metrics, and the operations of operators."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Protocol
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import ClientDisconnect

from wsctl.control.disconnecting import BY_OPERATOR
from wsctl.control.encoding import encode
from wsctl.control.history import MESSAGES_LISTED, MOST_MESSAGES_LISTED, MOST_PATTERNS
from wsctl.control.operations import (
    CANCEL_DRAIN,
    CONTROL_SOCKET,
    DISCONNECT,
    DRAIN,
    HISTORY,
    JSON,
    METRICS,
    MOST_TOPICS_LISTED,
    NDJSON,
    OPERATIONS,
    PUBLISH,
    PUBLISHING,
    STATUS,
    TOPICS,
    TOPICS_LISTED,
    UPGRADE,
    ControlError,
    ControlRequest,
    ControlService,
    Operation,
    topic_limit,
    unsupported_media_type,
)
from wsctl.control.status import ServerStatus
from wsctl.drain.phases import Phase
from wsctl.server.credentials.operators import OperatorTokens
from wsctl.server.dashboard.access import DashboardAccess, is_session
from wsctl.server.message_publisher import too_big
from wsctl.server.metrics import PUBLIC, scrape
from wsctl.server.metrics.family import Family
from wsctl.server.node import Node
from wsctl.server.page import MODULE_HEADERS
from wsctl.server.page import headers as page_headers
from wsctl.tracing import TRACEPARENT

_METRICS_FORMATS = ("text/plain", "application/openmetrics-text")

pages = APIRouter()
"""The routes for people and programs that are clients."""

health_routes = APIRouter()
"""The routes for probes."""


class HttpControl(ControlService, Protocol):
    """The operations as this process carries them out: with bounds on what is read for them; `families` are
    the metrics for Prometheus, and `whole_status` is that of all workers."""

    def body_limit(self, operation: Operation, *, lines: bool = False) -> int: ...
    async def families(self) -> list[Family]: ...
    async def whole_status(self) -> ServerStatus: ...


# Dependencies of requests are async: FastAPI would run each other one in a thread.


async def node_of(request: Request) -> Node:
    """Return the server that the application belongs to."""
    node: Node = request.app.state.node
    return node


HasNode = Annotated[Node, Depends(node_of)]


async def control_of_app(request: Request) -> HttpControl:
    """Return what carries out the operations."""
    control: HttpControl = request.app.state.control
    return control


HasControl = Annotated[HttpControl, Depends(control_of_app)]


_BEARER = HTTPBearer(auto_error=False, description="The server's token (WSCTL_TOKEN_FILE or WSCTL_TOKEN).")

Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


async def require_operator(request: Request, node: HasNode, bearer: Bearer) -> None:
    """Let operators pass: through the control socket, or with the token.

    Raises:
        ControlError: the request is not an operator's; that is logged.
    """
    _require(request, node, bearer, publishing=False)


async def require_publisher(request: Request, node: HasNode, bearer: Bearer) -> None:
    """Let operators pass, and those with the token of publishers.

    Raises:
        ControlError: the request is nobody's of these; that is logged.
    """
    _require(request, node, bearer, publishing=True)


def _require(
    request: Request, node: Node, bearer: HTTPAuthorizationCredentials | None, *, publishing: bool
) -> None:
    if request.scope.get("state", {}).get("control"):
        return
    tokens = OperatorTokens(node.settings.token, node.settings.publish_token)
    given = bearer.credentials.strip() if bearer else ""
    if error := tokens.find_error(given, publishing=publishing):
        node.refusals.log(error.code, request.client.host if request.client else "")
        raise error


OPERATORS = [Depends(require_operator)]
PUBLISHERS = [Depends(require_publisher)]


async def access_of(request: Request) -> DashboardAccess:
    """Return what checks the sessions of the dashboard."""
    access: DashboardAccess = request.app.state.dashboard_access
    return access


async def require_operator_or_session(request: Request, node: HasNode, bearer: Bearer) -> None:
    """Let operators pass, and who has a session of the dashboard.

    Raises:
        ControlError: the request is of neither; that is logged.
    """
    access = await access_of(request)
    if bearer is None or access.good_until(bearer.credentials.strip()) is None:
        await require_operator(request, node, bearer)


_OF_DASHBOARD = frozenset({DISCONNECT, DRAIN, CANCEL_DRAIN, UPGRADE})
"""The operations that a session of the dashboard allows."""


def _allowed(operation: Operation) -> list[Any]:
    """Return the dependencies of a route, which let those pass who may ask for its operation."""
    if operation in _OF_DASHBOARD:
        return [Depends(require_operator_or_session)]
    return PUBLISHERS if operation.name in PUBLISHING else OPERATORS


async def asked_by(request: Request) -> str:
    """Return the way in which an operator asks, for the log."""
    if request.scope.get("state", {}).get("control"):
        return CONTROL_SOCKET
    given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    way = "dashboard" if is_session(given) else "token"
    return f"{way}, from {request.client.host}" if request.client else way


AskedBy = Annotated[str, Depends(asked_by)]


_CLIENTS = {
    "name": "clients",
    "in": "query",
    "required": False,
    "schema": {"type": "boolean", "default": False, "title": "Clients"},
}
_LIMIT = {
    "name": "limit",
    "in": "query",
    "required": False,
    "schema": {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_TOPICS_LISTED,
        "default": TOPICS_LISTED,
        "title": "Limit",
    },
}
_CODE = {
    "name": "code",
    "in": "query",
    "required": False,
    "description": "The close code that the client gets",
    "schema": {"type": "integer", "minimum": 4000, "maximum": 4999, "default": 4000, "title": "Code"},
}
_REASON = {
    "name": "reason",
    "in": "query",
    "required": False,
    "description": "The reason that it gets, 123 bytes of UTF-8 at most",
    "schema": {"type": "string", "default": BY_OPERATOR, "title": "Reason"},
}
_TOPIC = {
    "name": "topic",
    "in": "query",
    "required": False,
    "description": "A topic, or a pattern; may be repeated",
    "schema": {"type": "array", "items": {"type": "string"}, "maxItems": MOST_PATTERNS, "title": "Topic"},
}
_SINCE = {
    "name": "since",
    "in": "query",
    "required": False,
    "description": "The id of a message",
    "schema": {"type": "string", "title": "Since"},
}
_MESSAGES = _LIMIT | {
    "schema": {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_MESSAGES_LISTED,
        "default": MESSAGES_LISTED,
        "title": "Limit",
    },
}
_ID = {"name": "client_id", "in": "path", "required": True, "schema": {"type": "string"}}
_PARAMETERS = {
    STATUS: [_CLIENTS],
    TOPICS: [_LIMIT],
    DISCONNECT: [_ID, _CODE, _REASON],
    HISTORY: [_TOPIC, _SINCE, _MESSAGES],
}
_BOOLEANS = dict.fromkeys(("true", "1", "yes", "y", "on", "t"), True) | dict.fromkeys(
    ("false", "0", "no", "n", "off", "f"), False
)


async def wants_clients(request: Request) -> bool:
    """Return whether the caller wants the clients listed.

    FastAPI loads pydantic.v1 for the first parameter that it is to read, which is a twentieth of a start.

    Raises:
        ControlError: it is neither true nor false.
    """
    given = request.query_params.get("clients", "false")
    wanted = _BOOLEANS.get(given.lower())
    if wanted is None:
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_request", "clients: must be true or false")
    return wanted


WantsClients = Annotated[bool, Depends(wants_clients)]


async def body_of(request: Request, limit: int) -> bytes:
    """Read the body of a request.

    Raises:
        ControlError: it has more than `limit` bytes (0 for no limit), or is not complete.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if limit and len(body) > limit:
                text = f"a body may have {limit} bytes"
                raise too_big(text)
    except ClientDisconnect:  # nobody will read this, and it is no news for the log
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_request", "the body is not complete") from None
    return bytes(body)


@pages.get("/", response_class=HTMLResponse, summary="The browser client")
async def page() -> Response:
    name = Path(__file__).parent / "page" / "index.html"
    html = name.read_text(encoding="utf-8")
    return HTMLResponse(html, headers=page_headers(html))


@pages.get(
    "/wsctl.js",
    response_class=Response,
    summary="The client for programs in JavaScript",
    responses={200: {"content": {"text/javascript": {}}}},
)
async def module() -> Response:
    name = Path(__file__).parent / "page" / "wsctl.js"
    return Response(name.read_bytes(), media_type="text/javascript", headers=MODULE_HEADERS)


@pages.get(
    "/wsctl.d.ts",
    response_class=Response,
    summary="The types of that client, for TypeScript",
    responses={200: {"content": {"text/plain": {}}}},
)
async def types() -> Response:
    name = Path(__file__).parent / "page" / "wsctl.d.ts"
    return Response(name.read_bytes(), media_type="text/plain", headers=MODULE_HEADERS)


@health_routes.get("/health", summary="Phase, connections, uptime, version", response_model=None)
async def health(node: HasNode) -> Any:
    return encode(node.reporter.health())


@health_routes.get("/health/live", summary="200 while the process works", response_model=None)
async def live(node: HasNode) -> dict[str, Any]:
    return {"status": node.life.phase}


@health_routes.get("/health/ready", summary="200 only while new clients are welcome", response_model=None)
async def ready(request: Request, node: HasNode) -> JSONResponse:
    is_ready = node.life.phase in (Phase.SERVING, Phase.HANDOVER)
    if node.leaving and not request.scope.get("state", {}).get("control"):
        # A connection that could not move any more: whoever connects to this address reaches the successor.
        is_ready = True
    status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"status": node.life.phase}, status)


async def metrics(request: Request, control: HasControl) -> Response:
    body, kind = await scrape.text(await control.families(), request.headers.get("accept", ""))
    return Response(body, media_type=kind, headers={"vary": "accept"})


async def status(control: HasControl, by: AskedBy, clients: WantsClients) -> JSONResponse:
    return await _carried_out(STATUS, control, ControlRequest(by, clients=clients))


async def topics(request: Request, control: HasControl, by: AskedBy) -> JSONResponse:
    limit = topic_limit(request.query_params.get("limit"))
    return await _carried_out(TOPICS, control, ControlRequest(by, limit=limit))


async def publish(request: Request, control: HasControl, by: AskedBy) -> Response:
    """Publish the message in a body, or that on each of its lines, as its media type says."""
    TRACEPARENT.set(request.headers.get("traceparent"))
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind == NDJSON:
        body = await body_of(request, control.body_limit(PUBLISH, lines=True))
        return Response((await control.publish_lines(body)).text, media_type=NDJSON)
    if kind != JSON:
        raise unsupported_media_type()
    body = await body_of(request, control.body_limit(PUBLISH))
    return await _carried_out(PUBLISH, control, ControlRequest(by, body))


def _route(operation: Operation) -> Any:
    """Return the function that answers requests for an operation."""

    async def answer(request: Request, control: HasControl, by: AskedBy) -> JSONResponse:
        TRACEPARENT.set(request.headers.get("traceparent"))
        body = await body_of(request, control.body_limit(operation)) if operation.request else b""
        return await _carried_out(
            operation, control, ControlRequest(by, body, target=_target(operation, request))
        )

    return answer


def _target(operation: Operation, request: Request) -> str:
    """Return path and query of a request, without a prefix of the path."""
    names = {name: quote(str(value), safe="") for name, value in request.path_params.items()}
    return f"{operation.path.format_map(names)}?{request.url.query}"


async def _carried_out(operation: Operation, control: HttpControl, request: ControlRequest) -> JSONResponse:
    return JSONResponse(encode(await operation.carry_out(control, request)), operation.status)


_READING: Mapping[Operation, Callable[..., Any]] = {STATUS: status, TOPICS: topics, PUBLISH: publish}
"""The functions that answer requests for operations with parameters, or with several forms."""


def operator_routes(*, open_metrics: bool = False) -> APIRouter:
    """Return the routes for operators; with `open_metrics` anyone who reaches them may read the metrics."""
    router = APIRouter()
    router.add_api_route(
        PUBLIC,
        metrics,
        dependencies=[] if open_metrics else OPERATORS,
        response_class=Response,  # a text one would make its refusals text, too
        responses={200: {"content": {kind: {"schema": {"type": "string"}} for kind in _METRICS_FORMATS}}},
        summary="Metrics for Prometheus",
    )
    for each in OPERATIONS:
        router.add_api_route(
            each.path,
            _READING.get(each) or _route(each),
            name=each.name,
            methods=[each.method],
            dependencies=_allowed(each),
            summary=each.summary,
            description=each.description,
            status_code=each.status,
            response_model=None,
            include_in_schema=each is not METRICS,
            openapi_extra={"parameters": found} if (found := _PARAMETERS.get(each)) else None,
        )
    return router
