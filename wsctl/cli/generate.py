"""`wsctl generate`."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsctl.cli.options import parser, settings_from, with_settings
from wsctl.cli.ui.text import say
from wsctl.errors import UsageError, WsctlError
from wsctl.settings import choice

if TYPE_CHECKING:
    from wsctl.settings import Settings

KINDS = (
    "systemd",
    "systemd-socket",
    "systemd-template",
    "nginx",
    "docker",
    "compose",
    "k8s",
    "grafana",
    "alerts",
    "python",
    "node",
    "browser",
    "eventsource",
    "react",
    "app",
    "app-test",
)
"""The kinds of files that can be made, in the order help shows them. The recipes themselves are loaded when
one is asked for: all commands are loaded at each start."""

HOMES = ("/home/", "/root/")
"""The folders that `ProtectHome=` of systemd hides."""

ELSEWHERE = "/usr/local/bin/wsctl"
"""The path that the program is taken to have when it cannot be found: it was started as a module."""


def _upstream(text: str) -> str:
    from wsctl.cli.recipes.nginx import upstream

    return upstream(text)


@with_settings
def generate(
    kind: Annotated[
        str,
        typer.Argument(
            parser=parser(choice(*KINDS), "KIND"),
            autocompletion=lambda: list(KINDS),
            metavar="KIND",
            help=f"{', '.join(KINDS)}.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file, not to stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    upstreams: Annotated[
        list[str] | None,
        typer.Option(
            "--upstream",
            parser=parser(_upstream, "SERVER"),
            metavar="HOST:PORT",
            help="For nginx: a server that it passes requests to (repeat).",
        ),
    ] = None,
    program: Annotated[
        str | None,
        typer.Option("--program", metavar="PATH", help="For systemd: path of wsctl, if not this program."),
    ] = None,
    **given: Any,
) -> None:
    """Print a ready file, filled from the same settings as 'wsctl serve'."""
    from wsctl.cli.recipes import generate_file
    from wsctl.cli.recipes.deployment import Place
    from wsctl.server.diagnostics.configuration import unknown_variables

    for slip in unknown_variables(os.environ):
        say(f"{slip.text}: {slip.fix}")
    settings = settings_from(given, os.environ)
    extra = _only(kind, "nginx", "--upstream", upstreams or [])
    extra += _only(kind, "systemd", "--program", [program] if program else [])
    place = Place(
        made_by=_made_by(kind, settings, extra),
        program=program or this_program(sys.executable),
        in_home=in_home(program) if program else in_home(sys.executable, this_program(sys.executable)),
        upstreams=tuple(upstreams or ()),
    )
    text = generate_file(kind, settings, place)
    if output is None:
        print(text, end="")
    else:
        _write(output, text, force=force)


def this_program(interpreter: str) -> str:
    """Return the absolute path of the wsctl that belongs to a Python interpreter, or else of the one on
    PATH."""
    beside = Path(interpreter).with_name("wsctl")
    return os.path.abspath(shutil.which(str(beside)) or shutil.which("wsctl") or ELSEWHERE)


def in_home(*paths: str) -> bool:
    """Tell whether one of the paths, or what it is a link to, is in somebody's home."""
    return any(each.startswith(HOMES) for path in paths for each in (path, os.path.realpath(path)))


def _only(kind: str, family: str, name: str, texts: Sequence[str]) -> list[str]:
    """Return an option of some kinds, as it was given.

    Raises:
        UsageError: this kind has no use for it.
    """
    if texts and not kind.startswith(family):
        raise UsageError(f"{name} means nothing to {kind}: it is for {family}")
    return [f"{name}={text}" for text in texts]


def _made_by(kind: str, settings: "Settings", extra: list[str]) -> str:
    """Return the command again, with what came from the environment in it, and without what is secret."""
    from wsctl.cli.recipes.deployment import command_words

    return shlex.join(["wsctl", "generate", kind, *command_words(settings), *extra])


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        if path.is_dir():
            raise WsctlError(f"--output {path} is a folder: name a file in it, as in {path / 'FILE'}")
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise WsctlError(f"{path} is there already: --force writes over it") from None
    except OSError as error:
        raise WsctlError(f"--output {path}: {_why_not(path, error)}") from None


def _why_not(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"there is no folder {path.parent}: make it first"
    if isinstance(error, PermissionError):
        return "this user may not write there: choose another place"
    return f"{error.strerror or error}: choose another place"
