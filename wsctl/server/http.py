"""uvicorn's HTTP protocol with bounds on the request head, and a door to `Wire`."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from wsctl.server import upgrade
from wsctl.server.admission import Admitted, Handshake, Refused, TurnedAway, full
from wsctl.server.answers import error_response
from wsctl.server.node import Node
from wsctl.server.proxy import Forwarded
from wsctl.server.wire import Wire

MAX_HEAD = 16 * 1024
"""Bytes of a request head: the contract's figure; servers commonly take 8 to 16 KiB."""

MAX_HEADERS = 100
"""Headers of a request: the contract's figure, and Apache's default."""

HEAD_TIMEOUT = 10.0
"""Seconds for a request head to be complete."""

LINGER = 1.0
"""Seconds to read on after an error answer: closing over unread input would reset the connection
before the answer is read (RFC 9112 section 9.6)."""

_WS_PATH = "/ws/"


class BoundedConnection(h11.Connection):
    """h11 bounds a head only while it is incomplete; this one bounds whole ones too.

    Attributes:
        failure: why the request was rejected, once it was.
    """

    failure: h11.RemoteProtocolError | None = None

    def next_event(self) -> Any:
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.failure = error
            raise
        if isinstance(event, h11.Request):
            self._check(event)
        return event

    def _check(self, request: h11.Request) -> None:
        size = (
            len(request.method) + len(request.target) + sum(len(n) + len(v) + 4 for n, v in request.headers)
        )
        if size > MAX_HEAD or len(request.headers) > MAX_HEADERS:
            self.failure = h11.RemoteProtocolError("too large", error_status_hint=431)
            raise self.failure


class HttpProtocol(H11Protocol):
    """One connection until it is upgraded. `control` marks the control socket's."""

    def __init__(
        self, node: Node, forwarded: Forwarded, *, control: bool, app_state: dict[str, Any], **rest: Any
    ) -> None:
        super().__init__(app_state={**app_state, "control": control}, **rest)
        self.conn: BoundedConnection = BoundedConnection(h11.SERVER, MAX_HEAD)
        self._node = node
        self._forwarded = forwarded
        self._head_since: float | None = node.clock()
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self.app_state["control"] and self._node.crowded(len(self.connections)):
            self._node.note_full()
            self._refuse(full(), linger=False)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._head_since is None and self.conn.their_state is h11.IDLE:
            self._head_since = self._node.clock()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_since = None

    def check(self, now: float) -> None:
        """Once a second: a head that does not come is no longer waited for."""
        if self._head_since is not None and now - self._head_since >= HEAD_TIMEOUT:
            text = f"the request head was not complete within {HEAD_TIMEOUT:g} seconds"
            self._refuse(Refused(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", text))

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to what h11 rejects."""
        if getattr(self.conn.failure, "error_status_hint", 400) == 431:
            text = f"a request head may have {MAX_HEAD} bytes and {MAX_HEADERS} headers"
            self._refuse(Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", text))
        else:
            self._refuse(
                Refused(HTTPStatus.BAD_REQUEST, "bad_request", "this is not a valid HTTP/1.1 request")
            )

    def _unsupported_upgrade_warning(self) -> None:
        """Any other upgrade is ignored, as RFC 9110 section 7.8 allows; it is no news for the log."""

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers}
        method, version = event.method.decode(), event.http_version.decode()
        wrong = upgrade.check(method, version, headers) or self._misplaced()
        if wrong:
            self._refuse(wrong)
            return
        verdict = self._node.admission.admit(self._handshake(headers))
        if isinstance(verdict, Refused):
            if verdict.status is HTTPStatus.SERVICE_UNAVAILABLE:
                self._node.note_full()
            self._refuse(verdict)
            return
        self._hand_over(verdict, headers)

    def _hand_over(self, verdict: Admitted | TurnedAway, headers: Mapping[str, str]) -> None:
        self.connections.discard(self)
        host, port = self._forwarded.client(self.scope)
        early, _ = self.conn.trailing_data
        answer = upgrade.accept(headers)
        if isinstance(verdict, Admitted):
            address = f"{host}:{port}" if port else host
            wire = Wire(self._node, self.transport, verdict.client_id, address)
            wire.begin(answer, self._node.welcome(verdict.client_id, verdict.since), early)
        else:
            self.transport.write(answer)
            self._node.turnaway.send_off(self.transport, host)

    def _misplaced(self) -> Refused | None:
        path = self._path()
        if path.startswith(_WS_PATH) and "/" not in path[len(_WS_PATH) :]:
            return None
        return Refused(HTTPStatus.NOT_FOUND, "not_found", "WebSockets are served at /ws/{client_id}")

    def _path(self) -> str:
        # uvicorn puts the root path in front; a proxy that does not strip it has done so before.
        raw: bytes = self.scope["raw_path"]
        return raw.decode("ascii").removeprefix(self.root_path).removeprefix(self.root_path)

    def _handshake(self, headers: Mapping[str, str]) -> Handshake:
        return Handshake(
            name=self._path()[len(_WS_PATH) :],
            query=self.scope["query_string"].decode("latin-1"),
            origin=headers.get("origin"),
            host=headers.get("host", ""),
        )

    def _refuse(self, refused: Refused, *, linger: bool = True) -> None:
        """Answer, read on for a moment if there is room for that, and hang up."""
        self._refused = True
        self._head_since = None
        if self.transport.is_closing():
            return
        self.transport.write(error_response(refused.status, refused.code, refused.message, refused.headers))
        if not linger:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.abort)
