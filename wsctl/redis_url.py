"""The URL of a Redis, which says where it is and how it is reached; parsed completely or not at all.

Errors do not repeat the URL, for there may be a password in it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "rediss+cluster")
"""The schemes of a URL: plain, with TLS, a Unix socket, behind sentinels, a cluster."""

PORT, SENTINEL_PORT = 6379, 26379
"""The ports of Redis and of its sentinels, unless the URL says otherwise."""

PROTOCOL = 2
"""The version of Redis's protocol that is spoken (RESP2): with the other one, answers have other shapes."""

MOST_DATABASES = 1 << 31
"""Databases that a server can be set up with: a C int counts them."""

_FORM = f"not a Redis URL: write redis://HOST:PORT/DB, or {', '.join(SCHEMES[1:])}"
_ESCAPES = "not a Redis URL: in a user or a password / is written %2F, # %23, ? %3F and @ %40"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """A parsed URL.

    Attributes:
        scheme: one of `redis`, `rediss`, `unix`: how the Redis itself is reached.
        way: `sentinel`, `cluster`, or nothing for one that stands alone.
        hosts: names and ports, more than one only of sentinels; none for a Unix socket, whose is `path`.
        service: the name that sentinels have for the primary.
        user, password: of the Redis; None where the URL names none.
        sentinel: user and password of the sentinels, by the client's names.
        tls: the client's options about certificates, by its own names.
    """

    scheme: str
    way: str = ""
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    user: str | None = None
    password: str | None = None
    sentinel: Mapping[str, str]
    tls: Mapping[str, Any]


def parse(text: str) -> RedisUrl:
    """Parse a URL completely.

    Raises:
        ValueError: there is something in it that is not understood; the text tells what, in one line.
    """
    parts = _split(text.strip())
    scheme, _, way = parts.scheme.partition("+")
    login, _, place = parts.netloc.rpartition("@")
    user, _, password = (unquote(part) or None for part in login.partition(":"))
    options = _options(parts.query, _allowed(scheme, way))
    path, service, database = _path(scheme, way, parts.path)
    return RedisUrl(
        scheme=scheme,
        way=way,
        hosts=() if scheme == "unix" else _hosts(place, SENTINEL_PORT if way == "sentinel" else PORT, way),
        path=path,
        service=service,
        db=_database(database, options, way),
        user=_one("the user", user, options.get("username")),
        password=_one("the password", password, options.get("password")),
        sentinel={
            name.removeprefix("sentinel_"): options[name]
            for name in ("sentinel_username", "sentinel_password")
            if name in options
        },
        tls=_tls(options),
    )


def without_secrets(url: str) -> str:
    """Return the URL without user, password and options: its name for people."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _split(text: str) -> SplitResult:
    if not text.isprintable():  # urlsplit leaves some of these characters out
        raise ValueError("not a Redis URL: it has a control character, or another one that is not to be seen")
    try:
        parts = urlsplit(text)
    except ValueError:  # says only what is wrong with brackets
        raise ValueError(_FORM) from None
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ValueError(_ESCAPES)
    if parts.scheme not in SCHEMES or f"{parts.scheme}://" != text[: len(parts.scheme) + 3].lower():
        raise ValueError(_FORM)
    host = parts.netloc.rpartition("@")[2]
    if not (parts.path.strip("/") if parts.scheme == "unix" else parts.netloc):
        raise ValueError(_FORM)
    if parts.scheme == "unix" and host:
        raise ValueError("not a Redis URL: a Unix socket has three slashes, unix:///PATH")
    if parts.fragment or text.endswith("#"):
        raise ValueError("not a Redis URL: nothing may stand behind a #")
    return parts


# Hosts


_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s:\[\]/]*)(?::(?P<port>[0-9]{1,5}))?")


def _hosts(place: str, default: int, way: str) -> tuple[tuple[str, int], ...]:
    names = place.split(",")
    if len(names) > 1 and way != "sentinel":
        raise ValueError("a Redis URL names one host; only of sentinels there may be several")
    return tuple(_host(name, default) for name in names)


def _host(text: str, default: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    port = int(found["port"]) if found and found["port"] else default
    if not found or not 0 < port < 1 << 16:
        raise ValueError("not a Redis URL: the host is written HOST, HOST:PORT or [IPv6]:PORT")
    return unquote(found["host"].strip("[]")) or "localhost", port


# Paths and databases


def _path(scheme: str, way: str, path: str) -> tuple[str, str, str]:
    """Return the path of a socket, the name of a service, and what names the database."""
    if scheme == "unix":
        return unquote(path), "", ""
    rest = path.removeprefix("/").removesuffix("/")
    if way != "sentinel":
        return "", "", rest
    service, _, database = rest.partition("/")
    if not service:
        raise ValueError("name the service that the sentinels watch: redis+sentinel://HOST:PORT/SERVICE")
    return "", unquote(service), database


def _database(text: str, options: Mapping[str, str], way: str) -> int:
    asked = _one("the database", text or None, options.get("db"))
    if asked is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,10}", asked) or int(asked) >= MOST_DATABASES:
        raise ValueError("the database in a Redis URL is a number, as in redis://HOST:PORT/0")
    if int(asked) and way == "cluster":
        raise ValueError("a Redis cluster has database 0 alone: leave it out of the URL")
    return int(asked)


def _one(what: str, first: str | None, second: str | None) -> str | None:
    if first is not None and second is not None and first != second:
        raise ValueError(f"a Redis URL names {what} once: it stands among the options too")
    return first if first is not None else second


# Options


def _word(*words: str) -> Callable[[str], object]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"write {' or '.join(words)}")
        return text

    return read


def _switch(text: str) -> bool:
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]


LOGIN: Mapping[str, Callable[[str], object]] = {"username": str, "password": str}

SENTINEL: Mapping[str, Callable[[str], object]] = {"sentinel_username": str, "sentinel_password": str}

TLS: Mapping[str, Callable[[str], object]] = {
    "ssl_cert_reqs": _word("none", "optional", "required"),
    "ssl_check_hostname": _switch,
    "ssl_ca_certs": str,
    "ssl_ca_path": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
}
"""The options of `rediss`: which certificates are accepted, and which is shown."""

EVERYWHERE: Mapping[str, Callable[[str], object]] = {"db": str, "protocol": _word(str(PROTOCOL))}


def _allowed(scheme: str, way: str) -> dict[str, Callable[[str], object]]:
    """Return the options of such a URL by name, each with its parser: no other reaches the client."""
    ours = {**EVERYWHERE, **LOGIN}
    return ours | (dict(TLS) if scheme == "rediss" else {}) | (dict(SENTINEL) if way == "sentinel" else {})


def _options(query: str, allowed: Mapping[str, Callable[[str], object]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            raise ValueError(f"{_shown(name)} is no option of such a Redis URL: {', '.join(allowed)}")
        if name in found or not value:
            raise ValueError(f"the option {name} of a Redis URL has one value")
        _read(name, value, allowed[name])
        found[name] = value
    return found


def _read(name: str, value: str, read: Callable[[str], object]) -> object:
    try:
        return read(value)
    except (ValueError, KeyError) as error:
        wanted = str(error) if isinstance(error, ValueError) else "write true or false"
        raise ValueError(f"the option {name} of a Redis URL has another value: {wanted}") from None


def _tls(options: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {name: TLS[name](value) for name, value in options.items() if name in TLS}
    if found.get("ssl_cert_reqs") == "none":
        found["ssl_check_hostname"] = False  # a certificate that is not looked at names nobody
    return found


def _shown(name: str) -> str:
    return repr(name if len(name) <= 32 else f"{name[:32]}...")
