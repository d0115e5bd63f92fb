"""uvicorn's HTTP protocols with bounds on the request head, and a deadline for each state of a connection.

The routes of wsctl are read with h11; an application of one's own with the parser that uvicorn would take.
"""

import asyncio
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import h11
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from wsctl.server.client_acceptor import ClientAcceptor
from wsctl.server.http.deadlines import BODY_RATE, BODY_TIMEOUT, HEAD_TIMEOUT, MAX_UNREAD, Deadlines, Stage
from wsctl.server.http.host_header import FOREIGN
from wsctl.server.http.proxy import peer_address
from wsctl.server.http.semantics import BadTarget, HttpRefusal, error_response, origin_form
from wsctl.server.listening.direct_publishing import DirectPublishing, PublishingConnection
from wsctl.server.listening.pending_connections import PendingConnections
from wsctl.server.websocket.admission import server_full
from wsctl.server.websocket.opener import ClientRequest

MAX_HEAD = 16 * 1024
"""Bytes of a request head: servers commonly take 8 to 16 KiB."""

MAX_HEADERS = 100
"""Headers of a request: Apache's default."""

LINGER = 1.0
"""Seconds to read on after an error answer: closing over unread input would reset the connection
before the answer is read (RFC 9112 section 9.6)."""

HEAD_TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class ParserListener(Protocol):
    """The receiver of what a connection has parsed, before uvicorn gets it."""

    def requested(self, request: h11.Request) -> None:
        """Note that a request head is complete."""

    def ended(self) -> None:
        """Note that a request is complete."""

    def rejected(self, error: h11.RemoteProtocolError) -> None:
        """Answer input that is no request, or too large; nothing more can be parsed."""


class BoundedConnection(h11.Connection):
    """An h11 connection that bounds whole heads too; h11 itself bounds a head only while it is incomplete.

    uvicorn never sees what is rejected: it would log each, and answer where its application already does.
    """

    def __init__(self, listener: ParserListener) -> None:
        super().__init__(h11.SERVER, MAX_HEAD)
        self._listener = listener
        self._received = 0

    def receive_data(self, data: bytes) -> None:
        self._received += len(data)
        super().receive_data(data)

    def next_event(self) -> Any:
        try:
            event: Any = h11.Connection.next_event(self)
            kind = type(
                event
            )  # in place of isinstance: h11's events are abstract classes, which makes it slow
            if kind is h11.Request:
                event = self._check(event)
        except h11.RemoteProtocolError as error:
            self._listener.rejected(error)
            return h11.NEED_DATA
        if kind is h11.Request:
            self._listener.requested(event)
        elif kind is h11.EndOfMessage:
            self._listener.ended()
        return event

    def _check(self, request: h11.Request) -> h11.Request:
        """Bound a request's head, and return it in the form that the rest sees."""
        # Not more than has come since the one before, but for blanks that are not written before values.
        if self._received > MAX_HEAD - MAX_HEADERS or len(request.headers) > MAX_HEADERS:
            self._check_size(request)
        self._received = len(self.trailing_data[0])
        return request if request.target.startswith(b"/") else self._in_origin_form(request)

    def _check_size(self, request: h11.Request) -> None:
        size = (
            len(request.method)
            + len(request.target)
            + sum([len(n) + len(v) + 4 for n, v in request.headers.raw_items()])
        )
        if size > MAX_HEAD or len(request.headers) > MAX_HEADERS:
            raise h11.RemoteProtocolError("too large", error_status_hint=HEAD_TOO_LARGE)

    def _in_origin_form(self, request: h11.Request) -> h11.Request:
        """Return the request as the rest sees it: the path alone as its target, and the host that was asked
        for."""
        try:
            target, host = origin_form(request.method.decode(), request.target.decode("latin-1"))
        except BadTarget:
            raise h11.RemoteProtocolError("not an address of a server") from None
        if host is None:
            return request
        named = (b"host", host.encode("latin-1"))
        headers = [named, *((bytes(n), bytes(v)) for n, v in request.headers if n != b"host")]
        return h11.Request(
            method=request.method, target=target, headers=headers, http_version=request.http_version
        )


def detach_descriptor(transport: asyncio.Transport) -> int | None:
    """Stop reading a connection here, and return a copy of its descriptor. None when it has TLS or has ended,
    or no descriptor is left: then nothing has changed."""
    if transport.is_closing() or transport.get_extra_info("ssl_object"):
        return None
    try:
        fd = os.dup(transport.get_extra_info("socket").fileno())
    except OSError:
        return None
    transport.pause_reading()
    transport.set_protocol(asyncio.Protocol())
    transport.abort()
    return fd


