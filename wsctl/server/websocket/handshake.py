"""The opening handshake of RFC 6455 section 4.2, without I/O."""

import re
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha1
from http import HTTPStatus

from websockets.exceptions import InvalidHeaderFormat
from websockets.headers import parse_extension
from websockets.typing import ExtensionParameter

from wsctl.frame import WINDOW_BITS
from wsctl.server.http.semantics import HttpRefusal

VERSION = "13"
"""The one protocol version there is (RFC 6455 section 4.1)."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a client's key is hashed with (RFC 6455 section 1.3)."""

_WINDOW = "server_max_window_bits"
_CLIENT_WINDOW = "client_max_window_bits"
_FLAGS = frozenset({"server_no_context_takeover", "client_no_context_takeover"})
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
"""The form of 16 bytes in base64."""

_BITS = re.compile(r"[89]|1[0-5]")
"""The form of a window's size in bits (RFC 7692 section 7.1.2): without a zero in front."""


def find_refusal(method: str, http_version: str, headers: Mapping[str, str]) -> HttpRefusal | None:
    """Return the refusal of a request that cannot become a WebSocket, or None. Header names are lower
    case."""
    if method != "GET":
        text = "a WebSocket handshake is a GET request"
        return HttpRefusal(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", text, (("allow", "GET"),))
    if http_version != "1.1":
        return HttpRefusal(HTTPStatus.BAD_REQUEST, "bad_http_version", "a WebSocket handshake is HTTP/1.1")
    if headers.get("sec-websocket-version", "").strip() != VERSION:
        text = f"this server speaks version {VERSION} of the WebSocket protocol"
        more = (("sec-websocket-version", VERSION),)
        return HttpRefusal(HTTPStatus.UPGRADE_REQUIRED, "bad_version", text, more)
    if not _KEY.fullmatch(headers.get("sec-websocket-key", "").strip()):
        return HttpRefusal(HTTPStatus.BAD_REQUEST, "bad_key", "Sec-WebSocket-Key is not 16 bytes in base64")
    if headers.get("content-length", "0").strip() != "0" or "transfer-encoding" in headers:
        return HttpRefusal(HTTPStatus.BAD_REQUEST, "unexpected_body", "a WebSocket handshake has no body")
    return None


def accept_answer(headers: Mapping[str, str], extensions: str = "", protocol: str | None = None) -> bytes:
    """Return the 101 answer to a request that `find_refusal` lets pass."""
    key = headers["sec-websocket-key"].strip().encode() + _GUID
    accept = b2a_base64(sha1(key, usedforsecurity=False).digest(), newline=False).decode()
    agreed = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    agreed += f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        f"{agreed}"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()


def agreed_deflate(headers: Mapping[str, str]) -> str:
    """Return the permessage-deflate to agree on, as the answer's header says it; empty when there is none.

    There is never context takeover on either side (RFC 7692 section 7.1.1), so that one compression serves
    all, and nothing is kept for a connection between two messages.
    """
    return _agreed_deflate(headers.get("sec-websocket-extensions", ""))


@lru_cache(maxsize=64)  # clients of a kind all send the same header
def _agreed_deflate(header: str) -> str:
    try:
        offers = parse_extension(header) if header else []
    except InvalidHeaderFormat:
        return ""
    for name, parameters in offers:
        if name == "permessage-deflate" and _is_valid(parameters) and _can_be_met(dict(parameters)):
            window = f"; {_WINDOW}={WINDOW_BITS}" if _WINDOW in dict(parameters) else ""
            return f"permessage-deflate; server_no_context_takeover; client_no_context_takeover{window}"
    return ""


def _is_valid(parameters: Sequence[ExtensionParameter]) -> bool:
    """Tell whether each parameter is known, there once, and has a value that it may have; else the offer is
    to be declined (RFC 7692 section 7)."""
    names = [name for name, _ in parameters]
    return len(set(names)) == len(names) and all(_is_valid_one(*each) for each in parameters)


def _is_valid_one(name: str, value: str | None) -> bool:
    if name in _FLAGS:
        return value is None
    if name == _CLIENT_WINDOW and value is None:
        return True
    return name in (_WINDOW, _CLIENT_WINDOW) and value is not None and bool(_BITS.fullmatch(value))


def _can_be_met(given: Mapping[str, str | None]) -> bool:
    """Tell whether the one window that everything is compressed with fits the offer; the other parameters
    bind only the client, or ask for what happens anyway."""
    return int(given.get(_WINDOW) or WINDOW_BITS) >= WINDOW_BITS
