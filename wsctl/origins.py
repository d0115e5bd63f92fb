"""Origins of pages: in the form in which browsers send them (RFC 6454 section 6.2), and which are allowed."""

import re
from collections.abc import Iterable

from wsctl.addresses import browser_host

ANY = "*"
"""The word for every origin."""

OPAQUE = "null"
"""The origin that browsers send for pages without one: in a sandbox, or from a disk."""

_FILE = "file://"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_OF_SOCKETS = {"ws": "http", "wss": "https"}
_OPAQUE_SCHEMES = frozenset({"about", "blob", "data", "javascript"})
_WITH_PORT = re.compile(r"(?<![:\[]):[0-9]{0,9}$")
_LAST_PORT = 65535
_BELOW = "*."
_NAMES = r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*"


def origin(text: str) -> str:
    """Return an origin that a person has written in the form that browsers send; `https://*.example.org`
    stands for all subdomains.

    Raises:
        ValueError: no page can have it; the text says why.
    """
    if text.lower() in (ANY, OPAQUE):
        return text.lower()
    if "@" in text:
        raise ValueError("an origin has no user and no password: write scheme and host, https://example.org")
    try:
        return _origin(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an origin: {error}") from None


def _origin(word: str) -> str:
    written, found, rest = word.partition("://")
    scheme = written.lower()
    if scheme.partition(":")[0] in _OPAQUE_SCHEMES:
        raise ValueError(f"browsers send {OPAQUE} for such pages")
    if not found or not _SCHEME.fullmatch(scheme) or (not rest.strip("/") and scheme != "file"):
        raise ValueError("write scheme and host, https://example.org")
    if scheme in _OF_SOCKETS:
        raise ValueError(f"pages have one with {_OF_SOCKETS[scheme]}://")
    if scheme == "file":
        return _of_files(rest)
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if rest[len(authority) :] not in ("", "/"):
        raise ValueError("it ends behind host and port, as in https://example.org")
    return f"{scheme}://{_place(scheme, authority)}"


def _of_files(rest: str) -> str:
    if rest not in ("", "/"):
        raise ValueError(f"browsers send {OPAQUE} for pages from a disk, some embedded ones {_FILE}")
    return _FILE


def _place(scheme: str, authority: str) -> str:
    """Return the host, and the port unless it is the default one."""
    host, _, number = authority.rpartition(":") if _WITH_PORT.search(authority) else (authority, "", "")
    port = int(number or -1)
    if port > _LAST_PORT:
        raise ValueError(f"there is no port {number}")
    below = host.startswith(_BELOW)
    name = browser_host(host.removeprefix(_BELOW))
    if below and (name.startswith("[") or name.replace(".", "").isdecimal()):
        raise ValueError("an address has no subdomains")
    shown = "" if port in (-1, _DEFAULT_PORTS.get(scheme)) else f":{port}"
    return f"{_BELOW if below else ''}{name}{shown}"


class AllowedOrigins:
    """The origins that may connect, in the form that `origin` returns."""

    def __init__(self, allowed: Iterable[str]) -> None:
        allowed = list(allowed)
        self._any = ANY in allowed
        self._exact = frozenset(allowed)
        self._below = re.compile("|".join(map(_pattern, filter(_is_wildcard, allowed))) or "(?!)")

    def __contains__(self, sent: str) -> bool:
        """Tell whether the origin in a browser's header, in lower case, is one of them."""
        return self._any or sent in self._exact or bool(self._below.fullmatch(sent))


def _is_wildcard(allowed: str) -> bool:
    return f"//{_BELOW}" in allowed


def _pattern(wildcard: str) -> str:
    scheme, _, rest = wildcard.partition(_BELOW)
    return f"{re.escape(scheme)}{_NAMES}\\.{re.escape(rest)}"
