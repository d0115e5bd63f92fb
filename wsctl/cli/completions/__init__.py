"""`wsctl completions`: scripts that are made from the commands as they are. No Python is started at TAB
time."""

from collections.abc import Callable
from typing import Annotated, Literal, cast, get_args

import typer
from typer.core import TyperGroup

from wsctl.cli.completions.bash import bash
from wsctl.cli.completions.fish import fish
from wsctl.cli.completions.tree import Tree, read
from wsctl.cli.completions.zsh import zsh
from wsctl.cli.options import parser
from wsctl.settings import choice

Shell = Literal["bash", "zsh", "fish"]
SHELLS: tuple[Shell, ...] = get_args(Shell)

FILES: dict[Shell, str] = {
    "bash": "wsctl.bash",
    "zsh": "_wsctl",
    "fish": "wsctl.fish",
}
"""The name under which each shell looks for the script."""

_WRITERS: dict[Shell, Callable[[Tree], str]] = {
    "bash": bash,
    "zsh": zsh,
    "fish": fish,
}


def script(shell: Shell, tree: TyperGroup) -> str:
    """Return the script for a shell, ending in a newline; the same tree gives the same text."""
    return _WRITERS[shell](read(tree))


def completions(
    context: typer.Context,
    shell: Annotated[
        str,
        typer.Argument(
            parser=parser(choice(*SHELLS), "SHELL"),
            autocompletion=lambda: list(SHELLS),
            metavar="SHELL",
            help="bash, zsh or fish.",
        ),
    ],
) -> None:
    """Print the completion script of a shell.

    To install it, run one of these and start a new shell:

    \b
    wsctl completions bash > ~/.wsctl.bash; echo '. ~/.wsctl.bash' >> ~/.bashrc
    wsctl completions zsh > "${fpath[1]}/_wsctl"
    wsctl completions fish > ~/.config/fish/completions/wsctl.fish
    """
    print(script(cast(Shell, shell), cast(TyperGroup, context.find_root().command)), end="")
