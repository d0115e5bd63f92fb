"""The route that serves the document."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from wsctl.addresses import host_port
from wsctl.server.asyncapi.document import document

PATH = "/asyncapi.json"

router = APIRouter()


@router.get(PATH, summary="The frames of the WebSocket, as AsyncAPI 3")
async def asyncapi(request: Request) -> JSONResponse:
    scope = request.scope
    scheme = "wss" if scope["scheme"] == "https" else "ws"
    return JSONResponse(document(_host(request), scheme, scope.get("root_path", "")))


def _host(request: Request) -> str:
    """Return the name that the server was asked by; else, for HTTP/1.0 has no Host, the address where it
    listens."""
    name, port = request.scope.get("server") or ("localhost", None)
    return request.headers.get("host") or host_port(name, port or 0)
