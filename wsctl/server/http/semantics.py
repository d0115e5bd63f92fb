"""Rules of HTTP without I/O: error answers, `Allow`, the target of a request, and `Accept`.

An error answer is JSON, with a code for programs and a sentence for people.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

METHODS = ("DELETE", "GET", "POST")
"""The methods that routes have; HEAD and OPTIONS come with them."""

_ABSOLUTE = re.compile(r"https?://([^/?#@]+)(/[^?#]*)?(\?[^#]*)?", re.IGNORECASE)
_BEGINS_ABSOLUTE = re.compile(r"https?:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HttpRefusal:
    """The HTTP answer that refuses a handshake or another request."""

    status: HTTPStatus
    code: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()


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
    has_body = status is not HTTPStatus.NO_CONTENT
    body = json.dumps(error_body(code, message)).encode() if has_body else b""
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        *(("content-type: application/json", f"content-length: {len(body)}") if has_body else ()),
        "connection: close",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class BadTarget(ValueError):
    """The error that a target is an address without a host, or with what no address of a server has."""


def origin_form(method: str, target: str) -> tuple[str, str | None]:
    """Return path and query of a request's target (RFC 9112 section 3.2), and the host that takes the place
    of the one in the header, if the target names one.

    Every server must accept an absolute address, as for a proxy (section 3.2.2). Other forms are left as they
    are.

    Raises:
        BadTarget: the target is an address that cannot be read.
    """
    if target.startswith("/") or not _BEGINS_ABSOLUTE.match(target):
        return target, None
    found = _ABSOLUTE.fullmatch(target)
    if not found:
        raise BadTarget(target)
    host, path, query = found.groups(default="")
    if method == "OPTIONS" and not path and not query:
        return "*", host  # the server as such (section 3.2.4)
    return (path or "/") + query, host


class Preference(NamedTuple):
    """The weight that a client gives to one kind of content, from 0, not at all, to 1; `named` is true if it
    was asked for by name."""

    weight: float
    named: bool


def preference(accept: str, kind: str) -> Preference:
    """Return the preference of a header `Accept` (RFC 9110 section 12.5.1) for `kind`, such as `text/plain`.
    The closest of the ranges counts, and the greatest weight where one is there several times. Without a
    header everything is wanted alike."""
    if not accept.strip():
        return Preference(1.0, False)
    weights = _weights(accept)
    for closest in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if closest in weights:
            return Preference(weights[closest], closest == kind)
    return Preference(0.0, False)


def _weights(accept: str) -> dict[str, float]:
    """Return the weights by range, without those that cannot be read."""
    found: dict[str, float] = {}
    for each in accept.split(","):
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        weight = _weight(parameters)
        if weight is not None:
            found[name] = max(weight, found.get(name, 0.0))
    return found


def _weight(parameters: list[str]) -> float | None:
    given = [
        value.strip() for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "q"
    ]
    if not given:
        return 1.0
    try:
        weight = float(given[0])
    except ValueError:
        return None
    return weight if 0 <= weight <= 1 else None
