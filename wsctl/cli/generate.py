"""`wsctl generate`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from wsctl.cli.options import parser, settings_from, with_settings
from wsctl.cli.recipes import RECIPES, made
from wsctl.errors import WsctlError
from wsctl.settings import choice


@with_settings
def generate(
    kind: Annotated[
        str,
        typer.Argument(
            parser=parser(choice(*RECIPES), "KIND"),
            autocompletion=lambda: list(RECIPES),
            metavar="KIND",
            help=f"{', '.join(RECIPES)}.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there, not to stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    **given: Any,
) -> None:
    """Print a ready file, filled from the same settings as 'wsctl serve'."""
    text = made(kind, settings_from(given, os.environ))
    if output is None:
        print(text, end="")
    else:
        _write(output, text, force=force)


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise WsctlError(f"{path} is there already: --force writes over it") from None
