"""The control routes of a worker: requests for the of_all server go to the parent."""

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message

from wsctl.ipc.rpc import Reply
from wsctl.server import api
from wsctl.server.api import BODY_ALLOWANCE, OPERATORS, asked_by, body_of
from wsctl.server.diagnostics.configuration import are_isolated
from wsctl.server.metrics import OWN, PUBLIC
from wsctl.server.metrics.family import decode_families, merge_workers
from wsctl.server.metrics.routes import answer
from wsctl.server.metrics.routes import own as own_metrics
from wsctl.server.node import Node
from wsctl.server.workers.parent_link import STATUS_TIMEOUT, ParentLink

_GROUP = ("status", "connections", "drain", "upgrade", "workers")
"""The fields of a worker's status that describe all workers."""


def relay_routes(node: Node, link: ParentLink, local: "LocalApi") -> APIRouter:
    """Return routes that stand before those of the worker alone, which `local` answers."""
    router = APIRouter(dependencies=OPERATORS, include_in_schema=False)

    def relay(path: str, *methods: str) -> None:
        async def relayed(request: Request) -> JSONResponse:
            limit = node.settings.max_message_size
            method, body = request.method, await body_of(request, limit and limit + BODY_ALLOWANCE)
            target = f"{path}?{urlencode({'by': await asked_by(request)})}"
            reply = None if link.lost else await link.call(method, target, body)
            reply = reply or await local.answer(method, path, body)
            return JSONResponse(reply.body, reply.status)

        router.add_api_route(path, relayed, methods=list(methods))

    async def status(clients: bool = False) -> JSONResponse:
        of_all = None if link.lost else await link.fetch_status()
        group = of_all and {name: of_all[name] for name in _GROUP} | {"pid": link.parent}
        return JSONResponse(await api.status(node, clients) | {"group": group})

    async def metrics(request: Request) -> Response:
        # Twice: the parent itself waits as long for workers that hang.
        reply = None if link.lost else await link.call("GET", OWN, b"", 2 * STATUS_TIMEOUT)
        if reply and reply.status == HTTPStatus.OK:  # a parent of an older version knows nothing of it
            return await answer(decode_families(reply.body), request)
        return await answer(merge_workers({link.number: await own_metrics(node)}), request)

    router.add_api_route("/api/status", status, methods=["GET"])
    router.add_api_route(PUBLIC, metrics, methods=["GET"])
    relay("/api/drain", "GET", "POST", "DELETE")
    relay("/api/upgrade", "GET", "POST")
    if are_isolated(node.settings):
        relay("/api/broadcast", "POST")
    return router


class LocalApi:
    """Requests that the parent asks of this worker alone, answered by an application in this process."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def answer(self, method: str, path: str, body: bytes) -> Reply:
        parts: list[bytes] = []
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            parts.append(message.get("body", b""))

        await self._app(_scope(method, path), receive, send)
        return Reply(status, json.loads(b"".join(parts)))


def _scope(method: str, path: str) -> dict[str, Any]:
    at, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": at,
        "raw_path": at.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": None,
        "server": None,
        "state": {"control": True},
    }
