"""The values of the templates of clients."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import quote

from wsctl.cli.recipes.template import read_template
from wsctl.errors import UsageError
from wsctl.settings import Settings

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?", re.IGNORECASE)


def values(settings: Settings) -> Mapping[str, str]:
    """Return the address at which clients reach the server, as `url` and as `ws_url`; `follow` is the code
    with which a client in JavaScript stays connected.

    Raises:
        UsageError: clients have no address to go to.
    """
    url = address(settings)
    return {"url": url, "ws_url": url.replace("http", "ws", 1), "follow": read_template("follow.js")}


def address(settings: Settings) -> str:
    """Return the address at which clients reach the server: http(s), without a slash at the end, and without
    a character that means something within the quotes of some language.

    Raises:
        UsageError: there is no such address.
    """
    if settings.uds is not None or settings.fd is not None:
        given = "--fd" if settings.uds is None else "--uds"
        raise UsageError(f"{given} is no address for clients: give instead --host and --port of one")
    if settings.port == 0:
        raise UsageError("--port 0 is known when the server runs: give the port that it prints then")
    scheme = "https" if settings.ssl_certfile else "http"
    # An argument that is no UTF-8 has surrogates.
    path = quote(settings.root_path.strip("/"), safe="/%:@+~", errors="surrogateescape")
    return f"{scheme}://{_host(settings.host)}:{settings.port}{'/' if path else ''}{path}"


def _host(host: str) -> str:
    """Return a host as an address has it. What stands for all addresses of this machine is localhost: that
    one is right in a certificate more often than a number."""
    try:
        ip = ip_address(host or "::")
    except ValueError:
        return _name(host)
    if ip.is_unspecified:
        return "localhost"
    if "%" in host:
        raise UsageError(f"--host {host!r} is an address on one link of this machine: give another one")
    return str(ip) if ip.version == 4 else f"[{ip}]"


def _name(host: str) -> str:
    try:
        name = host.encode("idna").decode()
    except UnicodeError:
        name = ""
    if not _NAME.fullmatch(name):
        raise UsageError(f"--host {host!r} is not the name of a host")
    return name
