"""The opening handshake of RFC 6455 section 4.2, without I/O."""

import base64
import binascii
from collections.abc import Mapping
from http import HTTPStatus

from websockets.utils import accept_key

from wsctl.server.admission import Refused

VERSION = "13"
"""The one protocol version there is (RFC 6455 section 4.1)."""


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


def accept(headers: Mapping[str, str]) -> bytes:
    """The 101 answer to a request that passed `check`."""
    key = accept_key(headers["sec-websocket-key"].strip())
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {key}\r\n\r\n"
    ).encode()


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
