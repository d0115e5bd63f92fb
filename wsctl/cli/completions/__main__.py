"""`python -m wsctl.cli.completions DIR` writes all scripts into a folder."""

import sys
from pathlib import Path
from typing import cast

import typer
from typer.core import TyperGroup

from wsctl.cli.app import app
from wsctl.cli.completions import FILES, script


def write(folder: Path) -> None:
    """Write each shell's script, over the older one if there is one."""
    tree = cast(TyperGroup, typer.main.get_command(app))
    for shell, name in FILES.items():
        (folder / name).write_text(script(shell, tree), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python -m wsctl.cli.completions DIR (an existing folder)")
    write(Path(sys.argv[1]))
