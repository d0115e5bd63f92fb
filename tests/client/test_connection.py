"""The credential of a connection, and why there is none, in words."""

import socket
import ssl
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidMessage, InvalidURI
from websockets.http11 import Response

from wsctl.client.connection import CHECK_SERVER, advice, credential_from, explain, refused_event
from wsctl.client.events import HandshakeRefused
from wsctl.errors import UsageError


def answer(status: int, body: bytes = b"", **headers: str) -> Response:
    fields = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return Response(status, "whatever", fields, body)


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111] ..."),
            "connection refused",
        ),
        (OSError("something else"), "something else"),
        (TimeoutError("timed out during opening handshake"), "no answer in time"),
        (socket.gaierror(-2, "Name or service not known"), "its name is not known"),
        (untrusted(), "its certificate is not trusted: self-signed certificate"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), "TLS failed"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_failure_is_told_in_words(error: Exception, text: str) -> None:
    assert text in explain(error)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, ""), CHECK_SERVER),
        (OSError("Multiple exceptions: [Errno 111] ..."), CHECK_SERVER),
        (TimeoutError(), CHECK_SERVER),
        (socket.gaierror(-2, "Name or service not known"), "check the address"),
        (InvalidURI("x", "isn't a URI"), "check the address"),
        (InvalidMessage("no HTTP"), "check the address, and whether it wants https://"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), "for a server without TLS write http://"),
        (untrusted(), ""),
        (PermissionError(13, "Permission denied"), "ask whoever runs the server for access"),
    ],
)
def test_the_advice_fits_the_cause(error: Exception, text: str) -> None:
    assert advice(error) == text


def test_code_and_message_of_a_refusal_are_those_of_its_json() -> None:
    body = b'{"error": {"code": "full", "message": "come back later"}}'
    assert refused_event(answer(503, body, retry_after="5")) == HandshakeRefused(
        503, "full", "come back later", 5
    )


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"error": "text"}', b'{"error": {"code": 1}}', b"[" * 9999, b"\xff", b""]
)
def test_another_answer_is_told_by_its_status(body: bytes) -> None:
    assert refused_event(answer(502, body)) == HandshakeRefused(502, "", "Bad Gateway")


def test_a_status_that_nobody_knows_has_the_words_it_came_with() -> None:
    assert refused_event(answer(599)).message == "whatever"


@pytest.mark.parametrize("text", ["-1", "1e9", "soon", "9" * 5000, "Wed, 21 Oct 2015 07:28:00 GMT", "²"])
def test_a_retry_after_that_is_no_number_of_seconds_is_left_aside(text: str) -> None:
    assert refused_event(answer(503, retry_after=text)).retry_after == 0


def test_retry_after_counts_on_503_only() -> None:
    assert refused_event(answer(500, retry_after="5")).retry_after == 0


def test_who_has_none_shows_none() -> None:
    assert credential_from({})() is None


def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    credential = credential_from({"WSCTL_CLIENT_TOKEN_FILE": str(file)})
    assert credential() == "old"
    file.write_text("new\n")
    assert credential() == "new"
    file.unlink()
    with pytest.raises(UsageError, match="WSCTL_CLIENT_TOKEN_FILE"):
        credential()


def test_what_cannot_be_read_is_told_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="WSCTL_CLIENT_TOKEN_FILE"):
        credential_from({"WSCTL_CLIENT_TOKEN_FILE": str(tmp_path / "none")})
    with pytest.raises(UsageError, match="client token"):
        credential_from({"WSCTL_CLIENT_TOKEN": "two words"})
