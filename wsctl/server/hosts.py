"""The names under which a server on loopback may be asked.

A page of any origin can have its own name point to 127.0.0.1 (DNS rebinding). The browser then takes a server
that only programs of this machine reach for one of that origin; the `Host` that it sends is the foreign name.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_address

from wsctl.addresses import browser_host

ANY = "*"
"""The name that allows all hosts."""

KNOWN = 1024
"""The number of hosts for which the answer of `takes` is cached."""

_PORT = re.compile(r":[0-9]*$")
_LOCAL = "localhost"


class Hosts:
    """Decides about a Host; `named` are those of the settings.

    Attributes:
        on_loopback: tells whether the server listens on nothing but loopback and Unix sockets.
    """

    def __init__(self, named: Iterable[str], on_loopback: Callable[[], bool] = lambda: False) -> None:
        self.on_loopback = on_loopback
        self._named = frozenset(named)
        self._known = lru_cache(KNOWN)(self._look_up)

    def takes(self, host: str) -> bool:
        """Tell whether a request that comes straight from its sender may name this host."""
        return not self.on_loopback() or self._known(host)

    def _look_up(self, host: str) -> bool:
        """Tell whether a host is local, empty, an IP address, or named in the settings. Addresses are not
        resolved, so that nobody can point them elsewhere; programs may name nothing."""
        name = name_of(host)
        local = not name or name == _LOCAL or name.endswith(f".{_LOCAL}") or _is_address(name)
        return local or ANY in self._named or name in self._named


def name_of(host: str) -> str:
    """Return the host without its port, as browsers write it where that can be, else in lower case."""
    bare = _PORT.sub("", host.strip()).removesuffix(".")
    try:
        return browser_host(bare)
    except ValueError:
        return bare.lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
