"""Requests to publish, answered without the framework.

A request that has nothing unusual about it is read by one regular expression, and given to the same publisher
as those of the route: backends publish thousands a second, and the framework takes ten times as long as all
else. Whatever is unusual, not allowed or wrong goes to the HTTP parser as it came, before anything was done
about it, so that the route answers it.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from wsctl.control.operations import (
    BROADCAST,
    JSON,
    NDJSON,
    PUBLISH,
    Broadcast,
    ControlError,
    PublishRequest,
)
from wsctl.log.home import Refusal
from wsctl.server.credentials.operators import OperatorTokens
from wsctl.server.http.closing import CLOSE_HEADER
from wsctl.server.http.plain_head import FIELDS, read_fields
from wsctl.server.message_publisher import (
    LineBatch,
    MessagePublisher,
    can_read,
    error_json,
    parse,
    receipt_json,
    repeated_json,
    unpublished,
)

MAX_PLAIN_HEAD = 4 * 1024
"""Bytes of a head that is looked at here: backends send few headers."""

_OK = HTTPStatus.OK  # on Python 3.11 each look at the class runs code

_PLAIN = re.compile(rb"POST (/api/publish|/api/broadcast) HTTP/1\.1\r\n" + FIELDS)
_LENGTH = re.compile(r"[0-9]{1,9}")

_UNUSUAL = frozenset({"transfer-encoding", "expect", "upgrade", "trailer", "te"})
"""Headers that change what a request is, or how it is answered."""

_END_OF_LAST = b"\r\n%b: %b\r\n\r\n" % CLOSE_HEADER
"""The end of the head of an answer behind which the connection ends."""

_KINDS: Mapping[bytes, type[PublishRequest]] = {
    PUBLISH.path.encode(): PublishRequest,
    BROADCAST.path.encode(): Broadcast,
}


class PlainRequest(NamedTuple):
    """A request to publish: the bytes of its head and of its body, and whether this is a message of a `kind`,
    or a batch of them."""

    head: bytes
    length: int
    kind: type[PublishRequest]
    is_batch: bool


class DirectPublishing:
    """Reads requests to publish at one address, and publishes. `tokens` are those that it takes; on the
    control socket, with `open_to_all`, none is asked for. While `is_shutting_down` requests are left to the
    framework."""

    def __init__(
        self,
        publisher: MessagePublisher,
        tokens: OperatorTokens,
        is_shutting_down: Callable[[], bool],
        *,
        open_to_all: bool,
    ) -> None:
        self.publisher = publisher
        self.is_shutting_down = is_shutting_down
        self._tokens = tokens
        self._default: Sequence[tuple[bytes, bytes]] = ()
        self._heads: dict[tuple[HTTPStatus, str], bytes] = {}
        self._open_to_all = open_to_all

    def read(self, data: bytes, allows_host: Callable[[Mapping[str, str]], bool]) -> PlainRequest | None:
        """Return the request whose whole head is at the beginning of `data`; None if it is no request to
        publish, or for the framework. `allows_host` tells whether its headers name a host of this server."""
        found = _PLAIN.match(data, 0, MAX_PLAIN_HEAD)
        if not found:
            return None
        headers = read_fields(found[2])
        if headers is None or not _UNUSUAL.isdisjoint(headers):
            return None
        if "traceparent" in headers and self.publisher.is_traced:
            return None
        if headers.get("connection", "keep-alive").lower() != "keep-alive":
            return None
        length = headers.get("content-length", "")
        if not _LENGTH.fullmatch(length) or not self._is_allowed(headers) or not allows_host(headers):
            return None
        return self._plain(found, headers, int(length))

    def _plain(self, found: re.Match[bytes], headers: Mapping[str, str], length: int) -> PlainRequest | None:
        kind = _KINDS[found[1]]
        media_type = headers.get("content-type", JSON).partition(";")[0].strip().lower()
        is_batch = kind is PublishRequest and media_type == NDJSON
        if kind is PublishRequest and media_type not in (JSON, NDJSON):
            return None
        limit = self.publisher.batch_limit if is_batch else self.publisher.body_limit
        return None if limit and length > limit else PlainRequest(found[0], length, kind, is_batch)

    def head(self, default: Sequence[tuple[bytes, bytes]], status: HTTPStatus, kind: str) -> bytes:
        """Return the head of an answer as uvicorn writes it, but for what differs from one to the next;
        `default` are the headers of all answers, which uvicorn replaces once a second."""
        if default is not self._default:
            self._default = default
            self._heads.clear()
        found = self._heads.get((status, kind))
        if found is None:
            lines = [b"%b: %b\r\n" % header for header in default]
            start = b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode())
            found = b"".join([start, *lines, b"content-type: ", kind.encode()])
            self._heads[status, kind] = found
        return found

    def _is_allowed(self, headers: Mapping[str, str]) -> bool:
        if self._open_to_all:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._tokens.allow(token.strip(), publishing=True)


class RequestConnection(Protocol):
    """The HTTP connection on which requests come."""

    transport: asyncio.Transport
    flow: Any
    server_state: Any

    def begin_request(self) -> None:
        """Note that a request head has come."""

    def end_request(self) -> None:
        """Note that a whole request has come."""

    def end_answer(self) -> None:
        """Note that an answer was written."""

    def allows_host(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a request may name its host here."""

    def parse_rest(self, data: bytes) -> None:
        """Give input to the HTTP parser."""


