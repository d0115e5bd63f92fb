"""The files that `wsctl generate` makes: each a template whose placeholders are filled with values."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from wsctl.cli.recipes import clients, compose, containers, k8s, monitoring, nginx, systemd
from wsctl.cli.recipes.place import Place
from wsctl.cli.recipes.quoting import check_writable
from wsctl.cli.recipes.template import fill_template, read_template
from wsctl.settings import FLAGS, Settings, flag


class Recipe(NamedTuple):
    """A template and its values. `template` is a file of `wsctl/templates`; `values` names what is written
    into its placeholders."""

    template: str
    values: Callable[[Settings], Mapping[str, str]]


class Deployment(NamedTuple):
    """A recipe that depends on where the server will run, too."""

    template: str
    values: Callable[[Settings, Place], Mapping[str, str]]


RECIPES: dict[str, Recipe | Deployment] = {
    "systemd": Deployment("wsctl.service", systemd.service),
    "systemd-socket": Deployment("wsctl.socket", systemd.socket),
    "systemd-template": Deployment("wsctl.service", systemd.template),
    "nginx": Deployment("nginx.conf.txt", nginx.values),
    "docker": Deployment("Dockerfile.txt", containers.dockerfile),
    "compose": Deployment("compose.yaml.txt", compose.values),
    "k8s": Deployment("k8s.yaml.txt", k8s.values),
    "grafana": Recipe("grafana.json.txt", monitoring.dashboard),
    "alerts": Recipe("alerts.yaml.txt", monitoring.alerts),
    "python": Recipe("client.py.txt", clients.values),
    "node": Recipe("client.js", clients.values),
    "browser": Recipe("client.html", clients.values),
    "react": Recipe("client.jsx", clients.values),
}
"""The recipes by the word that a person types, in the order help shows them."""


def generate_file(kind: str, settings: Settings, place: Place) -> str:
    """Return the text of one file.

    Raises:
        UsageError: the settings cannot be meant for such a file, or not be written into it.
    """
    recipe = RECIPES[kind]
    if isinstance(recipe, Deployment):
        _check(settings)
        return fill_template(read_template(recipe.template), recipe.values(settings, place))
    return fill_template(read_template(recipe.template), recipe.values(settings))


def _check(settings: Settings) -> None:
    """Refuse, with a `UsageError`, a value that could begin a line of its own in a file."""
    for field in FLAGS:
        value = getattr(settings, field.name)
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str):
                check_writable(flag(field.name), text)
