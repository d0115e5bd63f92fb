"""The files that `wsctl generate` makes: each a template whose placeholders are filled with values."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from wsctl import __version__
from wsctl.cli.recipes import application, clients, docker, k8s, nginx, systemd
from wsctl.cli.recipes.deployment import Place
from wsctl.cli.recipes.template import check_writable, fill_template, read_template
from wsctl.settings import FLAGS, Settings, flag

LATE = 0.1
"""The share of a drain's time that is left when somebody should look: three minutes of half an hour."""


def dashboard(settings: Settings) -> Mapping[str, str]:
    """Return the version, which the description of the dashboard names."""
    return {"version": __version__}


def alerts(settings: Settings) -> Mapping[str, str]:
    """Return the time before the deadline at which a drain is worth a look, in seconds, and how Prometheus
    reads a server: at its admin address without a token."""
    open_to_all = bool(settings.admin_port)
    credential = "the credential is the server's token (WSCTL_TOKEN_FILE)"
    return {
        "late": f"{settings.shutdown_timeout * LATE:g}",
        "way": "at the admin address no credential is needed" if open_to_all else credential,
        "authorization": "" if open_to_all else _AUTHORIZATION,
        "scraped": str(settings.admin_port or settings.port or Settings().port),
    }


_AUTHORIZATION = "#       authorization: {credentials_file: /etc/prometheus/wsctl-token}"


class Recipe(NamedTuple):
    """A template and its values. `template` is a file of `wsctl/templates`; `values` names what is written
    into its placeholders."""

    template: str
    values: Callable[[Settings], Mapping[str, str]]


class DeploymentRecipe(NamedTuple):
    """A recipe that depends on where the server will run, too."""

    template: str
    values: Callable[[Settings, Place], Mapping[str, str]]


RECIPES: dict[str, Recipe | DeploymentRecipe] = {
    "systemd": DeploymentRecipe("wsctl.service", systemd.service),
    "systemd-socket": DeploymentRecipe("wsctl.socket", systemd.socket),
    "systemd-template": DeploymentRecipe("wsctl.service", systemd.template),
    "nginx": DeploymentRecipe("nginx.conf.txt", nginx.values),
    "docker": DeploymentRecipe("Dockerfile.txt", docker.dockerfile),
    "compose": DeploymentRecipe("compose.yaml.txt", docker.compose),
    "k8s": DeploymentRecipe("k8s.yaml.txt", k8s.values),
    "grafana": Recipe("grafana.json.txt", dashboard),
    "alerts": Recipe("alerts.yaml.txt", alerts),
    "python": Recipe("client.py.txt", clients.values),
    "node": Recipe("client.js", clients.values),
    "browser": Recipe("client.html", clients.values),
    "eventsource": Recipe("eventsource.html", clients.values),
    "react": Recipe("client.jsx", clients.values),
    "app": Recipe("app.py.txt", application.values),
    "app-test": Recipe("test_app.py.txt", application.values),
}
"""The recipes by the word that a person types, in the order help shows them."""


def generate_file(kind: str, settings: Settings, place: Place) -> str:
    """Return the text of one file.

    Raises:
        UsageError: the settings cannot be meant for such a file, or not be written into it.
    """
    recipe = RECIPES[kind]
    if isinstance(recipe, DeploymentRecipe):
        _check_settings_writable(settings)
        return fill_template(read_template(recipe.template), recipe.values(settings, place))
    return fill_template(read_template(recipe.template), recipe.values(settings))


def _check_settings_writable(settings: Settings) -> None:
    """Refuse, with a `UsageError`, a value that could begin a line of its own in a file."""
    for field in FLAGS:
        value = getattr(settings, field.name)
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str):
                check_writable(flag(field.name), text)
