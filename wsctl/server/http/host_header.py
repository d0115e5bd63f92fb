"""The header `Host`, and the names in it under which a server on loopback may be asked.

A page of any origin can have its own name point to 127.0.0.1 (DNS rebinding). The browser then takes a server
that only programs of this machine reach for one of that origin; the `Host` that it sends is the foreign name.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

from wsctl.addresses import browser_host
from wsctl.server.http.semantics import HttpRefusal

ANY = "*"
"""The name that allows all hosts."""

CACHED = 1024
"""The number of hosts for which the answer of `allows` is cached."""

MAX_HOST = 253
"""The most characters of a Host that an answer repeats: host names are no longer."""

FOREIGN = "foreign_host"
"""The key in a scope's state under which `wsctl serve` tells whether a request's Host is foreign."""

_PORT = re.compile(r":[0-9]*$")
_LOCAL = "localhost"


class AllowedHosts:
    """Decides about a Host; `named` are those of the settings.

    Attributes:
        on_loopback: tells whether the server listens on nothing but loopback and Unix sockets.
    """

    def __init__(self, named: Iterable[str], on_loopback: Callable[[], bool] = lambda: False) -> None:
        self.on_loopback = on_loopback
        self._named = frozenset(named)
        self._cached = lru_cache(CACHED)(self._look_up)

    def allows(self, host: str) -> bool:
        """Tell whether a request that comes straight from its sender may name this host."""
        return not self.on_loopback() or self._cached(host)

    def _look_up(self, host: str) -> bool:
        """Tell whether a host is local, empty, an IP address, or named in the settings. Addresses are not
        resolved, so that nobody can point them elsewhere; programs may name nothing."""
        name = host_name(host)
        local = not name or name == _LOCAL or name.endswith(f".{_LOCAL}") or _is_address(name)
        return local or ANY in self._named or name in self._named


def host_name(host: str) -> str:
    """Return the host without its port, as browsers write it where that can be, else in lower case."""
    bare = _PORT.sub("", host.strip()).removesuffix(".")
    try:
        return browser_host(bare)
    except ValueError:
        return bare.lower()


def unknown_host(host: str) -> HttpRefusal:
    """Return the answer to a Host that a server on loopback does not allow."""
    name = host_name(host)[:MAX_HOST]
    text = f"{name} is no name of this server, which is for this machine: --allow-host {name} lets it in"
    return HttpRefusal(HTTPStatus.FORBIDDEN, "host_not_allowed", text)


def is_foreign(scope: Mapping[str, Any], hosts: AllowedHosts) -> bool:
    """Tell whether a request, as ASGI applications see it, names a host that is not allowed. `wsctl serve`
    has looked at the connection; under another server only what that one believes of its proxies is to be
    seen."""
    known = scope.get("state", {}).get(FOREIGN)
    return bool(known) if known is not None else not hosts.allows(host_of(scope)) and _is_direct(scope)


def host_of(scope: Mapping[str, Any]) -> str:
    """Return the Host of a request as ASGI applications see it; empty if it has none."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")


def _is_direct(scope: Mapping[str, Any]) -> bool:
    """Tell whether no proxy stands before another ASGI server: false on a Unix socket, and where the client
    is an address that a proxy has named."""
    server, client = scope.get("server"), scope.get("client")
    if not server or server[1] is None or not client:
        return False
    chain = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return client[0] not in [entry.strip() for entry in chain.decode("latin-1").split(",")]


def _is_address(name: str) -> bool:
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
