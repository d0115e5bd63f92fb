"""Which requests to publish are answered without the framework."""

from collections.abc import Callable

import pytest

from wsctl.control.operations import NDJSON, Broadcast, Publish
from wsctl.log.message_log import MessageLog
from wsctl.server.credentials.operators import OperatorTokens
from wsctl.server.listening.direct_publishing import DirectPublishing, PlainRequest
from wsctl.server.message_publisher import BODY_ALLOWANCE, MAX_BATCH_BYTES, MessagePublisher

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
        ("POST /api/publish HTTP/1.1", None, Publish, False),
        ("POST /api/publish HTTP/1.1", "application/json; charset=utf-8", Publish, False),
        ("POST /api/publish HTTP/1.1", NDJSON, Publish, True),
        ("POST /api/broadcast HTTP/1.1", "text/plain", Broadcast, False),
    ],
)
def test_a_plain_request_is_read_and_what_is_behind_its_head_is_left(
    start: str, content_type: str | None, kind: type[Publish], is_batch: bool
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
