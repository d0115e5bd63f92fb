"""The opening handshake of RFC 6455 section 4.2, without I/O."""

import base64
import binascii
import zlib
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus

from websockets.exceptions import InvalidHeaderFormat
from websockets.headers import parse_extension
from websockets.utils import accept_key

from wsctl.hub.frame import WINDOW_BITS
from wsctl.server.admission import Refused

VERSION = "13"
"""The one protocol version there is (RFC 6455 section 4.1)."""

_WINDOW = "server_max_window_bits"
_PARAMETERS = frozenset(
    {_WINDOW, "client_max_window_bits", "server_no_context_takeover", "client_no_context_takeover"}
)


def check(method: str, http_version: str, headers: Mapping[str, str]) -> Refused | None:
    """Why this request cannot become a WebSocket, or None. Header names are lower case."""
    if method != "GET":
        text = "a WebSocket handshake is a GET request"
        return Refused(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", text, (("allow", "GET"),))
    if http_version != "1.1":
        return Refused(HTTPStatus.BAD_REQUEST, "bad_http_version", "a WebSocket handshake is HTTP/1.1")
    if headers.get("sec-websocket-version", "").strip() != VERSION:
        text = f"this server speaks version {VERSION} of the WebSocket protocol"
        more = (("sec-websocket-version", VERSION),)
        return Refused(HTTPStatus.UPGRADE_REQUIRED, "bad_version", text, more)
    if not _is_key(headers.get("sec-websocket-key", "").strip()):
        return Refused(HTTPStatus.BAD_REQUEST, "bad_key", "Sec-WebSocket-Key is not 16 bytes in base64")
    if headers.get("content-length", "0").strip() != "0" or "transfer-encoding" in headers:
        return Refused(HTTPStatus.BAD_REQUEST, "unexpected_body", "a WebSocket handshake has no body")
    return None


def accept(headers: Mapping[str, str], extensions: str = "", protocol: str | None = None) -> bytes:
    """The 101 answer to a request that passed `check`."""
    key = accept_key(headers["sec-websocket-key"].strip())
    agreed = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    agreed += f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        f"{agreed}"
        f"Sec-WebSocket-Accept: {key}\r\n\r\n"
    ).encode()


def agreed_deflate(headers: Mapping[str, str]) -> str:
    """The permessage-deflate to agree on, as the answer's header says it; empty when there is none.

    It is always without context on either side (RFC 7692 section 7.1.1), so that one compression serves
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
        given = dict(parameters)
        if name == "permessage-deflate" and _can_be_met(given):
            window = f"; server_max_window_bits={WINDOW_BITS}" if _WINDOW in given else ""
            return f"permessage-deflate; server_no_context_takeover; client_no_context_takeover{window}"
    return ""


def _can_be_met(given: Mapping[str, str | None]) -> bool:
    """Whether the one window that everything is compressed with fits; the rest binds only the client, or
    is what happens anyway."""
    window = given.get(_WINDOW, str(WINDOW_BITS)) or ""
    fits = window.isdecimal() and WINDOW_BITS <= int(window) <= zlib.MAX_WBITS
    return fits and set(given) <= _PARAMETERS


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
