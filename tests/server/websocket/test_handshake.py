"""The opening handshake."""

import base64
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.utils import generate_key

from wsctl.server.websocket import handshake

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
NO_CONTEXT = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
GOOD = {"sec-websocket-version": "13", "sec-websocket-key": KEY}


def test_a_proper_request_passes() -> None:
    assert handshake.find_refusal("GET", "1.1", GOOD) is None
    assert handshake.find_refusal("GET", "1.1", GOOD | {"content-length": "0"}) is None


def test_the_answer_is_the_one_of_rfc_6455() -> None:
    """The key and its answer are the example of section 1.3."""
    lines = handshake.accept_answer(GOOD).decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 101 Switching Protocols"
    assert lines[-2:] == ["", ""]
    assert {line.lower() for line in lines[1:-2]} == {
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-accept: " + "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".lower(),
    }
    assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in lines[3]


@pytest.mark.parametrize(
    ("method", "version", "headers", "status"),
    [
        ("POST", "1.1", {}, 405),
        ("HEAD", "1.1", {}, 405),
        ("GET", "1.0", {}, 400),
        ("GET", "2", {}, 400),
        ("GET", "1.1", {"sec-websocket-version": "8"}, 426),
        ("GET", "1.1", {"sec-websocket-version": ""}, 426),
        ("GET", "1.1", {"sec-websocket-version": "13, 8"}, 426),
        ("GET", "1.1", {"sec-websocket-key": ""}, 400),
        ("GET", "1.1", {"sec-websocket-key": "short"}, 400),
        ("GET", "1.1", {"sec-websocket-key": KEY + KEY}, 400),
        ("GET", "1.1", {"sec-websocket-key": KEY[:-1]}, 400),
        ("GET", "1.1", {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZé=="}, 400),
        ("GET", "1.1", {"content-length": "5"}, 400),
        ("GET", "1.1", {"transfer-encoding": "chunked"}, 400),
    ],
)
def test_anything_else_is_refused(method: str, version: str, headers: dict[str, str], status: int) -> None:
    refused = handshake.find_refusal(method, version, GOOD | headers)
    assert refused
    assert refused.status == HTTPStatus(status)
    assert refused.message


def test_what_would_have_been_right_is_told() -> None:
    wrong_method = handshake.find_refusal("PUT", "1.1", GOOD)
    wrong_version = handshake.find_refusal("GET", "1.1", GOOD | {"sec-websocket-version": "7"})
    assert wrong_method
    assert wrong_version
    assert wrong_method.headers == (("allow", "GET"),)
    assert wrong_version.headers == (("sec-websocket-version", "13"),)


def test_missing_headers_are_refused() -> None:
    for name in GOOD:
        assert handshake.find_refusal("GET", "1.1", {k: v for k, v in GOOD.items() if k != name})


@given(st.binary(max_size=40))
def test_a_key_is_sixteen_bytes(key: bytes) -> None:
    encoded = base64.b64encode(key).decode()
    passed = handshake.find_refusal("GET", "1.1", GOOD | {"sec-websocket-key": encoded}) is None
    assert passed == (len(key) == 16)


@given(st.text(max_size=30))
def test_no_key_makes_it_stumble(key: str) -> None:
    refused = handshake.find_refusal("GET", "1.1", GOOD | {"sec-websocket-key": key})
    assert refused is None or refused.code == "bad_key"


def test_keys_that_clients_make_pass() -> None:
    assert handshake.find_refusal("GET", "1.1", GOOD | {"sec-websocket-key": generate_key()}) is None


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("", ""),
        ("permessage-deflate", NO_CONTEXT),
        ("permessage-deflate; client_max_window_bits", NO_CONTEXT),
        ("permessage-deflate; client_max_window_bits=9; server_no_context_takeover", NO_CONTEXT),
        ("permessage-deflate; server_max_window_bits=12", NO_CONTEXT + "; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=15", NO_CONTEXT + "; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=10", ""),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", NO_CONTEXT),
        ("permessage-deflate; server_max_window_bits", ""),
        ("permessage-deflate; server_max_window_bits=99", ""),
        ("permessage-deflate; server_max_window_bits=012", ""),
        ("permessage-deflate; server_max_window_bits=15; server_max_window_bits=15", ""),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits=12", ""),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", ""),
        ("permessage-deflate; client_no_context_takeover=1", ""),
        ("permessage-deflate; server_no_context_takeover=true", ""),
        *(
            (f"permessage-deflate; client_max_window_bits={bits}", "")
            for bits in ("7", "16", "99", "abc", "08")
        ),
        *((f"permessage-deflate; client_max_window_bits={bits}", NO_CONTEXT) for bits in range(8, 16)),
        ('permessage-deflate; client_max_window_bits="10"', NO_CONTEXT),
        ("permessage-deflate; client_max_window_bits=7, permessage-deflate", NO_CONTEXT),
        ("permessage-deflate; novelty", ""),
        ("x-webkit-deflate-frame", ""),
        ("=;,", ""),
    ],
)
def test_deflate_is_agreed_on_where_one_compression_can_serve(offer: str, agreed: str) -> None:
    assert handshake.agreed_deflate({"sec-websocket-extensions": offer}) == agreed
    assert (
        b"Sec-WebSocket-Extensions" in handshake.accept_answer({"sec-websocket-key": KEY}, agreed)
    ) == bool(agreed)
