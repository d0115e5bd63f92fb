"""The opener of event streams: their requests and answers."""

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from wsctl import messages
from wsctl.codes import CloseCode
from wsctl.event_stream import FINAL, LAST_CHUNK, chunk, closing, event, retry
from wsctl.frame import Encoding
from wsctl.server.event_stream.stream import (
    FIRST_RETRY,
    KEEPALIVE,
    LAST_RETRY,
    EventStream,
    some_milliseconds,
)
from wsctl.server.http.semantics import HttpRefusal, preference
from wsctl.server.websocket.admission import RETRY_AFTER, Admitted, HandshakeRequest
from wsctl.server.websocket.drain_rejection import REASON
from wsctl.server.websocket.opener import ClientRequest, ConnectionOpener, IncomingRequest
from wsctl.server.websocket.services import admit

MEDIA_TYPE = "text/event-stream"

STAY_AWAY = HttpRefusal(HTTPStatus.NO_CONTENT, "stay_away", "this client was told not to connect again")
"""The answer to a client that connects again though it shall not: the only one behind which browsers give
up without an error (HTML standard, section 9.2.3)."""

HEADERS = (("cache-control", "no-store"), ("x-accel-buffering", "no"))
"""What keeps caches and proxies from holding events back."""

_FIXED = {"content-type": MEDIA_TYPE, **dict(HEADERS), "connection": "close"}

_HEADS = {
    encoding: "HTTP/1.1 200 OK\r\n" + "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
    for encoding, fields in (
        (Encoding.EVENTS, _FIXED | {"transfer-encoding": "chunked"}),
        (Encoding.EVENTS_WITHOUT_CHUNKS, _FIXED),
    )
}
"""The heads of the answers that are streams, as far as they are the same for all."""


class EventStreamOpener(ConnectionOpener):
    """The opener of event streams."""

    def find_refusal(self, request: ClientRequest) -> HttpRefusal | None:
        if request.headers.get("last-event-id") != FINAL:
            return None
        return with_headers(STAY_AWAY, self._cross_origin(request))

    def asked(self, name: str, request: ClientRequest, *, foreign_host: bool) -> HandshakeRequest:
        return stream_request(name, request.query, request.headers, foreign_host=foreign_host)

    def open(self, incoming: IncomingRequest, admitted: Admitted, identity: Any) -> None:
        services, request = self._services.connections, incoming.request
        transport, address = incoming.transport, incoming.address
        stream = EventStream(services, transport, admitted.client_id, address, _encoding(request))
        admit(services, stream, with_keepalive(admitted), identity)
        first = _body(request, first_field())
        stream.begin(self._head(request) + first, admitted.since, incoming.early)

    def reject(self, incoming: IncomingRequest) -> None:
        self._end_at_once(incoming, draining(), incoming.host)

    def refuse(self, incoming: IncomingRequest, refused: HttpRefusal) -> HttpRefusal | None:
        if refused.code == "full" and is_browser(incoming.request.headers):
            self._services.refusals.log(refused.code, incoming.host)
            self._end_at_once(incoming, full(refused), None)
            return None
        return with_headers(refused, self._cross_origin(incoming.request))

    def _end_at_once(self, incoming: IncomingRequest, events: bytes, host: str | None) -> None:
        transport, request = incoming.transport, incoming.request
        transport.write(self._head(request))
        last = LAST_CHUNK if _encoding(request) is Encoding.EVENTS else b""
        self._services.drain_rejector.reject_stream(transport, _body(request, events) + last, host)

    def _head(self, request: ClientRequest) -> bytes:
        """Return the head of the answer that is a stream."""
        across = self._cross_origin(request)
        more = "".join([f"{name}: {value}\r\n" for name, value in across.items()]) if across else ""
        head = _HEADS[_encoding(request)]
        return f"{head}date: {_date(int(time.time()))}\r\n{more}\r\n".encode("latin-1")

    def _cross_origin(self, request: ClientRequest) -> Mapping[str, str]:
        if "origin" not in request.headers:
            return {}
        asked = self.asked("", request, foreign_host=False)
        return cross_origin(asked, allowed=self._services.admission.allows_origin(asked))


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """Return the moment as headers have it; thousands of clients come in one second."""
    return formatdate(second, usegmt=True)


def stream_request(
    name: str, query: str, headers: Mapping[str, str], *, foreign_host: bool
) -> HandshakeRequest:
    """Return what a request for a stream asks for; header names are lower case."""
    return HandshakeRequest(
        name,
        query,
        headers.get("origin"),
        headers.get("host", ""),
        headers.get("authorization"),
        None,
        foreign_host,
        headers.get("last-event-id", ""),
    )


def cross_origin(asked: HandshakeRequest, *, allowed: bool) -> Mapping[str, str]:
    """Return the headers by which a browser lets a page of another origin read the answer, if it is
    `allowed` to (Fetch standard, section 3.2): credentials are no part of that, since cookies are never
    read."""
    if asked.origin is None:
        return {}
    return {"vary": "origin"} | ({"access-control-allow-origin": asked.origin} if allowed else {})


def with_headers(refused: HttpRefusal, headers: Mapping[str, str]) -> HttpRefusal:
    """Return a refusal with more headers."""
    return HttpRefusal(refused.status, refused.code, refused.message, (*refused.headers, *headers.items()))


def with_keepalive(admitted: Admitted) -> Admitted:
    """Return the verdict on a client of a stream, which always gets signs of life."""
    return admitted if admitted.keepalive else admitted._replace(keepalive=KEEPALIVE)


def is_browser(headers: Mapping[str, str]) -> bool:
    """Tell whether a client speaks as EventSource does, which gives up on any status but 200."""
    return preference(headers.get("accept", ""), MEDIA_TYPE).named


def first_field() -> bytes:
    """Return the field that stands in front of the welcome, and tells a client when to connect again."""
    return retry(some_milliseconds(FIRST_RETRY))


def draining() -> bytes:
    """Return the events of a stream that ends at once, because the server drains."""
    again = some_milliseconds(LAST_RETRY)
    notice = messages.shutdown(0.0, REASON, again / 1000)
    return event(notice) + closing(CloseCode.GOING_AWAY, REASON, again)


def full(refused: HttpRefusal) -> bytes:
    """Return the events of a stream that ends at once, because there is no room."""
    notice = messages.error(refused.code, refused.message)
    return event(notice) + closing(CloseCode.TRY_AGAIN_LATER, refused.message, 1000 * RETRY_AFTER)


def _encoding(request: ClientRequest) -> Encoding:
    return Encoding.EVENTS if request.http_version == "1.1" else Encoding.EVENTS_WITHOUT_CHUNKS


def _body(request: ClientRequest, events: bytes) -> bytes:
    return chunk(events) if _encoding(request) is Encoding.EVENTS else events
