"""The commands as Typer builds them, built once for all tests of a process."""

from typing import Any

import typer

from wsctl.cli.app import app

TREE: Any = typer.main.get_command(app)
"""The group of all commands."""
