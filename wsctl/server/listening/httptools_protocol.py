"""uvicorn's faster HTTP protocol, with the bounds of the other one, for applications that are not ours."""

from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as UvicornHttpTools

from wsctl.server.http.semantics import BadTarget, origin_form
from wsctl.server.listening.http_protocol import MAX_HEAD, MAX_HEADERS, AnswerState, BoundedHttp, joined
from wsctl.server.listening.pending_connections import PendingConnections
from wsctl.server.websocket.acceptor import UpgradeRequest, WebSocketAcceptor


class _HeadTooLarge(Exception):
    """The error that a callback of the parser raises for a head beyond the bounds."""


class HttpToolsProtocol(BoundedHttp, UvicornHttpTools):
    """One HTTP connection, read with httptools."""

    def __init__(
        self,
        acceptor: WebSocketAcceptor,
        pending: PendingConnections,
        *,
        since: float,
        changed: Callable[[], None],
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self._partial_head = 0
        self._too_large = False
        self.bound(acceptor, pending, since=since, control=False, changed=changed)

    # Callbacks of the parser

    def on_headers_complete(self) -> None:
        self._partial_head = 0
        size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        if size > MAX_HEAD or len(self.headers) > MAX_HEADERS:
            self._too_large = True
            raise _HeadTooLarge
        self._head_complete()
        if not self.url.startswith(b"/"):
            self._bring_into_origin_form()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._request_complete()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        next_one = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if next_one:  # its head was read while the answer before it was under way
            self._head_complete()
            if not next_one.more_body:
                self._request_complete()

    def _bring_into_origin_form(self) -> None:
        """Let the rest see the path alone as the target, and the host that was asked for."""
        target, host = origin_form(self.parser.get_method().decode(), self.url.decode("latin-1"))
        self.url = target.encode("latin-1")
        if host is not None:
            others = [(name, value) for name, value in self.headers if name != b"host"]
            self.headers[:] = [(b"host", host.encode("latin-1")), *others]

    # Its input

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._upgrade(data[upgrade.args[0] :])
        except (httptools.HttpParserError, BadTarget):
            self._reject(too_large=self._too_large)
        else:
            self._bound_partial_head(len(data))

    def _bound_partial_head(self, size: int) -> None:
        """Refuse a head that grows beyond the bounds without an end, of which the parser tells nothing."""
        self._partial_head = self._partial_head + size if self.head_is_partial else 0
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
        self._accept(UpgradeRequest(method, version, path, query, joined(self.headers)), early)

    def _has_unparsed(self) -> bool:
        return False

    def _answer_state(self) -> AnswerState:
        if self.pipeline:
            return AnswerState.BEGUN
        if self.cycle is None or self.cycle.response_complete:
            return AnswerState.OPEN
        return AnswerState.BEGUN if self.cycle.response_started else AnswerState.OPEN
