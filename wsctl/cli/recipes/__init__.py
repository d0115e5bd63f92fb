"""The files that `wsctl generate` makes: each a template, and what its blanks are filled with."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import NamedTuple

from wsctl.cli.recipes import alerts, clients, grafana
from wsctl.cli.recipes.blanks import filled
from wsctl.settings import Settings


class Recipe(NamedTuple):
    """`template` is a file of `wsctl/templates`; `values` names what is written into its blanks."""

    template: str
    values: Callable[[Settings], Mapping[str, str]]


RECIPES: dict[str, Recipe] = {
    "grafana": Recipe("grafana.json.txt", grafana.values),
    "alerts": Recipe("alerts.yaml.txt", alerts.values),
    "python": Recipe("client.py.txt", clients.values),
}
"""By the word that a person types, in the order help shows them."""


def made(kind: str, settings: Settings) -> str:
    """The text of one file."""
    recipe = RECIPES[kind]
    template = (files("wsctl") / "templates" / recipe.template).read_text(encoding="utf-8")
    return filled(template, recipe.values(settings))
