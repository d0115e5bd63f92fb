"""`wsctl serve`."""

import os
from typing import Any

import typer

from wsctl.cli.options import with_settings


@with_settings
def serve(**given: Any) -> None:
    """Run a server; on Ctrl-C or SIGTERM it drains: clients may leave by themselves, then it ends."""
    from wsctl.lifecycle.orphan import leave_parent

    is_successor = leave_parent(os.environ)

    from wsctl.cli.ui.console import drain_display
    from wsctl.server import runner

    settings = settings_from(given)
    with drain_display(settings, in_front=not is_successor) as observers:
        code = runner.serve(settings, os.environ, observers, lambda at: _tell(at, settings.port))
    raise typer.Exit(code)


def settings_from(given: dict[str, Any]) -> Any:
    """Settings from the flags and variables that were given, and the secrets from theirs."""
    from wsctl.settings import Settings, secrets

    values = {name: value for name, value in given.items() if value is not None}
    if "allow_origin" in values:
        values["allow_origin"] = tuple(origin for several in values["allow_origin"] for origin in several)
    return Settings(**values, **secrets(os.environ))


def _tell(addresses: list[str], asked: int) -> None:
    """Who let the kernel pick the port needs to know it."""
    if asked == 0:
        print("\n".join(addresses), flush=True)
