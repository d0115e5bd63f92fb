"""Completion scripts, made from the commands as they are: no Python is started at TAB time."""

from collections.abc import Callable
from typing import Literal, get_args

from typer.core import TyperGroup

from wsctl.cli.completion_scripts.bash import bash
from wsctl.cli.completion_scripts.fish import fish
from wsctl.cli.completion_scripts.tree import Tree, read
from wsctl.cli.completion_scripts.zsh import zsh

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
