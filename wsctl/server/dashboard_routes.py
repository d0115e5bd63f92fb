"""The routes of the dashboard: its page, its sessions, its events."""

import json
import time
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse

from wsctl.control.encoding import encode
from wsctl.control.operations import ControlError
from wsctl.server.api import Bearer, HasControl, HasNode, access_of, body_of, require_operator
from wsctl.server.dashboard.access import DashboardAccess, DashboardSession, is_session
from wsctl.server.dashboard.feed import dashboard_events
from wsctl.server.event_stream.opener import MEDIA_TYPE
from wsctl.server.page import headers as page_headers

MAX_BODY = 1024
"""Bytes of a request for a session: a link has some fifty."""

_NOT_KEPT = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

router = APIRouter(include_in_schema=False)

HasAccess = Annotated[DashboardAccess, Depends(access_of)]


@router.get("/dashboard")
async def dashboard() -> Response:
    html = (Path(__file__).parent / "page" / "dashboard.html").read_text(encoding="utf-8")
    return HTMLResponse(html, headers=page_headers(html, imports=False))


@router.post("/dashboard/session")
async def session(request: Request, node: HasNode, access: HasAccess, bearer: Bearer) -> Response:
    """Answer with a session: for a link, for the server's token, or for a session that is still good."""
    link = _link(await body_of(request, MAX_BODY))
    given = bearer.credentials.strip() if bearer else ""
    found: DashboardSession | None
    if link is not None:
        found = access.redeem(link)
        refused = _refused(
            "bad_link", "this link was used before, or is too old: run 'wsctl dashboard' again"
        )
    elif is_session(given):
        found = access.renew(given)
        refused = _refused("session_ended", "the session has ended: run 'wsctl dashboard' again")
    else:
        await require_operator(request, node, bearer)
        found = access.for_token() if given else None
        refused = _refused("bad_token", "send the server's token: Authorization: Bearer TOKEN")
    if found is None:
        node.refusals.log(refused.code, request.client.host if request.client else "")
        raise refused
    return JSONResponse(encode(found), headers=_NOT_KEPT)


@router.get("/dashboard/events")
async def events(node: HasNode, control: HasControl, access: HasAccess, bearer: Bearer) -> Response:
    """Answer with the events, as long as the session is good."""
    until = access.good_until(bearer.credentials.strip()) if bearer else None
    if until is None:
        raise _refused("session_ended", "the session has ended: run 'wsctl dashboard' again")
    found = dashboard_events(control, node.driver.stopped, lambda: node.leaving or time.time() >= until)
    return StreamingResponse(found, media_type=MEDIA_TYPE, headers={**_NOT_KEPT, "x-accel-buffering": "no"})


def _refused(code: str, text: str) -> ControlError:
    return ControlError(HTTPStatus.UNAUTHORIZED, code, text)


def _link(body: bytes) -> str | None:
    """Return the link in a body; None in an empty one.

    Raises:
        ControlError: it is another body.
    """
    if not body.strip():
        return None
    try:
        told: Any = json.loads(body)
        link = told["link"]
    except (ValueError, RecursionError, TypeError, LookupError):
        link = None
    if not isinstance(link, str):
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_request", 'the body is {"link": LINK}, or empty')
    return link
