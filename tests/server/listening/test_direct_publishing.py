"""Which requests to publish are answered without the framework."""

from collections.abc import Callable
from http import HTTPStatus

import pytest
from starlette.responses import JSONResponse

from tests.support.homes import HomeElsewhere
from wsctl.control.encoding import encode
from wsctl.control.operations import NDJSON, Broadcast, ControlError, PublishRequest
from wsctl.log.home import Draft, Refusal
from wsctl.log.message_log import MessageLog
from wsctl.log.refusals import AWAY, UNCONFIRMED
from wsctl.server.credentials.operators import OperatorTokens
from wsctl.server.listening.direct_publishing import DirectPublishing, PlainRequest, PublishingConnection
from wsctl.server.message_publisher import BODY_ALLOWANCE, MAX_BATCH_BYTES, MessagePublisher, make_reader

PLAIN = {"host": "here", "authorization": "Bearer all", "content-length": "2"}


def publishing(*, open_to_all: bool = False) -> DirectPublishing:
    publisher = MessagePublisher(MessageLog(lambda entry: 0), 1000, lambda: True)
    return DirectPublishing(publisher, OperatorTokens("all", "pub"), lambda: False, open_to_all=open_to_all)


def head(start: str = "POST /api/publish HTTP/1.1", **headers: str | None) -> bytes:
    """A head with the plain headers, and these beside them or, if they are None, without them."""
    given = PLAIN | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [start, *(f"{name}: {value}" for name, value in given.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read(data: bytes, allows_host: Callable[[object], bool] = lambda headers: True) -> PlainRequest | None:
    return publishing().read(data, allows_host)


@pytest.mark.parametrize(
    ("start", "content_type", "kind", "is_batch"),
    [
        ("POST /api/publish HTTP/1.1", None, PublishRequest, False),
        ("POST /api/publish HTTP/1.1", "application/json; charset=utf-8", PublishRequest, False),
        ("POST /api/publish HTTP/1.1", NDJSON, PublishRequest, True),
        ("POST /api/broadcast HTTP/1.1", "text/plain", Broadcast, False),
    ],
)
def test_a_plain_request_is_read_and_what_is_behind_its_head_is_left(
    start: str, content_type: str | None, kind: type[PublishRequest], is_batch: bool
) -> None:
    given = head(start, content_type=content_type)
    assert read(given + b"{}POST") == PlainRequest(given, 2, kind, is_batch)


def test_publishers_and_operators_and_whoever_reaches_the_control_socket_may_publish() -> None:
    assert read(head(authorization="bearer pub"))
    assert read(head(authorization=None)) is None
    assert publishing(open_to_all=True).read(head(authorization=None), lambda headers: True)


@pytest.mark.parametrize(
    "unusual",
    [
        head()[:-1],
        head("GET /api/publish HTTP/1.1"),
        head("POST /api/publish HTTP/1.0"),
        head("POST /api/publish?a=1 HTTP/1.1"),
        head("POST /api/drain HTTP/1.1"),
        head(authorization="Bearer other"),
        head(authorization="Basic all"),
        head(host=None),
        head(content_length=None),
        head(content_length="+2"),
        head(content_length=str(1000 + BODY_ALLOWANCE + 1)),
        head(content_length=str(MAX_BATCH_BYTES + 1), content_type=NDJSON),
        head(content_type="text/plain"),
        head(transfer_encoding="chunked"),
        head(expect="100-continue"),
        head(connection="close"),
        head(upgrade="websocket"),
        head(x="a\0b"),
        head().replace(b"host:", b"host: a\r\nhost:"),
        head(x="a" * 5000),
    ],
)
def test_what_is_unusual_or_not_allowed_is_left_to_the_framework(unusual: bytes) -> None:
    assert read(unusual) is None


def test_a_foreign_host_is_left_to_the_framework() -> None:
    assert read(head(), lambda headers: False) is None


class Http:
    """The HTTP connection, as far as requests to publish need one: it writes down what it is told."""

    def __init__(self) -> None:
        self.written = b""
        self.rest = b""
        self.is_closed = False
        self.is_reading = True
        self.steps: list[str] = []
        self.transport = self.flow = self.server_state = self
        self.default_headers = [(b"date", b"today")]
        self.tasks: set[object] = set()
        self.write_paused = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_reading = False

    def begin_request(self) -> None:
        self.steps.append("begun")

    def end_request(self) -> None:
        self.steps.append("whole")

    def end_answer(self) -> None:
        self.steps.append("answered")

    def allows_host(self, headers: object) -> bool:
        return True

    def parse_rest(self, data: bytes) -> None:
        self.rest += data


class Elsewhere:
    """A connection whose log has its home elsewhere, which answers when the test says so."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.log = MessageLog(lambda entry: 0)
        self.log.home = HomeElsewhere(self.drafts.append)
        self.ends = False
        tokens = OperatorTokens("all", None)
        self.publishing = DirectPublishing(
            MessagePublisher(self.log, 0, lambda: True), tokens, lambda: self.ends, open_to_all=False
        )
        self.http = Http()
        self.connection = PublishingConnection(self.http, self.publishing)  # type: ignore[arg-type]
        make_reader(PublishRequest)  # the first body of a process is for the framework

    def refuse(self, why: Refusal) -> None:
        self.log.refuse(self.drafts.pop(0).key, why)


def request(body: bytes, **headers: str) -> bytes:
    return head(content_length=str(len(body)), **headers) + body


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("why", "status"),
    [(AWAY, "503 Service Unavailable"), (UNCONFIRMED, "504 Gateway Timeout")],
)
async def test_what_the_log_refuses_is_answered_as_the_framework_answers_it(
    why: Refusal, status: str
) -> None:
    here = Elsewhere()
    assert here.connection.receive(request(b'{"data": 1}')) == b""
    assert (here.connection.is_answering, len(here.http.tasks), here.http.written) == (True, 1, b"")
    here.refuse(why)
    answer, _, body = here.http.written.decode().partition("\r\n\r\n")
    framed = JSONResponse(encode(ControlError(HTTPStatus.OK, why.code, why.text).answer)).body
    assert body.encode() == framed
    assert answer.split("\r\n") == [
        f"HTTP/1.1 {status}",
        "date: today",
        "content-type: application/json",
        f"content-length: {len(framed)}",
    ]
    assert here.http.steps == ["begun", "whole", "answered"]


@pytest.mark.anyio
async def test_what_comes_behind_a_request_without_an_answer_is_held_for_it() -> None:
    here = Elsewhere()
    next_one = head("GET /health HTTP/1.1")
    assert here.connection.receive(request(b'{"data": 1}') + request(b'{"data": 2}')) == b""
    assert here.connection.receive(next_one) == b""
    assert (len(here.drafts), here.http.is_reading, here.connection.has_input) == (1, False, True)
    here.refuse(AWAY)
    assert (len(here.drafts), here.http.rest) == (1, b"")
    here.refuse(AWAY)
    assert here.http.rest == next_one
    assert not here.connection.has_input
    assert here.http.written.count(b"HTTP/1.1 503") == 2


@pytest.mark.anyio
async def test_a_server_that_has_begun_to_drain_ends_the_connection_with_the_answer() -> None:
    here = Elsewhere()
    here.connection.receive(request(b'{"data": 1}'))
    here.ends = True
    here.refuse(AWAY)
    assert b"\r\nconnection: close\r\n\r\n" in here.http.written
    assert here.http.is_closed


@pytest.mark.anyio
async def test_nothing_is_published_that_comes_behind_the_answer_that_ends_the_connection() -> None:
    here = Elsewhere()
    here.connection.receive(request(b'{"data": 1}') + request(b'{"data": 2}'))
    here.ends = True
    here.refuse(AWAY)
    assert here.http.is_closed
    assert (here.http.rest, here.connection.has_input) == (b"", False)
    assert here.connection.receive(request(b'{"data": 3}')) == b""


def test_a_server_that_drains_leaves_requests_to_the_framework() -> None:
    there = Elsewhere()
    there.ends = True
    plain = request(b'{"data": 1}')
    assert there.connection.receive(plain) == plain


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body", [b"{", b'{"data": 1, "topic": "a..b"}', b'{"data": 1, "key": ""}', b'{"data": 1, "to": [""]}']
)
async def test_a_bad_message_goes_to_the_framework_as_it_came_in_pieces_too(body: bytes) -> None:
    here = Elsewhere()
    bad = request(body)
    assert here.connection.receive(bad[:-1]) == b""
    assert here.connection.receive(bad[-1:] + b"more") == bad + b"more"
    assert here.drafts == []
