"""Pages of the manual on a terminal."""

import shutil
import signal
import subprocess
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.markdown import Markdown
from rich.theme import Theme

from wsctl.cli.ui.terminal import has_colour

_THEME = Theme({"markdown.code": "bold cyan", "markdown.code_block": "cyan"})
"""The styles of code: rich's own have a black background, which stands out on a light terminal."""

_LESS = "FRX"
"""The options of less, as git has them: quit when all fits on one screen (F), pass colours on (R), leave the
text there (X)."""

_NOT_FOUND = 127
"""The exit code of a shell when there is no such program (POSIX, Shell Command Language 2.8.2)."""


def laid_out(markdown: str, stream: TextIO, widest: int) -> str:
    """Lay out Markdown as text for a terminal, as wide as that is, at most `widest` columns."""
    console = Console(file=stream, theme=_THEME, highlight=False, no_color=not has_colour(stream))
    console.width = min(console.width, widest)
    with console.capture() as captured:
        console.print(Markdown(markdown, code_theme="ansi_dark", hyperlinks=False))
    return captured.get()


def through_pager(text: str, environ: Mapping[str, str]) -> bool:
    """Show the text with `PAGER`, or with less, and wait until its reader is done. False where there is none,
    or none is wanted: `PAGER` is empty or `cat`."""
    command = environ.get("PAGER", "less" if shutil.which("less") else "").strip()
    if command in {"", "cat"}:
        return False
    process = subprocess.Popen(  # noqa: S602 - a pager is a command of a shell, as git and man have it
        command, shell=True, stdin=subprocess.PIPE, env={"LESS": _LESS, **environ}
    )
    # Ctrl-C is the pager's: less goes on after it, and would share the terminal with a shell if this ended.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.communicate(text.encode())
    finally:
        signal.signal(signal.SIGINT, before)
    return process.returncode != _NOT_FOUND
