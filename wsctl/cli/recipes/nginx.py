"""nginx in front of one server or several."""

import re
from collections.abc import Mapping, Sequence

from wsctl import __version__
from wsctl.addresses import host_port
from wsctl.cli.recipes.deployment import Place, idle_timeout, need_port
from wsctl.cli.recipes.template import check_writable, nginx_word
from wsctl.settings import Settings, port_number

NEVER = "7d"
"""Silence that is allowed where nobody pings: a proxy has to have some limit."""

ALWAYS_ASKED = "max_fails=0"
"""The option with which nginx keeps asking a server that has failed. Without it, nginx forgives one when a
request to it has ended well, and lets one in each `fail_timeout` until then. A WebSocket ends after hours, so
one that is back would get hardly any clients."""

_HOST = re.compile(r"(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]+))?")

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}  # noqa: S104
"""The address where a server that listens on all addresses is reached from the same machine."""


def upstream(text: str) -> str:
    """Check `HOST:PORT`, `HOST` or `unix:/PATH`, as a person names a server behind a proxy.

    Raises:
        ValueError: it is none of these.
    """
    if text.startswith("unix:/"):
        return text
    found = _HOST.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a server: write HOST:PORT or unix:/PATH")
    if found["port"] and port_number(found["port"]) == 0:
        raise ValueError(f"{text!r}: nobody listens on port 0")
    return text


def values(settings: Settings, place: Place) -> Mapping[str, str]:
    """Return the values of the template, for a file in conf.d."""
    return {"made_by": place.made_by, **site_values(settings, _servers(settings, place.upstreams), "")}


def site_values(settings: Settings, servers: Sequence[str], options: str) -> dict[str, str]:
    """Return all values but `made_by`; `servers` as nginx names them, each with these further options."""
    check_writable("--root-path", settings.root_path)
    idle = idle_timeout(settings)
    root = settings.root_path.strip("/")
    prefix, scheme = f"/{root}/" if root else "/", "https" if settings.ssl_certfile else "http"
    return {
        "version": __version__,
        "servers": "\n".join(f"server {nginx_word(each)} {ALWAYS_ASKED}{options};" for each in servers),
        "scheme": scheme,
        # The server adds its root path itself: a path of its own takes the place of the prefix.
        "target": f"{scheme}://wsctl/" if root else f"{scheme}://wsctl",
        "prefix": nginx_word(prefix),
        "health": _health(prefix, scheme) if settings.app is None else "",
        "ping": f"is pinged every {settings.ping_interval:g} s" if idle else "is not pinged",
        "idle": f"{idle}s" if idle else NEVER,
    }


def _health(prefix: str, scheme: str) -> str:
    """Return the location at which a load balancer before nginx asks. An application has that path itself."""
    return f"""
# 200 while any of the servers is ready.
location = {nginx_word(f"{prefix}health/ready")} {{
    proxy_pass {scheme}://wsctl/health/ready;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_connect_timeout 3s;
    proxy_read_timeout 3s;
    proxy_next_upstream error timeout http_503;
    access_log off;
}}"""


def _servers(settings: Settings, upstreams: Sequence[str]) -> list[str]:
    if upstreams:
        return [each if _has_port(each) else f"{each}:{settings.port}" for each in upstreams]
    need_port(settings, "nginx")
    if settings.uds is not None:
        check_writable("--uds", settings.uds)
        return [f"unix:{settings.uds}"]
    host = _EVERYWHERE.get(settings.host, settings.host)
    return [host_port(host, settings.port)]


def _has_port(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return not found or bool(found["port"])
