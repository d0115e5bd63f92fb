"""uvicorn's HTTP protocol with bounds on the request head."""

from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from wsctl.server.admission import Refused
from wsctl.server.answers import error_response
from wsctl.server.entrance import Entrance, Opening
from wsctl.server.target import BadTarget, origin_form

MAX_HEAD = 16 * 1024
"""Bytes of a request head: servers commonly take 8 to 16 KiB."""

MAX_HEADERS = 100
"""Headers of a request: Apache's default."""

HEAD_TIMEOUT = 10.0
"""Seconds for a request head to be complete."""

LINGER = 1.0
"""Seconds to read on after an error answer: closing over unread input would reset the connection
before the answer is read (RFC 9112 section 9.6)."""

MAX_UNREAD = 256 * 1024
"""Bytes of a body that are read past although the answer is out: more than the largest usual one, so that
whoever sends it all before reading finds the answer, and whoever never stops is not listened to."""

HEAD_TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


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
            event = self._in_origin_form(event)
        return event

    def _check(self, request: h11.Request) -> None:
        size = (
            len(request.method) + len(request.target) + sum(len(n) + len(v) + 4 for n, v in request.headers)
        )
        if size > MAX_HEAD or len(request.headers) > MAX_HEADERS:
            self.failure = h11.RemoteProtocolError("too large", error_status_hint=HEAD_TOO_LARGE)
            raise self.failure

    def _in_origin_form(self, request: h11.Request) -> h11.Request:
        """What the rest sees: the path alone, and the host that was asked for."""
        try:
            target, host = origin_form(request.method.decode(), request.target.decode("latin-1"))
        except BadTarget:
            self.failure = h11.RemoteProtocolError("not an address of a server")
            raise self.failure from None
        if host is None:
            return request
        named = (b"host", host.encode("latin-1"))
        headers = [named, *((bytes(n), bytes(v)) for n, v in request.headers if n != b"host")]
        return h11.Request(
            method=request.method, target=target, headers=headers, http_version=request.http_version
        )


class HttpProtocol(H11Protocol):
    """One connection that speaks HTTP. `control` marks the control socket's; `since` is when it began."""

    conn: BoundedConnection

    def __init__(
        self, entrance: Entrance, *, since: float, control: bool, app_state: dict[str, Any], **rest: Any
    ) -> None:
        super().__init__(app_state={**app_state, "control": control}, **rest)
        self.conn = BoundedConnection(h11.SERVER, MAX_HEAD)
        self._entrance = entrance
        self._head_since: float | None = since
        self._refused = False
        self._unread = 0

    @property
    def half_heard(self) -> bool:
        """Whether a request has arrived in part."""
        return self._head_since is not None and not self._refused

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._head_since is None and self.conn.their_state is h11.IDLE:
            self._head_since = self._entrance.clock()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_since = None
        self._read_past(len(data))

    def check(self, now: float) -> None:
        """Once a second: a head that does not come is no longer waited for."""
        if self._head_since is not None and now - self._head_since >= HEAD_TIMEOUT:
            text = f"the request head was not complete within {HEAD_TIMEOUT:g} seconds"
            self.refuse(Refused(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", text))

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to what h11 rejects."""
        if self.conn.failure and self.conn.failure.error_status_hint == HEAD_TOO_LARGE:
            text = f"a request head may have {MAX_HEAD} bytes and {MAX_HEADERS} headers"
            self.refuse(Refused(HEAD_TOO_LARGE, "head_too_large", text))
        else:
            self.refuse(
                Refused(HTTPStatus.BAD_REQUEST, "bad_request", "this is not a valid HTTP/1.1 request")
            )

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """uvicorn's way out for a request that asks for a WebSocket."""
        path, _, query = event.target.decode("ascii").partition("?")
        opening = Opening(event.method.decode(), event.http_version.decode(), path, query, self._joined())
        early, _ = self.conn.trailing_data
        refused = self._entrance.enter(self.transport, opening, early)
        if refused:
            self.refuse(refused)
        else:
            self.connections.discard(self)

    def refuse(self, refused: Refused, *, linger: bool = True) -> None:
        """Answer, read on for a moment if there is room for that, and hang up."""
        self._refused = True
        self._head_since = None
        if self.transport.is_closing():
            return
        self.transport.write(error_response(refused.status, refused.code, refused.message, refused.headers))
        if linger:
            self._hang_up()
        else:
            self.transport.close()

    def _read_past(self, size: int) -> None:
        """What comes of a body when its request has been answered."""
        answered = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        self._unread = self._unread + size if answered else 0
        if self._unread > MAX_UNREAD and not self.transport.is_closing():
            self._refused = True
            self._hang_up()

    def _hang_up(self) -> None:
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.abort)

    def shutdown(self) -> None:
        """uvicorn's way to end a connection with the server."""
        if self._refused:  # answered past h11, which would not let it end
            self.transport.close()
        else:
            super().shutdown()

    def _joined(self) -> dict[str, str]:
        """The headers, those that came several times as one list (RFC 9110 section 5.2)."""
        joined: dict[str, str] = {}
        for raw_name, raw_value in self.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return joined

    def _unsupported_upgrade_warning(self) -> None:
        """Any other upgrade is ignored, as RFC 9110 section 7.8 allows; it is no news for the log."""
