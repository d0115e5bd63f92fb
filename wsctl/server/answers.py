"""Error answers: JSON, with a code for programs and a sentence for people."""

import json
from collections.abc import Iterable
from http import HTTPStatus

METHODS = ("DELETE", "GET", "POST")
"""The methods that routes have; HEAD and OPTIONS come with them."""


def allow(methods: Iterable[str]) -> str:
    """Return the header `Allow` of routes with these methods (RFC 9110 section 10.2.1)."""
    added = {"OPTIONS"} | ({"HEAD"} if "GET" in (given := set(methods)) else set())
    return ", ".join(sorted(given | added))


def error_body(code: str, message: str) -> dict[str, dict[str, str]]:
    """Return the body of an error answer."""
    return {"error": {"code": code, "message": message}}


def error_response(
    status: HTTPStatus, code: str, message: str, headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    """Return a whole HTTP/1.1 error answer that ends the connection, for where no application answers."""
    body = json.dumps(error_body(code, message)).encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