class PublishingConnection:
    """The requests to publish of one HTTP connection, one after the other; what comes behind one that has no
    answer yet is held.

    Attributes:
        closes: whether the connection ends behind the answer that is under way.
    """

    __slots__ = ("_at_once", "_body", "_done", "_held", "_http", "_last", "_publishing", "_request", "closes")

    def __init__(self, http: RequestConnection, publishing: DirectPublishing) -> None:
        self._http = http
        self._publishing = publishing
        self._request: PlainRequest | None = None
        self._last: PlainRequest | None = None
        self._body = bytearray()
        self._held = b""
        self._done: asyncio.Future[None] | None = None
        self._at_once: tuple[HTTPStatus, str] | None = None
        self.closes = False

    @property
    def is_answering(self) -> bool:
        """True while a request was given to the log, and has no answer yet."""
        return self._done is not None

    @property
    def has_input(self) -> bool:
        """True if there is input that belongs to a request without an answer."""
        return self._request is not None or bool(self._held)

    def receive(self, data: bytes) -> bytes:
        """Take input, and return what is for the HTTP parser: a request that is not plain, and all behind
        it."""
        self._held = self._held + data if self._held else data
        while self._held and not self._http.transport.is_closing():
            if self._done or self._http.flow.write_paused:
                self._http.flow.pause_reading()
                return b""
            if not self._request and not self._begin():
                break
            request, body = self._request, self._take_body()
            if body is None:
                return b""
            self._request = None
            if request and not self._publish(request, body):
                self._held = request.head + body + self._held
                break
        rest, self._held = self._held, b""
        # Behind the answer that ends the connection none can come: who sent more sends it again elsewhere.
        return b"" if self._http.transport.is_closing() else rest

    def resume(self) -> None:
        """Go on with what is held."""
        if self._held and (rest := self.receive(b"")):
            self._http.parse_rest(rest)

    def _begin(self) -> bool:
        """Begin with the request that is next, and return whether that can be done here."""
        request = self._last
        if request is None or not self._held.startswith(request.head):
            request = self._publishing.read(self._held, self._http.allows_host)
            if request is None or not can_read(request.kind):
                return False
            self._last = request  # a backend sends the same head again and again
        if self._publishing.is_shutting_down():
            return False
        self._request = request
        self._held = self._held[len(request.head) :]
        self._http.begin_request()
        return True

    def _take_body(self) -> bytes | None:
        """Take what has come of the body, and return it once that is all."""
        length = self._request.length if self._request else 0
        missing = length - len(self._body)
        taken, self._held = self._held[:missing], self._held[missing:]
        if len(taken) == length:
            return taken
        self._body += taken
        if len(self._body) < length:
            return None
        body = bytes(self._body)
        self._body.clear()
        return body

    def _publish(self, request: PlainRequest, body: bytes) -> bool:
        """Publish what a request has; return whether it could be, and else nothing has happened."""
        try:
            if request.is_batch:
                self._publish_batch(self._publishing.publisher.open_batch(body))
            else:
                self._publish_one(parse(request.kind, body), len(body))
        except ControlError:
            return False
        return True

    def _publish_one(self, wanted: PublishRequest, size: int) -> None:
        self._publishing.publisher.submit(
            wanted, self._note_receipt, self._note_repeated, self._note_refusal, size=size
        )
        self._http.end_request()
        answer, self._at_once = self._at_once, None
        if answer:
            self._answer(*answer, JSON)
        else:
            self._hold()

    def _note_receipt(self, message_id: str, recipients: int) -> None:
        self._note(_OK, receipt_json(message_id, recipients))

    def _note_repeated(self, message_id: str) -> None:
        self._note(_OK, repeated_json(message_id))

    def _note_refusal(self, why: Refusal) -> None:
        error = unpublished(why)
        self._note(error.status, error_json(error))

    def _note(self, status: HTTPStatus, text: str) -> None:
        """Note an answer that comes at once, and write one that comes later."""
        if self._done:
            self._answer(status, text, JSON)
        else:
            self._at_once = status, text

    def _publish_batch(self, batch: LineBatch) -> None:
        self._http.end_request()
        batch.begin()
        if batch.is_submitted and not batch.unanswered:
            self._answer(_OK, batch.text(), NDJSON)
            return
        self._hold()
        task = asyncio.get_running_loop().create_task(self._finish_batch(batch))
        self._http.server_state.tasks.add(task)
        task.add_done_callback(self._http.server_state.tasks.discard)

    async def _finish_batch(self, batch: LineBatch) -> None:
        await batch.finish()
        self._answer(_OK, batch.text(), NDJSON)

    def _hold(self) -> None:
        """Hold what comes until the answer is there; a server that ends waits for it."""
        self._done = asyncio.get_running_loop().create_future()
        self._http.server_state.tasks.add(self._done)
        self._done.add_done_callback(self._http.server_state.tasks.discard)

    def _answer(self, status: HTTPStatus, text: str, kind: str) -> None:
        """Write an answer, and go on with what was held for it."""
        is_late = self._done is not None
        if self._done:
            self._done.set_result(None)
            self._done = None
            self.closes = self.closes or self._publishing.is_shutting_down()
        if self._http.transport.is_closing():
            return
        head = self._publishing.head(self._http.server_state.default_headers, status, kind)
        body = text.encode()
        end = _END_OF_LAST if self.closes else b"\r\n\r\n"
        self._http.transport.write(b"%b\r\ncontent-length: %d%b%b" % (head, len(body), end, body))
        if self.closes:
            self._http.transport.close()
        self._http.end_answer()
        if is_late:
            self.resume()
