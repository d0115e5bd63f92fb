"""Docker's files: the Dockerfile, and for Compose one file with nginx, and two nodes with their Redis or one
with its journal."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

from wsctl import __version__
from wsctl.cli.recipes import nginx
from wsctl.cli.recipes.deployment import (
    FILES,
    OPTIONAL_SECRETS,
    Place,
    environment,
    extras,
    flags,
    flags_with_files,
    named_files,
    need_port,
    open_files,
    secret_names,
    stop_time,
)
from wsctl.cli.recipes.journal import journal_file
from wsctl.cli.recipes.template import dollars, env_word, fill_template, json_word, read_template, yaml_word
from wsctl.errors import UsageError
from wsctl.server.diagnostics.stop_time import margin
from wsctl.settings import Settings, variable

SECRETS = "/run/secrets"
"""The folder where Compose puts secrets, and where they are expected if mounted by hand."""

WHEEL = f"wsctl_server-{__version__}-py3-none-any.whl"
"""The file that `pip wheel` makes of the source. An index has another program under the name of the
command."""

_FOLDER = re.compile(r"/[\w./@+-]*", re.ASCII)

_NODES = ("node-1", "node-2")

PROXY_CONNECTIONS = 32768
"""The most connections of each of nginx's processes, two for a client: nginx sets 15 MB aside for these."""

_REDIS = """redis:
  image: redis:8-alpine
  # Messages survive a restart of Redis.
  command: [redis-server, --appendonly, "yes"]
  volumes: ["redis:/data"]
  healthcheck: {test: [CMD, redis-cli, ping], interval: 2s}
  restart: unless-stopped
"""

_OWN = "redis://redis:6379/0"

_DEPENDS = """# The order of a start. A stop goes the other way: what is named here outlives the drain.
depends_on:
  nginx: {condition: service_started}
"""

_VOLUME = """# The journal outlives the container in a volume.
RUN mkdir -p {folder} && chown 10001:10001 {folder}
VOLUME [{quoted}]"""

_PACKAGES = """# The packages of your application: name them in a file beside this one, which may be empty.
COPY requirements.txt /tmp/
RUN /opt/wsctl/bin/pip install --no-cache-dir -r /tmp/requirements.txt"""

_APPLICATION = """# Your application: the folder `app` beside this file.
COPY app {folder}/
WORKDIR {folder}"""

_ONE_CONTAINER = """# One container has the journal at a time: `docker stop` the old one, which drains, then
# start the next one with the same volume, where clients resume."""

_ONE_NODE = """# The next container gets the journal when this one has ended, and nobody takes new clients
# until then: keep --shutdown-timeout short. Clients resume on the next one, and miss nothing."""

_NO_TOKEN = f"""# A control token is a file: add `secrets: [token]` and `WSCTL_TOKEN_FILE: {SECRETS}/token` to
# x-node, and at the end `secrets: {{token: {{file: ./token}}}}`. A token of publishers is one, too:
# `publish_token`, and `WSCTL_PUBLISH_TOKEN_FILE`."""


def container_settings(settings: Settings, kind: str) -> Settings:
    """Return the settings for a container: on loopback nobody outside would reach the server, nor its admin
    address, which no port of the host leads to; and a journal is in a volume.

    Raises:
        UsageError: they name no port, or for the journal no folder that can be a volume.
    """
    need_port(settings, kind, uds=False)
    if path := journal_file(settings):
        settings = replace(settings, journal=str(path))
    everywhere = "0.0.0.0"  # noqa: S104
    if _is_loopback(settings.host):
        settings = replace(settings, host=everywhere)
    if settings.admin_port is not None and _is_loopback(settings.admin_host):
        settings = replace(settings, admin_host=everywhere)
    return settings


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def container_values(settings: Settings, place: Place) -> dict[str, str]:
    """Return the values of the placeholders that each file for containers has, those of Kubernetes too."""
    return {
        "version": __version__,
        "wheel": WHEEL,
        "made_by": place.made_by,
        "port": str(settings.port),
        "delay": f"{settings.drain_delay:g}",
        "timeout": f"{settings.shutdown_timeout:g}",
        "margin": f"{margin(settings):g}",
        "stop_time": str(stop_time(settings)),
    }


def dockerfile(settings: Settings, place: Place) -> Mapping[str, str]:
    """Return the values of the template of a Dockerfile, for an image of this version."""
    inside = container_settings(settings, "docker")
    return container_values(inside, place) | {
        "extras": extras(settings),
        "environment": "\n".join(
            f"ENV {name}={env_word(text)}" for name, text in environment(inside).items()
        ),
        "command": "[" + ", ".join(map(json_word, ["serve", *flags(inside)])) + "]",
        "secrets": "\n".join(
            _mounted(name) for name in dict.fromkeys([*secret_names(settings), *OPTIONAL_SECRETS])
        ),
        "packages": _PACKAGES if settings.app else "",
        "application": _APPLICATION.format(folder=_folder(settings)) if settings.app else "",
        **_volume(inside),
    }


def _folder(settings: Settings) -> str:
    """Return the folder of the application in a container.

    Raises:
        UsageError: it cannot be written there as it is.
    """
    folder = settings.app_dir if settings.app_dir.startswith("/") else "/app"
    if not _FOLDER.fullmatch(folder):
        raise UsageError(f"--app-dir {folder}: a Dockerfile takes a path without blanks and quotes")
    return folder.rstrip("/") or "/app"


def _volume(inside: Settings) -> dict[str, str]:
    """Return the values for the volume of a journal."""
    path = journal_file(inside)
    if path is None:
        return {"mount": "", "journal": "", "volume": ""}
    folder = str(path.parent)
    words = {"folder": shlex.quote(folder), "quoted": json_word(folder)}
    return {
        "mount": " -v " + shlex.quote(f"wsctl-journal:{folder}"),
        "journal": _ONE_CONTAINER,
        "volume": _VOLUME.format(**words),
    }


def _mounted(name: str) -> str:
    at = f"{SECRETS}/{name}"
    return f"#   -v ./{name}:{at}:ro -e {variable(name)}_FILE={at}"


def compose(settings: Settings, place: Place) -> Mapping[str, str]:
    """Return the values of the template for Compose. Nobody reaches the nodes but nginx, so that what it says
    of the clients can be believed."""
    inside = container_settings(settings, "compose")
    redis = None if settings.journal else settings.redis or _OWN
    node = replace(inside, redis=redis, forwarded_allow_ips=settings.forwarded_allow_ips or "*")
    files, secrets, names = open_files(node), _secrets(node), _names(node)
    connections = min(2 * len(names) * files, PROXY_CONNECTIONS)
    return container_values(node, place) | {
        **_deployment(node, names),
        "notes": _notes(node, secrets),
        "dockerfile": dollars(_body("Dockerfile.txt", _image(node, place))),
        "command": "\n".join(f"- {yaml_word(each)}" for each in ["serve", *flags_with_files(node, _inside)]),
        "environment": "\n".join(f"{name}: {yaml_word(text)}" for name, text in _variables(node, secrets)),
        "secrets": f"secrets: [{', '.join(secrets)}]" if secrets else "",
        "healthcheck": _healthcheck(node),
        "files": str(files),
        "depends": _DEPENDS + ("  redis: {condition: service_healthy}\n" if redis == _OWN else ""),
        "redis": _REDIS if redis == _OWN else "",
        "proxy_files": str(2 * connections),
        "proxy_connections": str(connections),
        "nginx": dollars(_body("nginx.conf.txt", _proxy(node))),
        "top": _top(node, secrets),
    }


def _names(node: Settings) -> tuple[str, ...]:
    """Return the names of the nodes: a journal belongs to one."""
    return _NODES[:1] if node.journal else _NODES


def _deployment(node: Settings, names: Sequence[str]) -> dict[str, str]:
    """Return the values that tell how many nodes there are, and what they have in common."""
    path = journal_file(node)
    one = f"One wsctl {__version__} with a journal on disk"
    volume = f"volumes: [{yaml_word(f'journal:{path.parent}')}]" if path else ""
    return {
        "title": one if path else f"Two wsctl {__version__} that share a Redis",
        "in_turn": "" if path else " one node after the other",
        "deploy": " && ".join(f"docker compose up -d --no-deps {name}" for name in names),
        "shown": "it" if path else "both nodes",
        "nodes": "\n".join(f"{name}: *node" for name in names),
        "volume": volume,
    }


def _body(name: str, values: Mapping[str, str]) -> str:
    """Return another recipe's file, without the comment at its top."""
    return fill_template(read_template(name), values).partition("\n\n")[2]


def _image(node: Settings, place: Place) -> Mapping[str, str]:
    # What the nodes are told is in their command and environment; Redis is what the extra is for.
    alike = Settings(
        port=node.port,
        journal=node.journal,
        redis=None if node.journal else _OWN,
        app=node.app,
        app_dir=node.app_dir,
    )
    return {
        **dockerfile(alike, place),
        "environment": "",
        "extras": extras(node),
    }


def _proxy(node: Settings) -> Mapping[str, str]:
    names = [f"{name}:{node.port}" for name in _names(node)]
    return {"made_by": "", **nginx.site_values(node, names, " resolve")}


def _secrets(node: Settings) -> dict[str, str]:
    """Return the file of each secret, by its name."""
    return {name: f"./{name}" for name in secret_names(node)} | named_files(node)


def _inside(name: str) -> str:
    return f"{SECRETS}/{name}"


def _variables(node: Settings, secrets: Iterable[str]) -> Iterable[tuple[str, str]]:
    yield from environment(node).items()
    yield variable("stop_timeout"), str(stop_time(node))
    for name in secrets:
        if name not in FILES:
            yield f"{variable(name)}_FILE", f"{SECRETS}/{name}"


def _healthcheck(node: Settings) -> str:
    """Return the check of a node at its admin address; none without one: the image has its own."""
    if node.admin_port is None:
        return ""
    asked = f"http://127.0.0.1:{node.admin_port}/health/live"
    code = f"from urllib.request import urlopen; urlopen('{asked}', timeout=5)"
    test = f"[CMD, python, -c, {yaml_word(code)}]"
    check = f"healthcheck: {{test: {test}, interval: 10s, start_period: 20s}}"
    told = f"# A draining server is healthy. Prometheus reads port {node.admin_port}, which is not published."
    return f"{told}\n{check}"


def _notes(node: Settings, secrets: Mapping[str, str]) -> str:
    told = [_ONE_NODE] if node.journal else []
    told.append("# User 10001 must be able to read the files of the secrets." if secrets else _NO_TOKEN)
    return "\n".join(told)


def _top(node: Settings, secrets: Mapping[str, str]) -> str:
    volume = "journal" if node.journal else "redis" if node.redis == _OWN else None
    lines = ["volumes:", f"  {volume}: {{}}", ""] if volume else []
    if secrets:
        lines += ["secrets:", *(f"  {name}: {{file: {yaml_word(path)}}}" for name, path in secrets.items())]
    return "\n".join(lines)
