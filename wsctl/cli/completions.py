"""`wsctl completions`."""

from typing import Annotated, cast

import typer
from typer.core import TyperGroup

from wsctl.cli.completion_scripts import SHELLS, Shell, script
from wsctl.cli.options import parser
from wsctl.settings import choice


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
