"""uvicorn's faster HTTP protocol, with the bounds of the other one, for applications that are not ours."""

from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as UvicornHttpTools

from wsctl.server.client_acceptor import ClientAcceptor
from wsctl.server.http.semantics import BadTarget, origin_form
from wsctl.server.listening.http_protocol import MAX_HEAD, MAX_HEADERS, AnswerState, BoundedHttp, joined
from wsctl.server.listening.pending_connections import PendingConnections
from wsctl.server.websocket.opener import ClientRequest


class _HeadTooLarge(Exception):
    """The error that a callback of the parser raises for a head beyond the bounds."""


class _StreamRequested(Exception):
    """The error that a callback of the parser raises to stop it behind a request for an event stream."""


class HttpToolsProtocol(BoundedHttp, UvicornHttpTools):
    """One HTTP connection, read with httptools."""

    def __init__(
        self,
        acceptor: ClientAcceptor,
        pending: PendingConnections,
        *,
        since: float,
        changed: Callable[[], None],
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self._partial_head = 0
        self._chunk = 0
        self._too_large = False
        self._stream: ClientRequest | None = None
        self.bound(acceptor, pending, since=since, control=False, changed=changed)

    # Callbacks of the parser

    def on_headers_complete(self) -> None:
        # Not more than has come since the one before, but for blanks that are not written before values.
        if self._partial_head + self._chunk > MAX_HEAD - MAX_HEADERS or len(self.headers) > MAX_HEADERS:
            self._check_size()
        self._partial_head = 0
        self._deadlines.requested(self._now)
        if not self.url.startswith(b"/"):
            self._bring_into_origin_form()
        if self._acceptor.has_streams and self._begin_stream():
            raise _StreamRequested
        super().on_headers_complete()

    def _begin_stream(self) -> bool:
        """Tell whether the request is one for an event stream that can be answered now. One behind a request
        that has no answer yet is left to the application, whose routes have the streams too."""
        path, _, query = self.url.decode("latin-1").partition("?")
        method = self.parser.get_method().decode()
        is_upgrade = self.parser.should_upgrade() and self._should_upgrade()
        is_free = self.cycle is None or self.cycle.response_complete
        if is_upgrade or not is_free or not self._acceptor.serves_stream(method, path):
            return False
        version = self.parser.get_http_version()
        self._stream = ClientRequest(method, version, path, query, joined(self.headers))
        return True

    def on_message_complete(self) -> None:
        self._deadlines.ended(self._now)
        super().on_message_complete()

    def _begin_next_request(self) -> None:
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            self._head_complete()  # it was read while the answer before it was under way
            if not cycle.more_body:
                self._request_complete()

    def _check_size(self) -> None:
        size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        if size > MAX_HEAD or len(self.headers) > MAX_HEADERS:
            self._too_large = True
            raise _HeadTooLarge

    def _bring_into_origin_form(self) -> None:
        """Let the rest see the path alone as the target, and the host that was asked for."""
        target, host = origin_form(self.parser.get_method().decode(), self.url.decode("latin-1"))
        self.url = target.encode("latin-1")
        if host is not None:
            others = [(name, value) for name, value in self.headers if name != b"host"]
            self.headers[:] = [(b"host", host.encode("latin-1")), *others]

    # Its input

    def _parse(self, data: bytes) -> None:
        self._chunk = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._upgrade(data[upgrade.args[0] :])
        except (httptools.HttpParserError, BadTarget):
            if self._stream:
                self._accept_stream(self._stream, b"")
            else:
                self._reject(too_large=self._too_large)
        else:
            if self.head_is_partial:
                self._bound_partial_head()

    def _bound_partial_head(self) -> None:
        """Refuse a head that grows beyond the bounds without an end, of which the parser tells nothing."""
        self._partial_head += self._chunk
        if self._partial_head > MAX_HEAD:
            self._reject(too_large=True)

    def _upgrade(self, early: bytes) -> None:
        """Hand a request for a WebSocket on; `early` is what has come behind it."""
        path, _, query = self.url.decode("latin-1").partition("?")
        if not self._acceptor.serves(path):
            self._pending.release(self.transport)
            self.handle_websocket_upgrade()
            return
        method, version = self.scope["method"], self.scope["http_version"]
        self._accept(ClientRequest(method, version, path, query, joined(self.headers)), early)

    def _has_unparsed(self) -> bool:
        return False

    def _has_next(self) -> bool:
        return bool(self.pipeline)

    def _answer_state(self) -> AnswerState:
        if self.pipeline:
            return AnswerState.BEGUN
        if self.cycle is None or self.cycle.response_complete:
            return AnswerState.OPEN
        return AnswerState.BEGUN if self.cycle.response_started else AnswerState.OPEN