class InputFlow(FlowControl):
    """The flow of one connection, which reads no further while a whole request waits for its turn.

    uvicorn reads on whenever an application asks for the body of its request, and after each answer: the
    requests of a client that waits for no answer would fill the memory.
    """

    def __init__(self, transport: asyncio.Transport, has_next: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._has_next = has_next

    def resume_reading(self) -> None:
        if not self._has_next():
            super().resume_reading()


class AnswerState(Enum):
    """The states of the answer to the request at hand, or to the next one."""

    OPEN = auto()
    """Nothing of it was sent."""
    BEGUN = auto()
    OVER = auto()
    """It was sent, and there can be no other one on this connection."""


if TYPE_CHECKING:

    class _UvicornProtocol(asyncio.Protocol):
        """The part that both of uvicorn's protocols have."""

        transport: asyncio.Transport
        loop: asyncio.AbstractEventLoop
        connections: set[Any]
        cycle: Any
        flow: Any
        server_state: Any

        def connection_made(self, transport: asyncio.Transport) -> None: ...  # type: ignore[override]

        def shutdown(self) -> None: ...

else:
    _UvicornProtocol = asyncio.Protocol


class BoundedHttp(_UvicornProtocol):
    """One HTTP connection, in front of one of uvicorn's protocols. `control` marks the control socket's;
    `since` is when it began, and it is counted in `pending`. `changed` is called when it may be idle, refused
    or gone where it was not.

    Attributes:
        admin: whether it came in at the admin address, and moves to that of a successor.
    """

    admin = False

    def bound(
        self,
        acceptor: ClientAcceptor,
        pending: PendingConnections,
        *,
        since: float,
        control: bool,
        changed: Callable[[], None],
    ) -> None:
        """Set the bounds up; to be called when uvicorn's protocol is set up."""
        self._acceptor = acceptor
        self._pending = pending
        self._deadlines = Deadlines(since)
        self._now = since
        self._control = control
        self._changed = changed
        self._refused = False
        self._unread = 0

    @property
    def awaited(self) -> bool:
        """True if an answer is owed here, or may be; not between two requests of an operator, who can connect
        again."""
        idle = self._deadlines.stage is Stage.IDLE
        return not self._refused and not self.transport.is_closing() and not (idle and self._control)

    def detach(self) -> int | None:
        """Give a client's connection away between two requests to another process that reads it, and return
        its descriptor; None if it stays."""
        idle = self._deadlines.stage is Stage.IDLE and not self._has_unparsed()
        if not idle or self._refused or self._control or self.transport.get_write_buffer_size():
            return None
        fd = detach_descriptor(self.transport)
        if fd is not None:
            self.connections.discard(self)
            self._pending.release(self.transport)
        return fd

    @property
    def head_is_partial(self) -> bool:
        """True while a request head has arrived in part."""
        return self._deadlines.stage is Stage.HEAD and not self._refused

    @property
    def peer(self) -> str:
        return peer_address(self.transport)[0]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = InputFlow(transport, self._has_next)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pending.release(self.transport)
        super().connection_lost(exc)
        self._changed()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._read_past(len(data))
            return
        self._now = now = self._acceptor.clock()
        self._deadlines.received(len(data), now)
        self._parse(data)
        if self._deadlines.too_much and not self.transport.is_closing():
            self._refused = True
            self._read_past(MAX_UNREAD + 1)
            self._hang_up()
            self._changed()

    @abstractmethod
    def _parse(self, data: bytes) -> None:
        """Parse input, and act on it."""

    @abstractmethod
    def _has_unparsed(self) -> bool:
        """Tell whether input has come that belongs to no request yet."""

    @abstractmethod
    def _has_next(self) -> bool:
        """Tell whether input has come behind the whole request at hand."""

    @abstractmethod
    def _begin_next_request(self) -> None:
        """Begin with a request that came before the answer was complete, if there is one."""

    @abstractmethod
    def _answer_state(self) -> AnswerState:
        """Return the state of the answer."""

    # What the parser finds

    def _head_complete(self) -> None:
        self._deadlines.requested(self._now)

    def _request_complete(self) -> None:
        self._deadlines.ended(self._now)

    def _reject(self, *, too_large: bool) -> None:
        """Answer input that is no request, or a head that is too large."""
        if too_large:
            text = f"a request head may have {MAX_HEAD} bytes and {MAX_HEADERS} headers"
            refused = HttpRefusal(HEAD_TOO_LARGE, "head_too_large", text)
        else:
            text = "this is not a valid HTTP/1.1 request"
            refused = HttpRefusal(HTTPStatus.BAD_REQUEST, "bad_request", text)
        self._acceptor.log_refusal(refused, self.transport)
        self.refuse(refused)

    def on_response_complete(self) -> None:
        """Turn to the next request; uvicorn calls this when an answer is complete. Its own method sets a
        timer for the time between two requests, which `check` bounds here."""
        self._now = now = self._acceptor.clock()
        self._deadlines.answered(now)
        self._pending.renew(self.transport)
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self._begin_next_request()
            self.flow.resume_reading()
        self._changed()

    # Deadlines

    def check(self, now: float) -> None:
        """End the connection if it stalls, or is past its deadline; called once a second."""
        if self._deadlines.stalled(now, self.transport.get_write_buffer_size()):
            self.transport.abort()
        elif not self._refused and not self.transport.is_closing() and self._deadlines.overdue(now):
            self._give_up()

    def _give_up(self) -> None:
        match self._deadlines.stage:
            case Stage.HEAD:
                self._time_out(f"the request head was not complete within {HEAD_TIMEOUT:g} seconds")
            case Stage.BODY:
                grace = f"{BODY_TIMEOUT:g} seconds and one more for every {BODY_RATE} bytes"
                self._time_out(f"the request body was not complete within {grace}")
            case _:
                self.transport.close()

    def _time_out(self, text: str) -> None:
        refused = HttpRefusal(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", text)
        self._acceptor.log_refusal(refused, self.transport)
        self.refuse(refused)

    def evict(self) -> bool:
        """End the connection to make room for others, unless the application is handling a request and its
        answer is read; returns whether it has ended."""
        unsent = self.transport.get_write_buffer_size()
        if self._deadlines.busy and not unsent and not self._refused:
            return False
        if self._deadlines.stage is Stage.HEAD and not self._refused:
            self.refuse(server_full(), linger=False)
        elif unsent or self._refused:
            self.transport.abort()
        else:
            self._close_at_once()
        return True

    def _accept(self, request: ClientRequest, early: bytes) -> None:
        """Hand a request for a WebSocket to the acceptor; `early` is what has come behind it."""
        self._accepted(self._acceptor.accept(self.transport, request, early))

    def _accept_stream(self, request: ClientRequest, early: bytes) -> None:
        """Hand a request for an event stream to the acceptor; `early` is what has come behind it."""
        self._accepted(self._acceptor.accept_stream(self.transport, request, early))

    def _accepted(self, refused: HttpRefusal | None) -> None:
        """Leave the transport to the connection that has it now, or answer with a refusal."""
        if refused:
            self.refuse(refused)
        else:
            self.connections.discard(self)
            self._pending.release(self.transport)
            self._changed()

    def refuse(self, refused: HttpRefusal, *, linger: bool = True) -> None:
        """Answer, read on for a moment if there is room for that, and hang up.

        A request that has its answer gets no second one, and an answer that was begun is cut off.
        """
        self._refused = True
        self._changed()
        self._leave_application()
        if self.transport.is_closing():
            return
        state = self._answer_state()
        if state is AnswerState.BEGUN:
            self.transport.abort()
            return
        if state is AnswerState.OPEN:
            answer = error_response(refused.status, refused.code, refused.message, refused.headers)
            self.transport.write(answer)
        if linger:
            self._hang_up()
        else:
            self._close_at_once()

    def _leave_application(self) -> None:
        """Discard what the application still writes, and tell it that the client is disconnected."""
        if self.cycle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.flow.resume_writing()

    def _read_past(self, size: int) -> None:
        """Discard `size` bytes that came behind a refusal. So much is read that whoever sends it finds the
        answer."""
        self._unread += size
        if self._unread > MAX_UNREAD:
            self.transport.pause_reading()

    def _close_at_once(self) -> None:
        """Close behind what was written. TLS is aborted: it would wait for the peer's close_notify, and keep
        the descriptor."""
        self.transport.close()
        if self.transport.get_extra_info("ssl_object"):
            self.loop.call_soon(self.transport.abort)

    def _hang_up(self) -> None:
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.abort)

    def shutdown(self) -> None:
        """End the connection, after the answer that is under way: the server ends."""
        if self._refused:  # answered past the parser, which would not let it end
            self.transport.close()
        else:
            super().shutdown()

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: any other upgrade is ignored, as RFC 9110 section 7.8 allows."""


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers as text, those that came several times as one list (RFC 9110 section 5.2)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


class HttpProtocol(BoundedHttp, H11Protocol):
    """One HTTP connection, read with h11. Without `own_routes` it is for an application that is not ours,
    whose state stays its own. With `publishing` plain requests to publish meet neither parser nor
    framework."""

    def __init__(
        self,
        acceptor: ClientAcceptor,
        pending: PendingConnections,
        *,
        since: float,
        control: bool,
        changed: Callable[[], None],
        own_routes: bool,
        app_state: dict[str, Any],
        publishing: DirectPublishing | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(app_state={**app_state, "control": control} if own_routes else app_state, **rest)
        self.conn = BoundedConnection(self)
        self._own_routes = own_routes
        self._wants_websocket = False
        self._has_parsed = False
        # uvicorn logs requests, where that is wanted.
        self._publishing = (
            PublishingConnection(self, publishing) if publishing and not self.access_log else None
        )
        self.bound(acceptor, pending, since=since, control=control, changed=changed)

    # The listener of its h11 connection

    def requested(self, request: h11.Request) -> None:
        self._head_complete()
        if self._own_routes:
            headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
            self.app_state[FOREIGN] = self._acceptor.is_foreign(self.transport, headers)

    def ended(self) -> None:
        self._request_complete()

    def rejected(self, error: h11.RemoteProtocolError) -> None:
        self._reject(too_large=error.error_status_hint == HEAD_TOO_LARGE)

    def _should_upgrade(self) -> bool:
        """Tell whether a request leaves the framework aside: one for a WebSocket, or for an event stream."""
        self._wants_websocket = super()._should_upgrade()
        return self._wants_websocket or (self._acceptor.has_streams and self._wants_stream())

    def _wants_stream(self) -> bool:
        path = self.scope["raw_path"].decode("ascii").removeprefix(self.root_path)
        return self._acceptor.serves_stream(self.scope["method"], path)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand a request on for which `_should_upgrade` was true; uvicorn calls this for each."""
        path, _, query = event.target.decode("ascii").partition("?")
        if self._wants_websocket and not self._acceptor.serves(path):
            self._pending.release(self.transport)
            super().handle_websocket_upgrade(event)
            return
        request = ClientRequest(
            event.method.decode(), event.http_version.decode(), path, query, joined(self.headers)
        )
        accept = self._accept if self._wants_websocket else self._accept_stream
        accept(request, self.conn.trailing_data[0])

    def _parse(self, data: bytes) -> None:
        if self._publishing and (self._publishing.is_answering or self._is_between_requests()):
            data = self._publishing.receive(data)
        if data:
            self.parse_rest(data)

    def _is_between_requests(self) -> bool:
        """Tell whether the parser has no part of a request, and has nothing to be answered."""
        if self._has_parsed:
            states = {self.conn.our_state, self.conn.their_state}
            self._has_parsed = states != {h11.IDLE} or bool(self.conn.trailing_data[0])
        return not self._has_parsed

    def _has_unparsed(self) -> bool:
        return bool(self.conn.trailing_data[0]) or bool(self._publishing and self._publishing.has_input)

    def _has_next(self) -> bool:
        return self.conn.their_state is h11.DONE and bool(self.conn.trailing_data[0])

    # The HTTP connection of requests to publish

    def begin_request(self) -> None:
        self._head_complete()

    def end_request(self) -> None:
        self._request_complete()

    def end_answer(self) -> None:
        self.on_response_complete()

    def allows_host(self, headers: Mapping[str, str]) -> bool:
        return not self._acceptor.is_foreign(self.transport, headers)

    def parse_rest(self, data: bytes) -> None:
        self._has_parsed = True
        H11Protocol.data_received(self, data)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._publishing and not self._publishing.is_answering:
            self._publishing.resume()

    def shutdown(self) -> None:
        if self._publishing and self._publishing.is_answering and not self._refused:
            self._publishing.closes = True
        else:
            super().shutdown()

    def _begin_next_request(self) -> None:
        if self._has_parsed and self.conn.our_state is h11.DONE and self.conn.their_state is h11.DONE:
            self.conn.start_next_cycle()
            self.handle_events()

    def _answer_state(self) -> AnswerState:
        if self.conn.our_state is h11.SEND_BODY:
            return AnswerState.BEGUN
        is_open = self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE)
        return AnswerState.OPEN if is_open else AnswerState.OVER
