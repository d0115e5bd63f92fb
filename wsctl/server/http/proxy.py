"""The address and scheme of a client that comes through a proxy."""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from wsctl.settings import EVERY_PROXY, Settings

LOOPBACK = "127.0.0.1,::1"
"""The proxies that are believed unless others are named: those of this machine."""

MOST_HOPS = 32
"""Entries of `X-Forwarded-For` that are read from its end, the newest first: nobody has so many proxies."""

LONGEST = 64
"""The most characters of an entry: an IPv6 address in brackets with its port has 47."""

LAST_PORT = 65535
"""The highest port: an entry with a higher one has none."""

CACHED = 4096
"""The number of addresses for which the answer of `trusts` is cached: uvicorn caches as many."""

Address = tuple[str, int]
"""Host and port; an empty host on a Unix socket, port 0 when it is not known."""


def peer_address(transport: asyncio.BaseTransport) -> tuple[str, int]:
    """Return host and port of the peer; an empty host on a Unix socket, or when it has gone."""
    name = transport.get_extra_info("peername")
    return name[:2] if isinstance(name, tuple) else ("", 0)


def canonical_ip(host: str) -> str | None:
    """Return an IP address in its one form, in which logs and limits have it; None if `host` is no address.

    An IPv6 address is written as in RFC 5952, without a zone; one that only wraps an IPv4 address becomes
    that.
    """
    if len(host) > LONGEST:
        return None
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    inner = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(inner or found)


class TrustedProxies:
    """The rules by which proxies are believed: the client is the newest entry of `X-Forwarded-For` that is
    none of them.

    `trusted` are addresses and networks of proxies, separated by commas, or `*` for whoever connects; None:
    nobody.
    """

    def __init__(self, trusted: str | None) -> None:
        words = [word.strip() for word in (trusted or "").split(",")]
        self._everybody = EVERY_PROXY in words
        self._networks = [ip_network(word) for word in words if word and word != EVERY_PROXY]
        self._cached = lru_cache(CACHED)(self._look_up)

    def client_address(self, transport: asyncio.BaseTransport, headers: Mapping[str, str]) -> Address:
        """Return the client's address on a connection that no ASGI application sees."""
        return self.resolve(peer_address(transport), headers.get("x-forwarded-for"))

    def resolve(self, at: Address, chain: str | None) -> Address:
        """Return the client's address, where `at` is the peer's and `chain` the header, if there is one."""
        if ":" in at[0]:  # the kernel has written all others so
            at = (canonical_ip(at[0]) or at[0], at[1])
        if chain is None or not self.trusts(at[0]):
            return at
        if self._everybody:
            return _entry(chain.partition(",")[0]) or at
        for text in reversed(chain.rsplit(",", MOST_HOPS)[-MOST_HOPS:]):
            found = _entry(text)
            if found is None:
                return at  # the next entry is no address: as far as is known, this one is the client
            at = found
            if not self.trusts(at[0]):
                break
        return at

    def is_direct(self, transport: asyncio.BaseTransport, headers: Mapping[str, str]) -> bool:
        """Tell whether a request comes over a network, and no believed proxy says that it has forwarded
        it."""
        host, _ = peer_address(transport)
        told = "x-forwarded-for" in headers or "x-forwarded-proto" in headers
        return host != "" and not (told and self.trusts(canonical_ip(host) or host))

    def trusts(self, host: str) -> bool:
        """Tell whether this is the address of a proxy that is believed. On a Unix socket it is empty, and
        believed only with `*`."""
        return self._everybody or (host != "" and self._cached(host))

    def _look_up(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def trusted_proxies(settings: Settings) -> TrustedProxies:
    """Return the rules of these settings."""
    if not settings.proxy_headers:
        return TrustedProxies(None)
    return TrustedProxies(LOOPBACK if settings.forwarded_allow_ips is None else settings.forwarded_allow_ips)


def _entry(text: str) -> Address | None:
    """Parse an entry: `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]` or `[::1]:5`; None for anything else."""
    text = text.strip()
    if len(text) > LONGEST or "%" in text:
        return None
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    found = canonical_ip(host)
    number = int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else 0
    return (found, number if number <= LAST_PORT else 0) if found else None


_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})


class ProxyHeadersMiddleware:
    """An ASGI application behind proxies: the `client` and `scheme` of its requests are those that the
    proxies tell."""

    def __init__(self, app: Any, proxies: TrustedProxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            apply_proxy_headers(scope, self._proxies)
        await self._app(scope, receive, send)


def apply_proxy_headers(scope: Any, proxies: TrustedProxies) -> None:
    """Set the client and the scheme of a request, as ASGI applications see it, to those that the proxies
    tell."""
    client = scope.get("client")
    at = tuple(client or ("", 0))
    told = [header for header in scope["headers"] if header[0] in _FORWARDED]
    if not told:
        if ":" in at[0]:
            scope["client"] = proxies.resolve(at, None)
        return
    chain = [value for name, value in told if name == b"x-forwarded-for"]
    scheme = [value for name, value in told if name == b"x-forwarded-proto"]
    if scheme and proxies.trusts(canonical_ip(at[0]) or ""):
        _set_scheme(scope, scheme[-1].decode("latin-1").strip())
    if client or chain:
        scope["client"] = proxies.resolve(at, b",".join(chain).decode("latin-1") if chain else None)


def _set_scheme(scope: Any, scheme: str) -> None:
    if scheme in {"http", "https", "ws", "wss"}:
        scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme
