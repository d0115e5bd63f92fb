"""The parts that all files for containers have in common, and the Dockerfile."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

from wsctl import __version__
from wsctl.cli.recipes.deployment_settings import environment, extras, flags, grace, secret_names
from wsctl.cli.recipes.place import Place, need_port
from wsctl.cli.recipes.quoting import env_word, json_word
from wsctl.server.diagnostics.stop_time import margin
from wsctl.settings import Settings, variable

SECRETS = "/run/secrets"
"""The folder where Compose puts secrets, and where they are expected if mounted by hand."""

WHEEL = f"wsctl_server-{__version__}-py3-none-any.whl"
"""The file that `pip wheel` makes of the source. An index has another program under the name of the
command."""


def contained(settings: Settings, kind: str) -> Settings:
    """Return the settings for a container: on loopback nobody outside would reach the server.

    Raises:
        UsageError: they name no port.
    """
    need_port(settings, kind, uds=False)
    return replace(settings, host="0.0.0.0") if _is_loopback(settings.host) else settings  # noqa: S104


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def about(settings: Settings, place: Place) -> dict[str, str]:
    """Return the values of the placeholders that each of the files has."""
    return {
        "version": __version__,
        "wheel": WHEEL,
        "made_by": place.made_by,
        "port": str(settings.port),
        "delay": f"{settings.drain_delay:g}",
        "timeout": f"{settings.shutdown_timeout:g}",
        "margin": f"{margin(settings):g}",
        "grace": str(grace(settings)),
    }


def dockerfile(settings: Settings, place: Place) -> Mapping[str, str]:
    """Return the values of the template, for an image of this version."""
    inside = contained(settings, "docker")
    return about(inside, place) | {
        "extras": extras(settings),
        "environment": "\n".join(
            f"ENV {name}={env_word(text)}" for name, text in environment(inside).items()
        ),
        "command": "[" + ", ".join(map(json_word, ["serve", *flags(inside)])) + "]",
        "secrets": "\n".join(_mounted(name) for name in secret_names(settings) or ["token"]),
    }


def _mounted(name: str) -> str:
    at = f"{SECRETS}/{name}"
    return f"# A secret, readable for user 10001: -v ./{name}:{at}:ro -e {variable(name)}_FILE={at}"
