"""The values of the templates of an application with a hub, and of its test."""

import shlex
from collections.abc import Mapping
from dataclasses import replace

from wsctl.cli.recipes.deployment import command_words
from wsctl.cli.recipes.template import json_word
from wsctl.settings import Settings

NAME = "app:app"
"""The application in a file `app.py`, unless the settings name another one."""


def values(settings: Settings) -> Mapping[str, str]:
    """Return the command that serves the application, and its name as a string of Python.

    Raises:
        UsageError: a setting cannot be written into a file.
    """
    name = settings.app or NAME
    words = command_words(replace(settings, app=name))
    return {"serve": shlex.join(["wsctl", "serve", *words]), "app": json_word(name)}
